"""The phantom model's language: its words as token ids, and its prompt with a role for every token."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from activations.roles import IMAGE_NAMES, Role, TokenTable
from radiology.phantom.grammar import VOCABULARY, join_words, tokenize_words

if TYPE_CHECKING:
    from radiology.study import Study

#: Bins an axis of a box token; MAIRA-2 has 100.
BOX_BINS = 32

PAD, BOS, EOS, IMAGE, UNKNOWN = "<pad>", "<s>", "</s>", "<image>", "<unk>"
_MARKS = ("<obj>", "</obj>", "<box>", "</box>")
_AXES = tuple(f"<{axis}{n}>" for axis in "xy" for n in range(BOX_BINS))
_IMAGE_WORDS = {"frontal": "FRONTAL", "lateral": "LATERAL", "prior_frontal": "PRIOR"}
_TEMPLATE_WORDS = ("USER", "ASSISTANT", ":", *_IMAGE_WORDS.values(), "REPORT", "WITH", "BOXES")
_SECTIONS = (
    ("INDICATION", "indication", Role.INDICATION),
    ("TECHNIQUE", "technique", Role.TECHNIQUE),
    ("COMPARISON", "comparison", Role.COMPARISON),
)
_TEMPLATE_WORDS += (*tuple(word for word, _, _ in _SECTIONS), "PRIOR_REPORT", "N/A")
_MARK = re.compile(r"(</?(?:obj|box)>|<[xy]\d+>)")


@lru_cache(maxsize=1)
def vocabulary() -> tuple[str, ...]:
    """All tokens; a token's id is its place here."""
    special = (PAD, BOS, EOS, IMAGE, UNKNOWN, *_MARKS, *_AXES)
    return special + tuple(dict.fromkeys((*_TEMPLATE_WORDS, *VOCABULARY)))


def build_tokenizer() -> Any:
    """A ``transformers`` tokenizer of :func:`vocabulary`; text is split as the phantom grammar splits it."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {word: number for number, word in enumerate(vocabulary())}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token=UNKNOWN))
    pattern = r"</?(?:obj|box)>|<[xy]\d+>|PRIOR_REPORT|N/A|[A-Za-z]+|[0-9]+|[^\sA-Za-z0-9]"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.Split(Regex(r"\s+"), behavior="removed"),
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, bos_token=BOS, eos_token=EOS, unk_token=UNKNOWN, padding_side="left"
    )


def ids_of(words: Iterable[str]) -> list[int]:
    """Ids of single tokens; what is not in the vocabulary becomes ``<unk>``."""
    table = _id_table()
    return [table.get(word, table[UNKNOWN]) for word in words]


def text_ids(text: str) -> list[int]:
    """Ids of report or section text, box tokens included."""
    words: list[str] = []
    for piece in _MARK.split(text):
        words += [piece] if _MARK.fullmatch(piece) else tokenize_words(piece)
    return ids_of(words)


def ids_text(ids: Iterable[int]) -> str:
    """Text of ids; the inverse of :func:`text_ids` on phantom text. Padding, start and end tokens are left out."""
    names = vocabulary()
    return join_words([names[i] for i in ids if names[i] not in (PAD, BOS, EOS)])


def build_prompt(study: Study, grid: tuple[int, int], report: str | None, grounded: bool) -> TokenTable:
    """The prompt of one study: images first, then the sections, in MAIRA-2's order; then the report, if given.

    Wording is the phantom's own. ``PRIOR_REPORT`` is asked only where a prior image is; missing sections read ``N/A``.
    """
    image_id = _id_table()[IMAGE]
    parts = [_special(BOS), _template("USER", ":")]
    for name in IMAGE_NAMES:
        if name in study.images:
            parts += [_template(_IMAGE_WORDS[name]), TokenTable.patches(image_id, name, *grid)]
    if "prior_frontal" in study.images:
        parts += [_template("PRIOR_REPORT", ":"), _section(study.prior_report, Role.PRIOR_REPORT)]
    parts.append(_template("REPORT", "WITH", "BOXES") if grounded else _template("REPORT"))
    for word, field, role in _SECTIONS:
        parts += [_template(word, ":"), _section(getattr(study, field), role)]
    parts.append(_template("ASSISTANT", ":"))
    if report is not None:
        parts += [TokenTable.text(text_ids(report), Role.REPORT), _special(EOS)]
    return TokenTable.concatenate(parts)


def _template(*words: str) -> TokenTable:
    return TokenTable.text(ids_of(words), Role.TEMPLATE)


def _special(word: str) -> TokenTable:
    return TokenTable.text(ids_of([word]), Role.SPECIAL)


def _section(text: str | None, role: Role) -> TokenTable:
    return _template("N/A") if text is None else TokenTable.text(text_ids(text), role)


@lru_cache(maxsize=1)
def _id_table() -> dict[str, int]:
    return {word: number for number, word in enumerate(vocabulary())}
