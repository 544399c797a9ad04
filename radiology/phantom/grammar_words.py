"""Words of the phantom's language: splitting text into words and joining it again, exactly."""

from __future__ import annotations

import re
from collections.abc import Sequence

_WORD = re.compile(r"[A-Za-z]+|[0-9]+|[^\sA-Za-z0-9]")
_CLOSES = frozenset(".,;:?!")


def tokenize_words(text: str) -> list[str]:
    """Split into words and single punctuation marks; case is kept. ``join_words`` undoes it on phantom text."""
    return _WORD.findall(text)


def join_words(words: Sequence[str]) -> str:
    """Join words with single spaces, none before a closing punctuation mark."""
    pieces: list[str] = []
    for word in words:
        if pieces and word not in _CLOSES:
            pieces.append(" ")
        pieces.append(word)
    return "".join(pieces)
