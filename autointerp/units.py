"""The stretches of a store that can become a context: one image of a study, or one sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from activations.roles import Role
from autointerp.pieces import Pieces, text_of

#: Roles whose tokens are running text; special and template tokens say nothing about a patient.
TEXT_ROLES: tuple[Role, ...] = (
    Role.INDICATION,
    Role.TECHNIQUE,
    Role.COMPARISON,
    Role.PRIOR_REPORT,
    Role.REPORT,
)


@dataclass(frozen=True)
class Documents:
    """The distinct texts behind units: sentences, and for images the report that speaks of them.

    ``sentences[i]`` is ``None`` for a report; ``findings[i]`` are its readings (``concept[:side]=status``), ``None`` if
    nothing tells.
    """

    sentences: list[str | None] = field(default_factory=list)
    findings: list[tuple[str, ...] | None] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.sentences)

    def add(self, sentence: str | None, findings: tuple[str, ...] | None) -> int:
        """Append one and give its number."""
        self.sentences.append(sentence)
        self.findings.append(findings)
        return len(self.sentences) - 1


@dataclass(frozen=True)
class Units:
    """u units in row order; every array has shape (u,) but ``unit_of_row``, which has one entry a row of the store.

    Attributes:
        first_row, n_rows: the rows of the store that a unit covers.
        study: study number.
        role: token role.
        image: index into ``IMAGE_NAMES``, −1 for text.
        document: its place in ``documents``.
        unit_of_row: unit of each row, −1 where a row belongs to none.
    """

    first_row: np.ndarray
    n_rows: np.ndarray
    study: np.ndarray
    role: np.ndarray
    image: np.ndarray
    document: np.ndarray
    unit_of_row: np.ndarray
    documents: Documents

    def __len__(self) -> int:
        return len(self.first_row)

    @property
    def is_image(self) -> np.ndarray:
        """(u,) bool."""
        return self.image >= 0


def cut_units(
    tokens: Mapping[str, np.ndarray],
    pieces: Pieces,
    keep_row: np.ndarray,
    *,
    tokenizer: Any,
    read_sentence: Callable[[str], tuple[str, ...]],
    read_image: Callable[[int, int], tuple[str, ...] | None],
) -> Units:
    """Cut the kept rows of a store into images and sentences.

    Args:
        tokens: token columns of all rows, each (rows,).
        pieces: the tokens of all rows.
        keep_row: (rows,) bool; rows of other studies or roles become part of no unit.
        read_sentence: findings of a sentence.
        read_image: findings of (study, image number), from the report that speaks of that image.
    """
    first_row, n_rows = _cut(tokens, pieces, keep_row)
    unit_of_row = np.full(len(keep_row), -1, dtype=np.int32)
    if len(first_row):
        row_offsets = np.repeat(first_row - np.cumsum(n_rows) + n_rows, n_rows)
        unit_of_row[row_offsets + np.arange(n_rows.sum())] = np.repeat(np.arange(len(first_row)), n_rows)
    study, role, image = (np.asarray(tokens[name])[first_row] for name in ("study", "role", "image"))
    documents, document = Documents(), np.empty(len(first_row), dtype=np.int32)
    known: dict[Any, int] = {}
    ids = np.asarray(tokens["token_id"])
    for unit, (start, n) in enumerate(zip(first_row.tolist(), n_rows.tolist(), strict=True)):
        is_image = image[unit] >= 0
        key = (int(study[unit]), int(image[unit])) if is_image else ids[start : start + n].tobytes()
        if key not in known:
            sentence = None if is_image else text_of(tokenizer, ids[start : start + n])
            found = read_sentence(sentence) if sentence is not None else read_image(*key)
            known[key] = documents.add(sentence, found)
        document[unit] = known[key]
    return Units(first_row, n_rows, study, role, image, document, unit_of_row, documents)


def _cut(tokens: Mapping[str, np.ndarray], pieces: Pieces, keep_row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First rows and lengths of the units: rows that stay together in study, role, image, prompt and sentence."""
    role, image = np.asarray(tokens["role"]), np.asarray(tokens["image"])
    is_image = (role == Role.IMAGE) & (image >= 0)
    inside = keep_row & (is_image | np.isin(role, [int(r) for r in TEXT_ROLES]))
    if not inside.any():
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    starts = np.ones(len(role), dtype=bool)
    same = inside[1:] & inside[:-1]
    for name in ("study", "role", "image"):
        column = np.asarray(tokens[name])
        same &= column[1:] == column[:-1]
    position = np.asarray(tokens["position"])
    # Some patches of an image may have been dropped; a gap in a text is the end of what can be read as one sentence.
    same &= is_image[1:] | ((position[1:] == position[:-1] + 1) & ~pieces.ends_sentence()[:-1])
    starts[1:] = ~same
    starts &= inside
    first_row = np.flatnonzero(starts)
    ends = np.flatnonzero(inside & np.append(starts[1:] | ~inside[1:], True))
    return first_row, ends - first_row + 1
