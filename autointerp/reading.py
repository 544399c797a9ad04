"""What a text says of which finding, in the short form that the tables hold: ``concept[:side]=status``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from autointerp.schema import Polarity
from radiology.findings import Finding, read_report, sides_of, statuses

#: Changes that count as one; "unchanged" does not.
CHANGES = frozenset({"new", "worse", "improved", "resolved"})

#: Devices of which reports say where they end; "in place" of others says that they are there.
_PLACEMENT_IS_TOLD = frozenset({"nasogastric_tube"})

_WORD = re.compile(r"[a-z]+")
_MARKUP = re.compile(r"</?[a-z]+>|<[xy]\d+>")
#: Words without a meaning of their own; sentences that differ in nothing else are near-duplicates.
_FILLERS = frozenset(
    re.findall("[a-z]+", "a an the there is are was were be been has have this that of in on at to and with seen")
)

#: How well a hedged sentence fits a plain label. A hedge in a report means that something is seen in the picture, but
#: a sentence that hedges is another sentence than one that affirms.
_HEDGED_IN_REPORT, _HEDGED_IN_SENTENCE = 0.75, 0.25
_NOTHING: frozenset[str] = frozenset()
#: How well the right concept fits when the side is not told.
_SIDE_UNTOLD = 0.5


class Reading(NamedTuple):
    """One statement: a concept, the side or other qualifier (or ``None``), and its status."""

    concept: str
    side: str | None
    status: str

    def __str__(self) -> str:
        return f"{key_of(self.concept, self.side)}={self.status}"

    @staticmethod
    def parse(text: str) -> Reading:
        """The inverse of ``str``."""
        key, _, status = text.rpartition("=")
        concept, _, side = key.partition(":")
        return Reading(concept, side or None, status)


def key_of(concept: str, side: str | None) -> str:
    """``concept`` or ``concept:side``."""
    return concept if side is None else f"{concept}:{side}"


@lru_cache(maxsize=65_536)
def read_findings(text: str) -> tuple[str, ...]:
    """Readings of a sentence or a report, ``concept[:side]=status`` each, in the order of the text.

    A finding that is new, worse, improved or resolved also gives ``…=changed``; a device that is said to be badly or
    (nasogastric tubes) well placed gives ``concept:misplaced=present`` or ``=absent``. Box and object marks of grounded
    text are ignored.
    """
    found = read_report(_MARKUP.sub(" ", text))
    readings = [f"{key}={status}" for key, status in statuses(found).items()]
    for finding in found:
        readings += _qualifiers(finding)
    return tuple(dict.fromkeys(readings))


def content_words(text: str) -> tuple[str, ...]:
    """Distinct words of a text in lower case that carry meaning, sorted; numbers and marks are left out."""
    return tuple(sorted(set(_WORD.findall(_MARKUP.sub(" ", text.lower()))) - _FILLERS))


Said = Mapping[str, frozenset[str]]


@lru_cache(maxsize=65_536)
def said(findings: tuple[str, ...]) -> Said:
    """What readings say: ``concept[:side]`` → statuses."""
    table: dict[str, set[str]] = {}
    for text in findings:
        reading = Reading.parse(text)
        table.setdefault(key_of(reading.concept, reading.side), set()).add(reading.status)
    return {key: frozenset(statuses) for key, statuses in table.items()}


def fit(concept: str | None, side: str | None, polarity: str, table: Said, whole_report: bool) -> float:
    """How well a label (concept, side, polarity) fits what a context says, from 0 (not at all) to 1.

    Args:
        concept: ``None`` fits any concept of that polarity.
        table: what the context says, from :func:`said`.
        whole_report: it is a whole report, in which a finding that is not named counts as absent.
    """
    if concept is None:
        return float(any(polarity in told for told in table.values()))
    plain, sided = table.get(concept, _NOTHING), table.get(key_of(concept, side), _NOTHING)
    other_side = any(key.startswith(f"{concept}:") for key in table)
    if polarity == Polarity.ABSENT:
        return _fit_absent(plain, sided, other_side, side, whole_report)
    if side is None or sided:
        return _fit_status(polarity, sided, whole_report)
    return 0.0 if other_side else _SIDE_UNTOLD * _fit_status(polarity, plain, whole_report)


def _fit_status(polarity: str, told: frozenset[str], whole_report: bool) -> float:
    if polarity in told:
        return 1.0
    if polarity == Polarity.PRESENT and Polarity.UNCERTAIN in told:
        return _HEDGED_IN_REPORT if whole_report else _HEDGED_IN_SENTENCE
    return 0.0


def _fit_absent(
    plain: frozenset[str], sided: frozenset[str], other_side: bool, side: str | None, whole_report: bool
) -> float:
    """Absence of a concept is absence on both sides, and so is silence of a whole report."""
    if sided:
        return float(Polarity.ABSENT in sided and Polarity.PRESENT not in sided)
    if side is not None and plain and not other_side:
        return float(Polarity.ABSENT in plain and Polarity.PRESENT not in plain)
    return float(whole_report)


def _qualifiers(finding: Finding) -> list[str]:
    readings = []
    if finding.placement == "misplaced":
        readings.append(f"{finding.concept}:misplaced={Polarity.PRESENT}")
    elif finding.placement == "placed" and finding.concept in _PLACEMENT_IS_TOLD:
        readings.append(f"{finding.concept}:misplaced={Polarity.ABSENT}")
    if finding.change in CHANGES:
        keys = [finding.concept, *(f"{finding.concept}:{side}" for side in sides_of(finding))]
        readings += [f"{key}={Polarity.CHANGED}" for key in keys]
    return readings
