"""Pairing reports, and the rows of a patient's studies in order of time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from radiology.errors import InputError
from radiology.metrics.reports import ReportPair, ReportText, pair_reports, rows_by_patient


def test_every_study_is_paired_or_named() -> None:
    references = {name: ReportText(name, "Edema.") for name in ("a", "b", "c")}
    candidates = {name: ReportText(name, "No edema.") for name in ("c", "a", "z")}
    pairing = pair_reports(candidates, references)
    assert [(pair.study_id, pair.missing) for pair in pairing.pairs] == [("a", False), ("b", True), ("c", False)]
    assert (pairing.missing, pairing.without_reference) == (("b",), ("z",))
    assert pairing.pairs[1].candidate.empty
    assert [pair.study_id for pair in pair_reports(candidates, references, keep_missing=False).pairs] == ["a", "c"]


def pair(study: str, place: int, missing: bool = False) -> ReportPair:
    told = ReportText(study, "Left effusion.", patient_id="p", sequence=place)
    return ReportPair(replace(told, text="" if missing else told.text), told, missing)


def test_studies_are_put_in_order_of_time() -> None:
    reference, candidate = rows_by_patient([pair("s2", 2), pair("s1", 1)])
    assert [row.study_id for row in reference["p"]] == ["s1", "s2"]
    assert {row.temporal_group for row in candidate["p"]} == {"1"}


def test_a_patient_is_missing_if_all_studies_are() -> None:
    _, candidate = rows_by_patient([pair("s1", 1, missing=True), pair("s2", 2)])
    assert [row.study_id for row in candidate["p"]] == ["s2"]
    assert rows_by_patient([pair("s1", 1, missing=True)])[1] == {}


@pytest.mark.parametrize("field", ["patient_id", "sequence"])
def test_without_patient_or_place_in_time_there_is_no_comparison_over_time(field: str) -> None:
    complete = pair("s1", 1)
    told = (
        replace(complete.reference, patient_id=None)
        if field == "patient_id"
        else replace(complete.reference, sequence=None)
    )
    with pytest.raises(InputError, match=f"'s1'.*{field}"):
        rows_by_patient([replace(complete, reference=told)])
