"""Cutting a report into sentences and a sentence into clauses, keeping character positions."""

from __future__ import annotations

import re

#: Start and end (exclusive) of a piece of text.
Span = tuple[int, int]

_SENTENCE_END = re.compile(r"(?<!\bdr)(?<!\bmr)(?<!\bvs)(?<!\be\.g)(?<!\bi\.e)[.!?]+(?=\s|$)|\n\s*\n")
_HARD_BREAK = re.compile(r";|,?\s+(?:but|however|although|though|whereas|while|except|yet)\b")
_SOFT_BREAK = re.compile(r",\s*(?:and\s+)?|\s+and\s+")
_VERB = re.compile(
    r"\b(?:is|are|was|were|has|have|had|remains?|appears?|persists?|may|might|could|shows?|demonstrates?|there)\b"
)
_NEGATED_START = re.compile(r"no\b|without\b")
_NEW_SUBJECT = re.compile(r"(?:the|there|a|an|heart|lungs?)\b")
_NO_SUBJECT = re.compile(r"(?:or|nor|which|that|is|are|was|were|has|have|remains?|appears?|persists?|may|could|now)\b")


def lower_case(text: str) -> str:
    """Lower case without any change of length, so that positions stay valid."""
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered
    return "".join(low if len(low := letter.lower()) == 1 else letter for letter in text)


def sentence_spans(lowered: str) -> list[Span]:
    """Spans of the sentences, without the space around them. A full stop ends one, a blank line too, a line end not."""
    spans: list[Span] = []
    start = 0
    for match in _SENTENCE_END.finditer(lowered):
        _append_stripped(spans, lowered, start, match.end())
        start = match.end()
    _append_stripped(spans, lowered, start, len(lowered))
    return spans


def clause_spans(lowered: str, span: Span) -> list[Span]:
    """Spans of the clauses of a sentence.

    A clause is the reach of a negation or of a shared predicate: "the heart is large and the lungs are clear" has two,
    "no effusion, edema or pneumothorax is seen" has one.
    """
    spans: list[Span] = []
    start = span[0]
    for match in _HARD_BREAK.finditer(lowered, *span):
        spans.extend(_soft_clauses(lowered, start, match.start()))
        start = match.end()
    spans.extend(_soft_clauses(lowered, start, span[1]))
    return spans


def _soft_clauses(lowered: str, start: int, end: int) -> list[Span]:
    breaks = list(_SOFT_BREAK.finditer(lowered, start, end))
    spans: list[Span] = []
    for place, match in enumerate(breaks):
        piece_end = breaks[place + 1].start() if place + 1 < len(breaks) else end
        right = lowered[match.end() : piece_end]
        if _starts_clause(lowered[start : match.start()], right, joined_by_and="and" in match.group()):
            spans.append((start, match.start()))
            start = match.end()
    spans.append((start, end))
    return spans


def _starts_clause(left: str, right: str, joined_by_and: bool) -> bool:
    """Whether ``right`` says something of its own instead of going on with the list or predicate of ``left``."""
    if _NO_SUBJECT.match(right):
        return False
    if _NEGATED_START.match(right):
        return True
    if not _VERB.search(right):
        return False
    if _VERB.search(left) or _NEW_SUBJECT.match(right):
        return True
    return not joined_by_and and bool(_NEGATED_START.match(left.lstrip()))


def _append_stripped(spans: list[Span], text: str, start: int, end: int) -> None:
    piece = text[start:end]
    left = len(piece) - len(piece.lstrip())
    right = len(piece.rstrip())
    if right > left:
        spans.append((start + left, start + right))
