from __future__ import annotations

import pytest

from radiology.phantom.cases import phantom_case, write_case
from steering.reading import Reading, phantom_reader, reader_for, related, report_reader


def test_a_phantom_report_reads_as_its_factors():
    for index in range(10):
        case = phantom_case(5, index)
        sentences, _, _ = write_case(case)
        reading = phantom_reader(" ".join(sentence.text for sentence in sentences))
        assert reading.parse_ok
        told = {key for key, status in reading.findings.items() if status != "absent"}
        assert told == {key for key in reading.findings if case.factors.labels()[key] == "present"}


@pytest.mark.parametrize("text", ["", "The heart the heart.", "The lungs are clear. The lungs"])
def test_broken_phantom_text_does_not_parse(text):
    assert not phantom_reader(text).parse_ok


def test_the_rules_read_free_text():
    reading = report_reader("Small left pleural effusion. No pneumothorax.")
    assert reading.parse_ok
    assert reading.status("pleural_effusion") == "present"
    assert reading.status("pneumothorax") == "absent"
    assert reading.status("nodule") is None
    assert not report_reader("Of of of the the.").parse_ok


def test_a_concept_takes_the_strongest_of_its_sides():
    reading = Reading({"effusion:left": "absent", "effusion:right": "uncertain"}, True)
    assert reading.status("effusion") == "uncertain"
    assert reading.status("effusion:left") == "absent"
    assert reading.status("eff") is None


def test_related_keys():
    assert related("a", "a")
    assert related("a:left", "a")
    assert related("a", "a:left")
    assert not related("a:left", "a:right")
    assert not related("a", "ab")


def test_models_that_are_no_phantoms_are_read_by_rules(model):
    assert reader_for(model) is report_reader
