"""Prompts whose wording belongs to somebody else (a chat template, a checkpoint's own processor), with roles.

A template is rendered once with a *mark*, a private-use character, in the place of each section. Where the marks come
out is where the sections go; everything else is the template's own words. Tokens get their roles by the characters
that they stand for, and the ids are exactly those that the checkpoint's own tokenizer made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from activations.roles import Role, TokenTable
from radiology.errors import InputError

if TYPE_CHECKING:
    from radiology.study import Study

#: Section role → the field of a study that fills it.
SECTION_FIELDS: dict[Role, str] = {
    Role.INDICATION: "indication",
    Role.TECHNIQUE: "technique",
    Role.COMPARISON: "comparison",
    Role.PRIOR_REPORT: "prior_report",
}
#: Section role → the character that stands for it while a template is rendered.
MARKS: dict[Role, str] = {role: chr(0xE000 + int(role)) for role in (*SECTION_FIELDS, Role.REPORT)}
_ROLE_OF_MARK = {mark: role for role, mark in MARKS.items()}
_MARK = re.compile("([" + "".join(MARKS.values()) + "])")


@dataclass(frozen=True)
class Piece:
    """A stretch of a prompt's text that plays one role."""

    text: str
    role: Role


def section_texts(study: Study, report: str | None) -> dict[Role, str]:
    """The sections that a study has, and the report that is to be read, by role.

    Raises:
        InputError: a text holds one of the private-use characters that serve as marks.
    """
    texts = {role: getattr(study, field) for role, field in SECTION_FIELDS.items()}
    texts = {role: text for role, text in texts.items() if text is not None}
    if report is not None:
        texts[Role.REPORT] = report
    for role, text in texts.items():
        if _MARK.search(text):
            raise InputError(
                f"study {study.study_id!r}: {role.name.lower()} holds a private-use character (U+E000 …); remove it"
            )
    return texts


def pieces_of(marked: str, texts: Mapping[Role, str]) -> list[Piece]:
    """A rendered template with marks → pieces: its own words are ``template``, each mark becomes its section's text.

    Raises:
        InputError: a section's mark is not there, or more than once: the template drops or repeats it.
    """
    pieces: list[Piece] = []
    for part in _MARK.split(marked):
        if part in _ROLE_OF_MARK:
            pieces.append(Piece(texts[_ROLE_OF_MARK[part]], _ROLE_OF_MARK[part]))
        elif part:
            pieces.append(Piece(part, Role.TEMPLATE))
    counts = {role: sum(piece.role is role for piece in pieces) for role in texts}
    wrong = [f"{role.name.lower()} {count} times" for role, count in counts.items() if count != 1]
    if wrong:
        raise InputError(f"prompt: the template puts {', '.join(wrong)} into the prompt; once is what is understood")
    return pieces


def text_of(pieces: Sequence[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def expanded(pieces: Sequence[Piece], full_text: str, image_token: str) -> list[Piece]:
    """Pieces of the text that a processor made by writing out its image token and changing nothing else.

    Every ``image_token`` becomes the same text: itself once a patch, or what else the checkpoint puts around patches.

    Raises:
        InputError: the processor changed other words as well, so that nobody can say which token is what.
    """
    text = text_of(pieces)
    count = text.count(image_token)
    length, rest = divmod(len(full_text) - len(text), count) if count else (0, len(full_text) - len(text))
    start = text.find(image_token)
    written = full_text[start : start + len(image_token) + length] if count else ""
    whole = [Piece(piece.text.replace(image_token, written) if count else piece.text, piece.role) for piece in pieces]
    if rest or (count and not written) or text_of(whole) != full_text:
        raise InputError("prompt: the checkpoint's processor alters the text beyond its image tokens; roles unknown")
    return whole


def token_table(
    tokenizer: Any,
    pieces: Sequence[Piece],
    ids: Sequence[int],
    *,
    image_token_id: int | None = None,
    images: Sequence[str] = (),
    grid: tuple[int, int] = (0, 0),
) -> TokenTable:
    """Give every token of a prompt its role.

    Args:
        tokenizer: a fast tokenizer, which can tell the characters behind a token.
        pieces: the whole text, image tokens repeated once a patch.
        ids: what the checkpoint's own processor made of this text, (n,).
        image_token_id: the token of one patch.
        images: names of the images in the order of the prompt, each ``grid[0] · grid[1]`` tokens.

    A token plays the role of the piece that its first visible character lies in: a space before a word goes with the
    word, a line break after a full stop with the full stop. Special tokens are ``special``, image tokens ``image``.

    Raises:
        InputError: the tokenizer makes other ids of this text, or the image tokens do not fit the images.
    """
    text = text_of(pieces)
    ids_n = np.asarray(ids, dtype=np.int64)
    spans_n2 = _spans(tokenizer, text, ids_n)
    ends = np.cumsum([len(piece.text) for piece in pieces])
    at_n = np.array([_first_visible(text, start, end) for start, end in spans_n2.tolist()], dtype=np.int64)
    piece_n = np.minimum(np.searchsorted(ends, at_n, side="right"), len(pieces) - 1)
    role_n = np.array([int(piece.role) for piece in pieces], dtype=np.uint8)[piece_n]
    is_image_n = ids_n == image_token_id if image_token_id is not None else np.zeros(len(ids_n), dtype=bool)
    role_n[np.isin(ids_n, special_ids(tokenizer)) & ~is_image_n] = int(Role.SPECIAL)
    role_n[is_image_n] = int(Role.IMAGE)
    image_n, row_n, col_n = _places(is_image_n, images, grid)
    return TokenTable(ids_n.astype(np.int32), role_n, image_n, row_n, col_n)


def special_ids(tokenizer: Any) -> list[int]:
    """Ids of all tokens that are no text: those with a function, and others that the tokenizer lists as special."""
    listed = {int(i) for i, token in getattr(tokenizer, "added_tokens_decoder", {}).items() if token.special}
    return sorted(listed | set(tokenizer.all_special_ids))


def _first_visible(text: str, start: int, end: int) -> int:
    """Place of the first character of a token that is no space; its last character if all are."""
    return next((i for i in range(start, end) if not text[i].isspace()), max(end - 1, start))


def _spans(tokenizer: Any, text: str, ids_n: np.ndarray) -> np.ndarray:
    """First character and end of every token, (n, 2). Tokens added around the text have an empty span."""
    if not getattr(tokenizer, "is_fast", False):
        raise InputError("tokenizer: is not a fast one (tokenizer.json), which tells the characters behind each token")
    for special in (False, True):  # templates write their own start token, bare texts get it from the tokenizer
        made = tokenizer(text, add_special_tokens=special, return_offsets_mapping=True)
        if np.array_equal(made["input_ids"], ids_n):
            return np.asarray(made["offset_mapping"], dtype=np.int64).reshape(-1, 2)
    raise InputError("prompt: the checkpoint's processor and its tokenizer make different tokens of the same text")


def _places(
    is_image_n: np.ndarray, images: Sequence[str], grid: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image number, row and column of every token; −1 where it is none."""
    from activations.roles import IMAGE_NAMES

    patches = grid[0] * grid[1]
    count = int(is_image_n.sum())
    if count != patches * len(images):
        raise InputError(
            f"prompt: {count} image tokens for {len(images)} images of {grid[0]} × {grid[1]} patches; "
            "does the processor belong to this checkpoint?"
        )
    image_n = np.full(len(is_image_n), -1, dtype=np.int8)
    row_n, col_n = image_n.astype(np.int16), image_n.astype(np.int16)
    if count:
        numbers = [IMAGE_NAMES.index(name) for name in images]
        within = np.tile(np.arange(patches), len(images))
        image_n[is_image_n] = np.repeat(numbers, patches)
        row_n[is_image_n], col_n[is_image_n] = within // grid[1], within % grid[1]
    return image_n, row_n, col_n


class _Recorded:
    """A tokenizer that notes the texts it is called with."""

    def __init__(self, tokenizer: Any, texts: list[str]) -> None:
        self._tokenizer, self._texts = tokenizer, texts

    def __call__(self, text: Any = None, *args: Any, **kwargs: Any) -> Any:
        self._texts.extend([text] if isinstance(text, str) else text or [])
        return self._tokenizer(text, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)


@contextmanager
def tokenized_texts(processor: Any) -> Iterator[list[str]]:
    """The texts that a processor hands to its tokenizer inside the block: its prompts with image tokens expanded."""
    texts: list[str] = []
    tokenizer = processor.tokenizer
    processor.tokenizer = _Recorded(tokenizer, texts)
    try:
        yield texts
    finally:
        processor.tokenizer = tokenizer


def recorded(processor: Any, call: Callable[[], Any]) -> tuple[Any, str]:
    """What a call of a processor returns, and the one text that it tokenised.

    Raises:
        InputError: it tokenised none or several.
    """
    with tokenized_texts(processor) as texts:
        result = call()
    if len(texts) != 1:
        raise InputError(f"prompt: the checkpoint's processor tokenised {len(texts)} texts for one study")
    return result, texts[0]
