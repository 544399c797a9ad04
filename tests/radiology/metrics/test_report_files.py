"""Files of reports: every form opens, and rows that are none are named. The texts are made up."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from radiology.errors import InputError
from radiology.metrics.report_files import Side, describe_problem, read_reports

BOX = {"x_min": 0.1, "y_min": 0.2, "x_max": 0.3, "y_max": 0.4}
#: The forms of RadFact's own example files, each with one example.
GROUNDED = [
    {
        "prediction": [{"text": "Left effusion.", "boxes": [BOX]}, {"text": "No edema.", "boxes": None}],
        "target": [{"text": "Right effusion.", "boxes": [BOX, BOX]}],
        "example_id": 0,
    }
]
GENERATED = 'example_id,prediction,target\n0,"Left effusion, small.",Right effusion.\n1,No edema.,Edema.\n'
PARSED = [
    {
        "example_id": "few_shot1",
        "findings_text": "Views were compared. Left effusion and edema.",
        "parsed_report": {
            "id": "few_shot1",
            "sentence_list": [
                {"orig": "Views were compared.", "new": [""]},
                {"orig": "Left effusion and edema.", "new": ["Left effusion.", "Edema."]},
            ],
        },
        "study_id": "study_1",
    }
]
PAIRS = [{"example_id": 7, "input": {"phrases_A": ["Left effusion."], "phrases_B": ["Edema.", "No effusion."]}}]


def write(folder: Path, name: str, content: Any) -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def texts(path: Path, side: Side) -> dict[str, str]:
    return {study: report.text for study, report in read_reports(path, side).reports.items()}


def test_radfact_generated_pairs(tmp_path: Path) -> None:
    path = write(tmp_path, "findings.csv", GENERATED)
    assert texts(path, "candidate") == {"0": "Left effusion, small.", "1": "No edema."}
    assert texts(path, "reference") == {"0": "Right effusion.", "1": "Edema."}
    assert read_reports(path, "candidate").both_sides


def test_radfact_grounded_pairs(tmp_path: Path) -> None:
    path = write(tmp_path, "grounded.json", GROUNDED)
    report = read_reports(path, "candidate").reports["0"]
    assert report.text == "Left effusion. No edema."
    assert report.phrases is not None
    assert [phrase.boxes for phrase in report.phrases] == [((0.1, 0.2, 0.3, 0.4),), None]
    assert len(read_reports(path, "reference").reports["0"].as_phrases() or ()) == 1


def test_radfact_parsed_reports(tmp_path: Path) -> None:
    path = write(tmp_path, "parsed.json", PARSED)
    report = read_reports(path, "reference").reports["study_1"]
    assert [phrase.text for phrase in report.as_phrases() or ()] == ["Left effusion.", "Edema."]


def test_radfact_pairs_of_phrases(tmp_path: Path) -> None:
    path = write(tmp_path, "pairs.json", PAIRS)
    assert texts(path, "candidate") == {"7": "Left effusion."}
    assert texts(path, "reference") == {"7": "Edema. No effusion."}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "study_id,report\ns1,Left effusion.\n"),
        ("a.csv", "\ufeffStudy_ID,Findings\r\ns1,Left effusion.\r\n"),
        ("a.tsv", "study_id\treport\ns1\tLeft effusion.\n"),
        ("a.json", [{"study_id": "s1", "report": "Left effusion."}]),
        ("a.json", {"s1": "Left effusion."}),
        ("a.json", [{"study_id": "s1", "phrases": ["Left effusion."]}]),
        ("a.jsonl", '{"study_id": "s1", "report": "Left effusion."}\n\n'),
    ],
)
def test_every_form_gives_the_same_report(tmp_path: Path, name: str, content: Any) -> None:
    assert texts(write(tmp_path, name, content), "candidate") == {"s1": "Left effusion."}


def test_a_compressed_table_opens_too(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"study_id,report\ns1,Left effusion.\n"))
    assert texts(path, "reference") == {"s1": "Left effusion."}


def test_rows_of_lunguage_are_gathered_by_study(tmp_path: Path) -> None:
    rows = (
        "subject_id,study_id,sequence,section,sent,ent,dx_status,location\n"
        "p1,s1,1,find,Left effusion.,effusion,positive,left\n"
        "p1,s1,1,hist,Known COPD.,copd,positive,\n"
        "p1,s2,2,find,No effusion.,effusion,negative,\n"
    )
    reports = read_reports(write(tmp_path, "rows.csv", rows), "reference").reports
    assert [row.ent for row in reports["s1"].as_rows()] == ["effusion"]
    assert (reports["s2"].patient_id, reports["s2"].sequence, reports["s2"].text) == ("p1", 2, "No effusion.")


def test_bad_rows_are_named_and_the_others_kept(tmp_path: Path) -> None:
    table = "study_id,report,sequence\ns1,Left effusion.,1\n,Orphan.,2\ns3,,3\ns1,Again.,4\ns5,Edema.,last\n"
    found = read_reports(write(tmp_path, "a.csv", table), "candidate")
    assert list(found.reports) == ["s1"]
    said = [describe_problem(found.path, problem) for problem in found.problems]
    assert [line.partition("a.csv, ")[2].partition(":")[0] for line in said] == [
        "row 3, field 'study_id'",
        "row 4, field 'report'",
        "row 5, field 'study_id'",
        "row 6, field 'sequence'",
    ]
    assert not any("Orphan" in line or "Again" in line or "last" in line for line in said)


@pytest.mark.parametrize(
    ("item", "field"),
    [
        ("no object", None),
        ({"report": "x"}, "study_id"),
        ({"study_id": "s", "report": 5}, "report"),
        ({"study_id": "s"}, "report"),
        ({"study_id": "s", "report": " "}, "report"),
        ({"study_id": "s", "phrases": [{"boxes": None}]}, "phrases"),
        ({"study_id": "s", "phrases": [{"text": "x", "boxes": []}]}, "phrases"),
        ({"study_id": "s", "phrases": [{"text": "x", "boxes": [[0, 0, 1]]}]}, "phrases"),
        ({"study_id": "s", "phrases": [{"text": "x", "boxes": [[0.5, 0, 0.1, 1]]}]}, "phrases"),
        ({"study_id": "s", "phrases": [{"text": "x", "boxes": 7}]}, "phrases"),
        ({"study_id": "s", "report": "x", "parsed_report": {"sentences": []}}, "parsed_report"),
    ],
)
def test_bad_items_are_named_by_number_and_field(tmp_path: Path, item: Any, field: str | None) -> None:
    path = write(tmp_path, "a.json", [{"study_id": "good", "report": "Edema."}, item])
    found = read_reports(path, "candidate")
    assert list(found.reports) == ["good"]
    assert [(problem.row, problem.field) for problem in found.problems] == [(2, field)]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", "", "header|empty"),
        ("a.csv", "study_id,text_of_it\ns1,x\n", "has no column"),
        ("a.csv", "report\nx\n", "has no column study_id"),
        ("a.csv", "study_id,report\n", "no report that can be used"),
        ("a.csv", "study_id,report\ns1,\n", "row 2, field 'report'"),
        ("a.json", "[", "is not JSON"),
        ("a.json", "5", "list of reports"),
        ("a.json", "[]", "no report that can be used"),
        ("a.xlsx", "x", r"must be \.csv"),
    ],
)
def test_a_file_that_is_none_is_one_message(tmp_path: Path, name: str, content: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read_reports(write(tmp_path, name, content), "candidate")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_reports(tmp_path / "nothing.csv", "candidate")
