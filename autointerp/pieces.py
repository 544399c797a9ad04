"""How single tokens look to a person, and which of them end a sentence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

_SPACE_MARKS = ("▁", "Ġ")  # SentencePiece and byte-level BPE write a leading space like this
_NEWLINES = {"Ċ": "\n", "<0x0A>": "\n"}
_ENDS = (".", "!", "?", "\n")
_GAP_BEFORE_MARK = re.compile(r"\s+([.,;:?!])")


def token_strings(tokenizer: Any, token_ids: Sequence[int] | np.ndarray) -> list[str]:
    """The tokens as text, a leading space where the tokenizer means one."""
    pieces = tokenizer.convert_ids_to_tokens([int(token) for token in token_ids])
    return [_readable("" if piece is None else str(piece)) for piece in pieces]


def text_of(tokenizer: Any, token_ids: Sequence[int] | np.ndarray) -> str:
    """The text of several tokens without special ones, spacing made plain."""
    text = str(tokenizer.decode([int(token) for token in token_ids], skip_special_tokens=True))
    return _GAP_BEFORE_MARK.sub(r"\1", " ".join(text.split()))


class Pieces:
    """The distinct tokens of a store, by their place ("code") among the sorted token ids.

    Args:
        tokenizer: a ``transformers`` tokenizer.
        token_id_n: (n,) token ids; :attr:`code_n` are their codes.
    """

    def __init__(self, tokenizer: Any, token_id_n: np.ndarray) -> None:
        ids, self.code_n = _coded(np.asarray(token_id_n))
        self.strings: list[str] = token_strings(tokenizer, ids)
        bodies = [piece.rstrip(" ") for piece in self.strings]
        self._ends = np.array([body.endswith(_ENDS) for body in bodies], dtype=bool)
        self._bare_stop = np.array([body.strip() == "." for body in bodies], dtype=bool)
        self._stop_after_digit = np.array([body.endswith(".") and body[-2:-1].isdigit() for body in bodies], dtype=bool)
        self._digit_last = np.array([body[-1:].isdigit() for body in bodies], dtype=bool)
        self._digit_first = np.array([piece[:1].isdigit() for piece in self.strings], dtype=bool)

    def ends_sentence(self) -> np.ndarray:
        """(n,) bool: tokens that end a sentence: full stop, ``!``, ``?``, line break.

        A full stop between two digits ("1.5 cm") ends none.
        """
        code_n = self.code_n
        ends_n = self._ends[code_n]
        if len(code_n) < 2:
            return ends_n
        after_digit_n = self._stop_after_digit[code_n]
        after_digit_n[1:] |= self._bare_stop[code_n[1:]] & self._digit_last[code_n[:-1]]
        decimal_n = after_digit_n
        decimal_n[:-1] &= self._digit_first[code_n[1:]]
        decimal_n[-1] = False
        return ends_n & ~decimal_n


def _readable(piece: str) -> str:
    for mark, newline in _NEWLINES.items():
        piece = piece.replace(mark, newline)
    for mark in _SPACE_MARKS:
        piece = piece.replace(mark, " ")
    return piece


def _coded(token_id_n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct ids, rising, and the place of each token among them, (n,) int32; without sorting the tokens."""
    if len(token_id_n) == 0:
        return token_id_n, np.empty(0, dtype=np.int32)
    lowest = token_id_n.min()
    occurs = np.zeros(int(token_id_n.max()) - int(lowest) + 1, dtype=bool)
    occurs[token_id_n - lowest] = True
    code_of = (np.cumsum(occurs) - 1).astype(np.int32)
    return np.flatnonzero(occurs) + lowest, code_of[token_id_n - lowest]
