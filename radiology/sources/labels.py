"""Labels of a study out of many statements about it."""

from __future__ import annotations

from collections.abc import Iterable

from radiology.study import Status
from radiology.vocabulary import find_concept

#: What holds where statements disagree: one that affirms, then one in doubt, then one that denies.
PRECEDENCE: tuple[Status, ...] = ("present", "uncertain", "absent")


def concept_key(*phrases: str | None) -> str | None:
    """Key of the first of these phrases that the vocabulary knows as a whole; ``None`` if it knows none."""
    found = (find_concept(phrase) for phrase in phrases if phrase)
    return next((concept.key for concept in found if concept is not None), None)


def merge_labels(statements: Iterable[tuple[str, Status]]) -> tuple[dict[str, Status] | None, int]:
    """Finding → status by :data:`PRECEDENCE`, in the order of first mention, and how many findings disagreed.

    Labels are ``None`` where nothing is stated.
    """
    said: dict[str, set[Status]] = {}
    for key, status in statements:
        said.setdefault(key, set()).add(status)
    labels = {key: next(status for status in PRECEDENCE if status in statuses) for key, statuses in said.items()}
    return labels or None, sum(len(statuses) > 1 for statuses in said.values())
