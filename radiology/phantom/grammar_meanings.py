"""What each sentence of the phantom's report language means, and the whole language as one table.

The language is finite, so :func:`sentence_meanings` writes all of it down; the parser is a look-up in that table and
can neither miss nor invent a meaning.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import combinations

from radiology.phantom.factors import CAN_BE_SUBTLE, FIELD_OF_KEY, GRADED, ZONES
from radiology.phantom.grammar_sentences import (
    DEVICES,
    LUNGS,
    NEGATED_LISTS,
    PLEURA,
    clear_lungs_sentences,
    device_sentences,
    finding_sentences,
    negated_sentences,
    normal_heart_sentences,
    resolved_sentences,
)

#: Finding key of each field (``effusion_left`` → ``pleural_effusion:left``).
KEY_OF_FIELD: dict[str, str] = {field: key for key, field in FIELD_OF_KEY.items()}

MISPLACED_KEY = "nasogastric_tube:misplaced"


@dataclass(frozen=True)
class Meaning:
    """What a sentence says: (finding key, status) pairs, size / zone / severity per key, change since the prior."""

    keys: tuple[tuple[str, str], ...]
    details: tuple[tuple[str, str], ...] = ()
    change: str | None = None


@cache
def sentence_meanings() -> dict[str, Meaning]:
    """The whole language: sentence → meaning, in a fixed order."""
    table: dict[str, Meaning] = {}
    for text, meaning in _all_sentences():
        if table.setdefault(text, meaning) != meaning:
            raise AssertionError(f"the phantom grammar gives two meanings to {text!r}")
    return table


def finding_meaning(field: str, value: str, subtle: bool, change: str | None) -> Meaning:
    """Meaning of :func:`finding_sentences` with the same arguments."""
    key = KEY_OF_FIELD[field]
    return Meaning(((key, "uncertain" if subtle else "present"),), ((key, value),), change)


def device_meaning(field: str, value: bool | str, change: str | None) -> Meaning:
    """Meaning of :func:`device_sentences` with the same arguments."""
    if field != "nasogastric_tube":
        return Meaning(((KEY_OF_FIELD[field], "present"),), (), change)
    misplaced = "present" if value == "misplaced" else "absent"
    return Meaning(((field, "present"), (MISPLACED_KEY, misplaced)), ((field, str(value)),), change)


def resolved_meaning(field: str) -> Meaning:
    """Meaning of :func:`resolved_sentences` with the same argument."""
    return Meaning(((KEY_OF_FIELD[field], "absent"),), (), "resolved")


def absent_meaning(concepts: tuple[str, ...]) -> Meaning:
    """Meaning of a sentence that negates ``concepts``, each on both sides."""
    return Meaning(tuple((key, "absent") for concept in concepts for key in keys_of_concept(concept)))


def keys_of_concept(concept: str) -> tuple[str, ...]:
    """The finding keys of a concept: one, or one a side."""
    return tuple(key for key in FIELD_OF_KEY if key.split(":")[0] == concept)


def _all_sentences() -> Iterator[tuple[str, Meaning]]:
    for field in DEVICES:
        for place in ("placed", "misplaced") if field == "nasogastric_tube" else (True,):
            for change in (None, "new", "unchanged"):
                for text in device_sentences(field, place, change):
                    yield text, device_meaning(field, place, change)
    for field in ("cardiomegaly", *LUNGS, *PLEURA):
        for value in GRADED.get(field, ZONES):
            for subtle in (False, True) if field in CAN_BE_SUBTLE else (False,):
                for now in _possible_changes(field, value):
                    for text in finding_sentences(field, value, subtle, now):
                        yield text, finding_meaning(field, value, subtle, now)
    for field in (*DEVICES, "cardiomegaly", *LUNGS, *PLEURA):
        for text in resolved_sentences(field):
            yield text, resolved_meaning(field)
    for text in normal_heart_sentences():
        yield text, absent_meaning(("cardiomegaly",))
    for text in clear_lungs_sentences():
        yield text, absent_meaning(tuple(NEGATED_LISTS[0]))
    for names in NEGATED_LISTS:
        for length in range(1, len(names) + 1):
            for concepts in combinations(names, length):
                for text in negated_sentences(concepts):
                    yield text, absent_meaning(concepts)


def _possible_changes(field: str, value: str) -> tuple[str | None, ...]:
    if field not in GRADED:
        return (None, "new", "unchanged")
    return (None, "new", "unchanged", "worse" if value == GRADED[field][1] else "improved")
