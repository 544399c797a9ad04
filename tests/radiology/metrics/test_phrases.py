"""Cutting reports into phrases, and what a phrase may be."""

from __future__ import annotations

import pytest

from radiology.errors import InputError
from radiology.metrics.phrases import GroundedPhrase, split_phrase, split_report

REPORT = (
    "The ET tube ends 4 cm above the carina. New small left effusion, and moderate cardiomegaly. "
    "No pneumothorax, consolidation or edema is seen. Opacity at the right base, likely atelectasis. "
    "CT is recommended. The mediastinal and hilar contours are unremarkable."
)


def test_a_report_becomes_phrases_of_one_finding_each() -> None:
    assert split_report(REPORT) == [
        "The ET tube ends 4 cm above the carina.",
        "New small left effusion.",
        "Moderate cardiomegaly.",
        "No pneumothorax is seen.",
        "No consolidation is seen.",
        "No edema is seen.",
        "Opacity at the right base.",
        "The mediastinal contour is unremarkable.",
        "The hilar contour is unremarkable.",
    ]


@pytest.mark.parametrize(
    "said",
    [
        "A follow-up CT is recommended.",
        "Correlation with the clinical history is suggested.",
        "The patient is rotated.",
        "PA and lateral views of the chest were obtained.",
        "None.",
    ],
)
def test_what_is_not_seen_in_the_image_is_left_out(said: str) -> None:
    assert split_report(said) == []


def test_change_and_placement_stay_with_their_finding() -> None:
    assert split_report("The right effusion has increased. A PICC is in place and its tip is in the mid SVC.") == [
        "The right effusion has increased.",
        "A PICC is in place and its tip is in the mid SVC.",
    ]


def test_a_place_alone_borrows_the_next_noun() -> None:
    assert split_phrase("No hilar or mediastinal lymphadenopathy or mass.") == (
        "no hilar lymphadenopathy",
        "no mediastinal lymphadenopathy",
        "no mass",
    )


def test_phrases_of_phrases_are_the_same_phrases() -> None:
    once = split_report(REPORT)
    assert [again for phrase in once for again in split_report(phrase)] == once


def test_the_order_of_sentences_decides_the_order_of_phrases_and_nothing_else() -> None:
    sentences = ["Left effusion.", "No edema or pneumothorax.", "Heart size is normal."]
    assert sorted(split_report(" ".join(sentences))) == sorted(split_report(" ".join(sentences[::-1])))


@pytest.mark.parametrize("boxes", [(), ((0.2, 0.2, 0.1, 0.4),), ((0.0, 0.0, 1.2, 1.0),)])
def test_boxes_that_cannot_be_are_refused(boxes: tuple[tuple[float, float, float, float], ...]) -> None:
    with pytest.raises(InputError, match="box"):
        GroundedPhrase("effusion", boxes)


def test_a_phrase_without_words_is_refused() -> None:
    with pytest.raises(InputError, match="empty"):
        GroundedPhrase(" ")
