"""Laws of JSON forms and hashes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.plain import differences, digest, later, plain, restored

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(VALUES)
def test_the_plain_form_survives_json(value: object) -> None:
    form = plain(value)
    assert json.loads(json.dumps(form, allow_nan=False)) == form
    assert plain(form) == form


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(), VALUES, max_size=5))
def test_the_hash_does_not_depend_on_order(value: dict[str, object]) -> None:
    assert digest(value) == digest(dict(reversed(value.items())))


def test_forms_of_what_summaries_hold() -> None:
    @dataclass(frozen=True)
    class Config:
        path: Path
        sizes: tuple[int, ...]

    assert plain(Config(Path("a/b"), (1, 2))) == {"path": "a/b", "sizes": [1, 2]}
    assert plain({"x": np.float32(0.5), "y": np.arange(2), "z": float("nan")}) == {"x": 0.5, "y": [0, 1], "z": None}
    with pytest.raises(TypeError, match="object"):
        plain(object())


def test_differences_name_the_field() -> None:
    assert differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}) == ["a.c: 2 → 3"]
    assert differences({"a": 1}, {"a": 1}) == []


@dataclass(frozen=True)
class _Grown:
    old: int = 1
    new: str | None = later(None)


def test_a_field_that_came_later_leaves_old_hashes_alone() -> None:
    assert plain(_Grown()) == {"old": 1}
    assert digest(_Grown()) == digest({"old": 1})
    assert plain(_Grown(new="x")) == {"old": 1, "new": "x"}
    assert restored(_Grown, {"old": 1}) == _Grown()
