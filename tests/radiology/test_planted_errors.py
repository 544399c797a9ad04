"""Planted errors: each report differs from the right one in the error alone."""

from __future__ import annotations

import numpy as np
import pytest

from radiology.compare import compare
from radiology.findings import read_report, statuses
from radiology.phantom.planted_errors import ERRORS, PlantedReports, plant_errors


@pytest.fixture(scope="module")
def planted() -> list[PlantedReports]:
    rng = np.random.default_rng(0)
    return [plant_errors(rng) for _ in range(90)]


def sentences(text: str) -> set[str]:
    return set(text.rstrip(".").split(". "))


def told(text: str) -> dict[str, str]:
    """What is there or in doubt: "the lungs are clear" denies more names than a list does."""
    return {key: status for key, status in statuses(read_report(text)).items() if status != "absent"}


def test_rewording_and_shuffling_change_no_finding(planted: list[PlantedReports]) -> None:
    for one in planted:
        assert one.reworded != one.reference
        assert sorted(one.shuffled.split()) == sorted(one.reworded.split())
        for same in (one.reworded, one.shuffled):
            assert told(same) == told(one.reference)


def test_every_error_is_planted_and_leaves_most_sentences_alone(planted: list[PlantedReports]) -> None:
    for name in ERRORS:
        made = [one for one in planted if name in one.wrong]
        assert len(made) >= 5, name
        for one in made:
            right, wrong = sentences(one.reworded), sentences(one.wrong[name])
            assert len(right - wrong) <= 2, (name, right, wrong)
            assert len(wrong - right) <= 2, (name, right, wrong)
            assert one.wrong[name] != one.reworded


@pytest.mark.parametrize(
    ("error", "fields"),
    [("wrong severity", {"severity"}), ("lost doubt", {"status"}), ("flipped polarity", {"status"})],
)
def test_the_error_is_what_it_is_called(planted: list[PlantedReports], error: str, fields: set[str]) -> None:
    for one in planted:
        if error in one.wrong:
            found = compare(one.reworded, one.wrong[error])
            assert len(found.flipped) + len(found.changed) >= 1
            assert any(fields <= set(change.fields) for change in (*found.flipped, *found.changed))


def test_a_device_is_invented_and_a_sentence_dropped(planted: list[PlantedReports]) -> None:
    for one in planted:
        if "invented device" in one.wrong:
            (added,) = compare(one.reworded, one.wrong["invented device"]).added
            assert added.status == "present"
        if "dropped finding" in one.wrong:
            assert len(sentences(one.reworded)) == len(sentences(one.wrong["dropped finding"])) + 1
