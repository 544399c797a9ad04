"""Text conditions on tokens: words and patterns, and what the sentence being written is about.

All of them see the text up to and including the token, decoded from the token ids themselves, so that a condition holds
at the same tokens while a report is written, beam by beam, and when it is teacher-forced.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from radiology.errors import InputError
from steering.errors import SteeringError

#: Ids → their text.
Decode = Callable[[Sequence[int]], str]

_SIDES = ("left", "right", "bilateral")


def check_pattern(field: str, pattern: str) -> None:
    """Refuse what is no regular expression, or one that matches nothing but empty text."""
    if not isinstance(pattern, str) or not pattern:
        raise SteeringError(f"{field}: {pattern!r}; a regular expression is needed")
    try:
        re.compile(pattern)
    except re.error as error:
        raise SteeringError(
            f"{field}: {pattern!r} is not a regular expression ({error}); escape special characters with a backslash"
        ) from error


def check_topic(field: str, key: str) -> None:
    """Refuse what is neither ``concept`` nor ``concept:side``."""
    from radiology.vocabulary import concept

    if not isinstance(key, str) or not key:
        raise SteeringError(f"{field}: {key!r}; a finding is needed, for instance pleural_effusion:left")
    name, _, side = key.partition(":")
    try:
        concept(name)
    except InputError as error:
        raise SteeringError(f"{field}: {error}") from error
    if side not in ("", *_SIDES):
        raise SteeringError(f"{field}: {key!r} has the side {side!r}; known are {list(_SIDES)}")


def word_pattern(words: Sequence[str]) -> str:
    """Regular expression for whole words or phrases, in any case, with any white space between."""
    phrases = (r"\s+".join(re.escape(part) for part in word.split()) for word in words)
    return rf"(?i)(?<!\w)(?:{'|'.join(phrases)})(?!\w)"


@lru_cache(maxsize=4096)
def sentence_so_far(text: str) -> str:
    """The last sentence of a text, as far as it is there; a full stop still belongs to the sentence that it ends."""
    from radiology.findings_text import lower_case, sentence_spans

    spans = sentence_spans(lower_case(text))
    return text[spans[-1][0] : spans[-1][1]] if spans else ""


@lru_cache(maxsize=16384)
def names_finding(text: str, key: str) -> bool:
    """Whether a text names a finding, whatever it says of it."""
    from radiology.findings import read_report, statuses

    concept, _, side = key.partition(":")
    found = [finding for finding in read_report(text) if finding.concept == concept]
    return key in statuses(found) if side else bool(found)


def lies_in_match(pattern: str, text: str, span: tuple[int, int]) -> bool:
    """Whether any match of the pattern shares a character with the span."""
    return any(match.start() < span[1] and match.end() > span[0] for match in re.finditer(pattern, text))


class Prefixes:
    """Texts of growing rows of token ids, each decoded once.

    Example:
        >>> text, span = Prefixes(model.text_of)((15, 7))  # "pleural effusion", (8, 16): the characters of the last id
    """

    def __init__(self, decode: Decode) -> None:
        self._decode = decode
        self._texts: dict[tuple[int, ...], str] = {(): ""}

    def __call__(self, ids: tuple[int, ...]) -> tuple[str, tuple[int, int]]:
        """Text of the ids, and where in it the last of them stands, without white space before it."""
        text, before = self._text(ids), self._text(ids[:-1])
        start = _common(before, text)
        start += len(text[start:]) - len(text[start:].lstrip())
        return text, (start, len(text))

    def _text(self, ids: tuple[int, ...]) -> str:
        if ids not in self._texts:
            self._texts[ids] = self._decode(ids)
        return self._texts[ids]


def _common(first: str, second: str) -> int:
    if second.startswith(first):
        return len(first)
    return next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )
