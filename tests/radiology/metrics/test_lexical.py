"""Measures of wording: agreement with the packages' own corpus scores, ranges, empty reports."""

from __future__ import annotations

import math

import pytest

from radiology.metrics.lexical import bleu, mean_with_interval, repetition, rouge_l

CANDIDATES = ["Small left pleural effusion. No pneumothorax.", "Heart size is normal.", "No edema."]
REFERENCES = ["Small right pleural effusion. No pneumothorax is seen.", "The heart size is normal.", "No edema."]


def test_corpus_bleu_is_that_of_sacrebleu() -> None:
    from sacrebleu.metrics import BLEU

    expected = BLEU(lowercase=True).corpus_score(CANDIDATES, [REFERENCES]).score / 100
    values, each = bleu(CANDIDATES, REFERENCES)
    assert values["bleu"].value == pytest.approx(expected)
    assert all(0 <= value <= 1 for value in each)
    assert each[2] == pytest.approx(1)  # no four words, and yet the same


def test_rouge_l_is_the_longest_common_subsequence() -> None:
    (value,) = rouge_l(["no left effusion"], ["no large left pleural effusion"])
    precision, recall = 3 / 3, 3 / 5
    assert value == pytest.approx(2 * precision * recall / (precision + recall))
    assert rouge_l(CANDIDATES, CANDIDATES) == pytest.approx([1, 1, 1])


def test_an_empty_report_gets_nothing_and_two_are_undefined() -> None:
    assert rouge_l(["", ""], ["No edema.", ""]) == pytest.approx([0, math.nan], nan_ok=True)
    values, each = bleu(["", ""], ["No edema.", ""])
    assert each == pytest.approx([0, math.nan], nan_ok=True)
    assert values["bleu"].value == 0
    assert math.isnan(bleu([""], [""])[0]["bleu"].value)


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("one two three four five", 0.0),
        ("a b c d a b c d", 1 / 5),
        ("no edema " * 50, 95 / 97),
        ("too few words", math.nan),
    ],
)
def test_repetition_is_the_share_of_four_words_said_before(text: str, share: float) -> None:
    assert repetition(text) == pytest.approx(share, nan_ok=True)


def test_means_leave_the_undefined_out() -> None:
    made = mean_with_interval({"a": [1.0, math.nan, 0.0], "b": [math.nan] * 3})
    assert made["a"].value == 0.5
    assert math.isnan(made["b"].value)
