"""Sentences end where a reader sees them end."""

from __future__ import annotations

import numpy as np
import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from activations.models.phantom_language import build_tokenizer, text_ids
from autointerp.pieces import Pieces, text_of, token_strings

WORDS = ["▁A", "▁nodule", "▁of", "▁1", ".", "5", "▁cm", "▁5.", "2", "!", "<0x0A>", "▁It", "Ġgrew"]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer that marks spaces as SentencePiece and byte-level BPE do."""
    words = {word: i for i, word in enumerate(WORDS)}
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="▁A")))


@pytest.mark.parametrize(
    ("tokens", "ends"),
    [
        (["▁A", "▁nodule", "."], [2]),
        (["▁1", ".", "5", "▁cm", "."], [4]),  # a decimal point is no full stop
        (["▁5.", "2", "▁cm", "!"], [3]),
        (["▁5.", "▁It", "."], [0, 2]),  # "… segment 5. It …"
        (["▁A", "<0x0A>", "▁It"], [1]),
        (["."], [0]),
    ],
)
def test_where_sentences_end(tokenizer: PreTrainedTokenizerFast, tokens: list[str], ends: list[int]) -> None:
    pieces = Pieces(tokenizer, np.array([WORDS.index(token) for token in tokens]))
    assert np.flatnonzero(pieces.ends_sentence()).tolist() == ends


def test_tokens_are_shown_with_plain_spaces(tokenizer: PreTrainedTokenizerFast) -> None:
    assert token_strings(tokenizer, [1, 10, 12]) == [" nodule", "\n", " grew"]


def test_text_comes_back_as_it_was_written() -> None:
    text = "There is a small left pleural effusion, new since the prior study. No pneumothorax."
    assert text_of(build_tokenizer(), text_ids(text)) == text
