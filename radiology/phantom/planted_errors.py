"""Phantom reports with one known error: what a report metric catches can be counted on them.

A report is written twice of the same chest in different words; the second one gets the error. All other sentences keep
their words, so that nothing but the error lies between the second report with it and without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from radiology.phantom.factors import GRADED, Factors, factor_names, sample_factors
from radiology.phantom.grammar import ReportSentence, report_text, write_report

_DEVICES = ("pacemaker", "endotracheal_tube", "central_line", "sternotomy_wires")
_REPEATS = 3
Writer = Callable[[Factors], list[ReportSentence]]


@dataclass(frozen=True)
class PlantedReports:
    """Reports of one chest.

    ``reference``; ``reworded`` says the same in other words, ``shuffled`` that in another order of sentences.
    ``summed_up`` is ``reworded`` with "the lungs are clear" in place of the list of what they are clear of, or the
    other way round; ``None`` where there is neither. ``wrong`` maps the name of an error to the reworded report with
    it; errors that this chest offers no room for (nothing has a side) are not there.
    """

    reference: str
    reworded: str
    shuffled: str
    summed_up: str | None
    wrong: dict[str, str]


class _Wording:
    """Takes the place of a random generator: always the same choice, so that equal findings get equal sentences."""

    def __init__(self, number: int, sums_up: bool) -> None:
        self._number, self._sums_up = number, sums_up

    def integers(self, most: int) -> int:
        return self._number % most

    def random(self) -> float:
        return 0.0 if self._sums_up else 1.0


def plant_errors(rng: np.random.Generator) -> PlantedReports:
    """Draw a chest, and write its report with each error that it has room for."""
    factors, number, sums_up = sample_factors(rng), int(rng.integers(6)), bool(rng.integers(2))

    def write(chest: Factors) -> list[ReportSentence]:
        return _write(chest, number + 1, sums_up)

    reworded = write(factors)
    summed_up = report_text(_write(factors, number + 1, not sums_up))
    order = rng.permutation(len(reworded))
    made = {name: plant(rng, factors, write) for name, plant in ERRORS.items()}
    return PlantedReports(
        report_text(_write(factors, number, sums_up)),
        report_text(reworded),
        report_text([reworded[place] for place in order]),
        None if summed_up == report_text(reworded) else summed_up,
        {name: text for name, text in made.items() if text is not None},
    )


def _write(factors: Factors, number: int, sums_up: bool) -> list[ReportSentence]:
    return write_report(_Wording(number, sums_up), factors)  # type: ignore[arg-type]  # has what the grammar calls


def _swapped_side(rng: np.random.Generator, factors: Factors, write: Writer) -> str | None:
    """A finding on one side is told on the other one."""
    room = [
        (name, other)
        for name in _present(factors)
        if (other := _other_side(name)) is not None and not getattr(factors, other)
    ]
    if not room:
        return None
    name, other = room[int(rng.integers(len(room)))]
    subtle = {other if one == name else one for one in factors.subtle}
    moved = _changed(factors, {name: None, other: getattr(factors, name), "subtle": frozenset(subtle)})
    return report_text(write(moved))


def _dropped_finding(rng: np.random.Generator, factors: Factors, write: Writer) -> str | None:
    """The sentence of a finding or device is left out."""
    sentences = write(factors)
    room = [place for place, one in enumerate(sentences) if all(status != "absent" for _, status in one.keys)]
    if not room:
        return None
    dropped = room[int(rng.integers(len(room)))]
    return report_text([one for place, one in enumerate(sentences) if place != dropped])


def _flipped_polarity(rng: np.random.Generator, factors: Factors, write: Writer) -> str | None:
    """A finding is denied."""
    room = [name for name in _present(factors) if name not in _DEVICES and name != "nasogastric_tube"]
    room = [name for name in room if not (other := _other_side(name)) or not getattr(factors, other)]
    return _without(rng, factors, write, room)


def _without(rng: np.random.Generator, factors: Factors, write: Writer, room: Sequence[str]) -> str | None:
    if not room:
        return None
    name = room[int(rng.integers(len(room)))]
    return report_text(write(_changed(factors, {name: None, "subtle": factors.subtle - {name}})))


def _wrong_severity(rng: np.random.Generator, factors: Factors, write: Writer) -> str | None:
    """A finding has the other size."""
    room = [name for name in _present(factors) if name in GRADED]
    if not room:
        return None
    name = room[int(rng.integers(len(room)))]
    (size,) = set(GRADED[name]) - {getattr(factors, name)}
    return report_text(write(_changed(factors, {name: size})))


def _invented_device(rng: np.random.Generator, factors: Factors, write: Writer) -> str | None:
    """A device is told that is not there."""
    room = [name for name in _DEVICES if not getattr(factors, name)]
    if not room:
        return None
    name = room[int(rng.integers(len(room)))]
    return report_text(write(_changed(factors, {name: True})))


def _lost_doubt(rng: np.random.Generator, factors: Factors, write: Writer) -> str | None:
    """A finding that was in doubt is stated."""
    room = sorted(factors.subtle)
    if not room:
        return None
    name = room[int(rng.integers(len(room)))]
    return report_text(write(_changed(factors, {"subtle": factors.subtle - {name}})))


def _stuck(rng: np.random.Generator, factors: Factors, write: Writer) -> str | None:
    """The last sentence comes again and again."""
    sentences = write(factors)
    return report_text([*sentences, *[sentences[-1]] * _REPEATS])


#: Name of an error → the report with it, ``None`` where the chest has no room for it.
ERRORS: dict[str, Callable[[np.random.Generator, Factors, Writer], str | None]] = {
    "swapped side": _swapped_side,
    "dropped finding": _dropped_finding,
    "flipped polarity": _flipped_polarity,
    "wrong severity": _wrong_severity,
    "invented device": _invented_device,
    "lost doubt": _lost_doubt,
    "repeated sentence": _stuck,
}


def _changed(factors: Factors, values: dict[str, Any]) -> Factors:
    return replace(factors, **values)


def _present(factors: Factors) -> list[str]:
    return [name for name in factor_names() if getattr(factors, name)]


def _other_side(name: str) -> str | None:
    for ours, theirs in (("_left", "_right"), ("_right", "_left")):
        if name.endswith(ours):
            return name.removesuffix(ours) + theirs
    return None
