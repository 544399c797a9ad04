"""RadGraph and GREEN: a clear word where package or weights are absent, and the packages' answers in order."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from radiology.errors import InputError
from radiology.metrics.graded import green, radgraph_f1


@pytest.mark.parametrize(("metric", "says"), [(radgraph_f1, "RadGraph F1"), (green, "GREEN")])
def test_an_absent_package_is_named_with_what_to_do(metric: Any, says: str) -> None:
    with pytest.raises(InputError, match=rf"{says}.*not installed.*pip install"):
        metric(["a"], ["b"], package="a_package_that_is_not_there")


def test_absent_weights_are_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_weights(*args: Any, **options: Any) -> None:
        raise OSError("offline")

    for name, member, metric in (("stand_in_1", "F1RadGraph", radgraph_f1), ("stand_in_2", "GREEN", green)):
        stand_in(monkeypatch, name, member, no_weights)
        with pytest.raises(InputError, match=r"could not be opened \(OSError\).*weights"):
            metric(["a"], ["b"], package=name)


def test_candidates_and_references_go_where_they_belong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our two packages take them in opposite orders."""

    def right(candidates: list[str], references: list[str]) -> list[float]:
        return [float((c, r) == ("c", "r")) for c, r in zip(candidates, references, strict=True)]

    def radgraph(**options: Any) -> Any:
        return lambda hyps, refs: (None, ([0.0], right(hyps, refs), [0.0]), None, None)

    def green_scorer(*args: Any, **options: Any) -> Any:
        return lambda refs, hyps: (0.0, 0.0, right(hyps, refs), None, None)

    stand_in(monkeypatch, "stand_in_3", "F1RadGraph", radgraph)
    stand_in(monkeypatch, "stand_in_4", "GREEN", green_scorer)
    assert radgraph_f1(["c"], ["r"], package="stand_in_3") == [1.0]
    assert green(["c"], ["r"], package="stand_in_4") == [1.0]


def stand_in(monkeypatch: pytest.MonkeyPatch, name: str, member: str, value: Any) -> None:
    from importlib.machinery import ModuleSpec

    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    setattr(module, member, value)
    monkeypatch.setitem(sys.modules, name, module)
