"""Polarity decides: a text that negates a finding never fits a label that affirms it, and the other way round."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autointerp.reading import Reading, content_words, fit, read_findings, said
from autointerp.schema import Polarity
from radiology.vocabulary import CONCEPTS

SIDES = st.sampled_from([None, "left", "right"])


@settings(deadline=None)
@given(st.sampled_from(sorted(CONCEPTS)), SIDES, st.sampled_from(["present", "absent", "uncertain", "changed"]))
def test_readings_survive_being_written(concept: str, side: str | None, status: str) -> None:
    reading = Reading(concept, side, status)
    assert Reading.parse(str(reading)) == reading


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("No pleural effusion.", {"pleural_effusion=absent"}),
        ("There is a small left pleural effusion.", {"pleural_effusion=present", "pleural_effusion:left=present"}),
        ("The nasogastric tube is misplaced.", {"nasogastric_tube=present", "nasogastric_tube:misplaced=present"}),
        ("Cardiomegaly has resolved.", {"cardiomegaly=absent", "cardiomegaly=changed"}),
    ],
)
def test_readings_of_sentences(text: str, expected: set[str]) -> None:
    assert set(read_findings(text)) == expected


def test_box_marks_are_no_words() -> None:
    text = "<obj>There is a left pleural effusion.<box><x1><y2><x3><y4></box></obj>"
    assert "pleural_effusion:left=present" in read_findings(text)
    assert content_words("<obj>a left effusion<x1></obj>") == ("effusion", "left")


@settings(deadline=None)
@given(side=SIDES, told_side=SIDES, whole=st.booleans(), affirms=st.booleans())
def test_opposite_polarity_never_fits(side: str | None, told_side: str | None, whole: bool, affirms: bool) -> None:
    label, told = ("present", "absent") if affirms else ("absent", "present")
    text = tuple(str(Reading("pneumothorax", s, told)) for s in {None, told_side})
    grade = fit("pneumothorax", side, label, said(text), whole)
    present_on_the_other_side = not affirms and None not in (side, told_side) and side != told_side
    assert grade == (1 if present_on_the_other_side and whole else 0)


@settings(deadline=None)
@given(side=SIDES, status=st.sampled_from(["present", "absent", "uncertain", "changed"]), whole=st.booleans())
def test_a_label_fits_the_text_that_says_just_it(side: str | None, status: str, whole: bool) -> None:
    text = tuple(str(Reading("consolidation", s, status)) for s in {None, side})
    assert fit("consolidation", side, status, said(text), whole) == 1


def test_grades() -> None:
    def grade(text: str, side: str | None, polarity: Polarity, whole: bool = False) -> float:
        return fit("pleural_effusion", side, polarity, said(read_findings(text)), whole)

    assert grade("There is a right pleural effusion.", "left", Polarity.PRESENT) == 0
    assert grade("There is a pleural effusion.", "left", Polarity.PRESENT) == 0.5
    assert grade("There may be a left pleural effusion.", "left", Polarity.PRESENT) == 0.25
    assert grade("There may be a left pleural effusion.", "left", Polarity.PRESENT, whole=True) == 0.75
    assert grade("No pleural effusion.", "left", Polarity.ABSENT) == 1
    assert grade("The heart is normal in size.", None, Polarity.ABSENT) == 0
    assert grade("The heart is normal in size.", None, Polarity.ABSENT, whole=True) == 1
    assert grade("There is a right pleural effusion.", "left", Polarity.ABSENT, whole=True) == 1


def test_any_finding_of_a_polarity() -> None:
    table = said(read_findings("No pneumothorax."))
    assert fit(None, None, Polarity.ABSENT, table, False) == 1
    assert fit(None, None, Polarity.CHANGED, table, False) == 0
