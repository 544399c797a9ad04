"""Grounded text in the phantom's report language: :mod:`radiology.grounding`, for (text, boxes) pairs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from radiology import grounding
from radiology.study import Box, GroundedSentence


def write_grounded(findings: Iterable[tuple[str, Sequence[Box]]], bins: int) -> str:
    """Write (text, boxes) pairs as grounded text; a finding without boxes gets none.

    Raises InputError for a box outside [0, 1] or with its corners swapped.
    """
    return grounding.write_grounded((GroundedSentence(text, tuple(boxes)) for text, boxes in findings), bins)


def parse_grounded(text: str, bins: int) -> tuple[list[tuple[str, list[Box]]], list[str]]:
    """Read a grounded report of the phantom: the findings in order, and what was malformed.

    A phantom asked for boxes marks every finding, so words without any mark are an error here.
    """
    read = grounding.parse_grounded(text, bins)
    plain = ["words outside of a finding"] if text.strip() and not read.sentences and not read.errors else []
    return [(sentence.text, list(sentence.boxes)) for sentence in read.sentences], [*read.errors, *plain]
