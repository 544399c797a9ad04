"""PadChest-GR: values, both languages, boxes, priors, and what bad input gets. The texts are made up."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from radiology.errors import InputError
from radiology.sources import open_studies
from radiology.sources.padchest_gr.grounded_json import JsonEntry, read_json_list
from radiology.study import Study

MASTER = (
    "StudyID,ImageID,label,split,PatientID,PatientBirth,PatientSex_DICOM,StudyDate_DICOM,Projection,prior_imageID\n"
    "1001,a.png,pleural effusion,train,p1,1950.0,M,20140915,PA,\n"
    "1001,a.png,cardiomegaly,train,p1,1950.0,M,20140915,PA,\n"
    "1002,b.png,Normal,validation,p2,1960,F,20150101,AP,\n"
    "1003,c.png,nodule,test,p1,1950,M,20160915,PA,a0.png\n"
)

EFFUSION = {
    "sentence_en": "Small left pleural effusion.",
    "sentence_es": "Pequeño derrame pleural izquierdo.",
    "abnormal": True,
    "boxes": [[0.5, 0.6, 0.9, 1.0004], [0.1, 0.2, 0.3, 0.4]],
    "extra_boxes": [[0.55, 0.6, 0.9, 1.0]],
    "labels": ["pleural effusion", "loculated fluid pocket"],
    "locations": ["left costophrenic angle"],
    "progression": "worsened",
}
HEART = {
    "sentence_en": "No cardiomegaly",
    "sentence_es": "Sin cardiomegalia",
    "abnormal": False,
    "labels": ["cardiomegaly"],
}
CLEAR = {"sentence_en": "Clear lungs.", "sentence_es": "Pulmones limpios.", "abnormal": False}
NODULE = {"sentence_en": "Nodule.", "sentence_es": "Nódulo.", "abnormal": True, "labels": ["nodule"], "boxes": []}


def records() -> list[dict[str, Any]]:
    return [
        {"StudyID": "1001", "ImageID": "a.png", "PreviousImageID": None, "findings": [dict(EFFUSION), dict(HEART)]},
        {"StudyID": 1002, "ImageID": "b.png", "findings": [dict(CLEAR)]},
        {"StudyID": "1003", "ImageID": "c.png", "findings": [dict(NODULE)]},
    ]


def picture(path: Path, value: int = 30_000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((6, 5), value, np.uint16)).save(path)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for number, name in enumerate(("images/a.png", "images/deep/b.png", "images/c.png", "priors/a0.png")):
        picture(tmp_path / name, 1000 * (number + 1))
    (tmp_path / "master_table.csv").write_text(MASTER, encoding="utf-8")
    write(tmp_path, records())
    return tmp_path


def write(tree: Path, studies: object) -> None:
    text = json.dumps(studies, ensure_ascii=False, indent=1)
    (tree / "grounded_reports_20240819.json").write_text(text, encoding="utf-8")


def facts(study: Study) -> tuple[object, ...]:
    pixels = {name: study.pixels(name).tobytes() for name in study.images}
    return study.study_id, study.patient_id, pixels, study.report, study.grounded, study.labels, study.metadata


def test_values_arrive_unchanged(tree: Path) -> None:
    source = open_studies(f"padchest-gr:{tree}")
    first, second, third = source
    assert (len(source), source.terms, source.skipped) == (3, "credentialed", [])
    assert (first.study_id, first.patient_id) == ("1001", "p1")
    assert first.report == "Small left pleural effusion. No cardiomegaly."
    assert first.labels == {"pleural_effusion": "present", "cardiomegaly": "absent"}
    assert first.metadata == {
        "sex": "male", "age": 64, "view": "PA", "split": "train", "study_time": "2014-09-15", "language": "en"
    }  # fmt: skip
    assert (second.study_id, second.labels) == ("1002", None)
    assert second.metadata is not None
    assert second.metadata["split"] == "validate"
    assert dict(third.images) == {"frontal": tree / "images/c.png", "prior_frontal": tree / "priors/a0.png"}
    assert third.pixels("prior_frontal").dtype == np.uint16
    assert third.pixels("prior_frontal")[0, 0] == 4000


def test_a_sentence_keeps_all_that_the_source_says_of_it(tree: Path) -> None:
    grounded = next(iter(open_studies(f"padchest-gr:{tree}"))).grounded
    assert grounded is not None
    effusion, heart = grounded
    assert effusion.boxes == ((0.5, 0.6, 0.9, 1.0), (0.1, 0.2, 0.3, 0.4))  # clipped by what rounding can add
    assert effusion.extra_boxes == ((0.55, 0.6, 0.9, 1.0),)
    assert effusion.label == "pleural_effusion"
    assert effusion.labels == ("pleural effusion", "loculated fluid pocket")
    assert (effusion.locations, effusion.progression) == (("left costophrenic angle",), "worsened")
    assert effusion.translations == {"en": EFFUSION["sentence_en"], "es": EFFUSION["sentence_es"]}
    assert (effusion.positive, heart.positive) == (True, False)
    assert heart.boxes == heart.extra_boxes == ()
    written = json.loads(json.dumps([dataclasses.asdict(sentence) for sentence in grounded]))
    assert written[0]["translations"]["es"] == EFFUSION["sentence_es"]


def test_the_other_language_changes_words_and_nothing_else(tree: Path) -> None:
    english, spanish = (list(open_studies(f"padchest-gr:{tree},language={language}")) for language in ("en", "es"))
    assert spanish[0].report == "Pequeño derrame pleural izquierdo. Sin cardiomegalia."
    for one, other in zip(english, spanish, strict=True):
        assert one.labels == other.labels
        assert [s.boxes for s in one.grounded or ()] == [s.boxes for s in other.grounded or ()]
        assert [s.translations for s in one.grounded or ()] == [s.translations for s in other.grounded or ()]


def test_the_second_reading_equals_the_first_and_no_pixels_are_held(tree: Path) -> None:
    (tree / "images/c.png").write_bytes(b"no image")
    source = open_studies(f"padchest-gr:{tree}")
    studies = list(source)
    first, skipped = [facts(study) for study in studies], list(source.skipped)
    assert len(skipped) == 1
    assert [facts(study) for study in source] == first
    assert source.skipped == skipped
    assert all(isinstance(image, Path) for study in studies for image in study.images.values())


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        (",split=test", ["1003"]),
        (",split=validation", ["1002"]),
        (",split=validate", ["1002"]),
        (",n=2", ["1001", "1002"]),
        (",split=train,n=5", ["1001"]),
        (",json=grounded_reports_20240819.json", ["1001", "1002", "1003"]),
    ],
)
def test_options(tree: Path, options: str, ids: list[str]) -> None:
    source = open_studies(f"padchest-gr:{tree}{options}")
    assert [study.study_id for study in source] == ids
    assert len(source) == len(ids)


def test_one_patient_stays_one_patient(tree: Path) -> None:
    first, second, third = open_studies(f"padchest-gr:{tree}")
    assert first.patient_id == third.patient_id != second.patient_id


def test_a_finding_affirmed_once_is_present_and_the_conflict_counted(tree: Path) -> None:
    denied = {**HEART, "labels": ["pleural effusion"]}
    write(tree, [{"StudyID": "1001", "ImageID": "a", "findings": [denied, EFFUSION]}])
    source = open_studies(f"padchest-gr:{tree}")
    (study,) = source
    assert study.labels == {"pleural_effusion": "present"}
    assert source.decisions["label conflicts"] == 1  # type: ignore[attr-defined]


def test_priors_that_are_not_there_are_a_note_and_no_error(tree: Path) -> None:
    (tree / "priors/a0.png").unlink()
    source = open_studies(f"padchest-gr:{tree}", strict=True)
    assert "prior_frontal" not in list(source)[2].images
    assert [skipped.reason.split()[0] for skipped in source.skipped] == ["1"]


def _change(number: int, **values: object) -> Callable[[list[dict[str, Any]]], object]:
    def change(studies: list[dict[str, Any]]) -> object:
        studies[number].update(values)
        return studies

    return change


def _boxes(*boxes: object) -> Callable[[list[dict[str, Any]]], object]:
    return _change(0, findings=[{**EFFUSION, "boxes": list(boxes)}])


@pytest.mark.parametrize(
    ("change", "field", "reason", "left"),
    [
        (_change(0, ImageID="none.png"), "[0].ImageID", "no such image", 2),
        (_change(0, ImageID="../../a0"), None, "", 3),  # found by its name below the folder, nowhere else
        (_change(0, ImageID="../../etc/passwd"), "[0].ImageID", "no such image", 2),
        (_change(0, ImageID=None), "[0].ImageID", "missing", 2),
        (_change(0, StudyID=None), "[0].StudyID", "missing", 2),
        (_change(2, StudyID="1001"), "[2].StudyID", "earlier", 2),
        (_change(0, StudyID="9"), "[0].StudyID", "not in master_table", 2),
        (_change(0, findings=[]), "[0].findings", "without findings", 2),
        (_change(0, findings="SECRET"), "[0].findings", "without findings", 2),
        (_change(0, findings=["SECRET", HEART]), "[0].findings[0]", "no object", 3),
        (_change(0, findings=[HEART, {"sentence_es": "SECRET"}]), "[0].findings[1].sentence_en", "empty", 3),
        (_change(0, findings=[{**HEART, "abnormal": "SECRET"}]), "[0].findings[0].abnormal", "true nor false", 3),
        (_change(0, findings=[{**HEART, "labels": [7]}]), "[0].findings[0].labels", "list of words", 3),
        (_boxes([0.5, 0.6, 0.4, 0.9]), "[0].findings[0].boxes[0]", "swapped", 3),
        (_boxes([0, 0, 1, 1], [0.5, 0.6, 0.9, 1.01]), "[0].findings[0].boxes[1]", "within", 3),
        (_boxes([5, 6, 90, 101]), "[0].findings[0].boxes[0]", "within", 3),
        (_boxes([0.5, 0.6, 0.9]), "[0].findings[0].boxes[0]", "four numbers", 3),
        (_boxes([0.5, 0.6, 0.9, "1"]), "[0].findings[0].boxes[0]", "four numbers", 3),
        (_boxes([0.5, 0.6, 0.9, float("nan")]), "[0].findings[0].boxes[0]", "within", 3),
        (lambda studies: ["SECRET", *studies], "[0].StudyID", "missing", 3),
    ],
)
def test_bad_entries_are_skipped_with_their_field_or_stop_when_strict(
    tree: Path, change: Callable[[list[dict[str, Any]]], object], field: str | None, reason: str, left: int
) -> None:
    write(tree, change(records()))
    source = open_studies(f"padchest-gr:{tree}")
    assert len(list(source)) == left
    if field is None:
        assert source.skipped == []
        return
    (skipped,) = source.skipped
    assert (skipped.field, skipped.file.name) == (field, "grounded_reports_20240819.json")
    assert skipped.row is not None
    assert reason in skipped.reason
    assert "SECRET" not in str(skipped)
    with pytest.raises(InputError, match="grounded_reports"):
        list(open_studies(f"padchest-gr:{tree}", strict=True))


def test_a_corrupt_image_is_named(tree: Path) -> None:
    whole = (tree / "images/a.png").read_bytes()
    (tree / "images/a.png").write_bytes(whole[:45])
    source = open_studies(f"padchest-gr:{tree}")
    assert [study.study_id for study in source] == ["1002", "1003"]
    assert [(skipped.file.name, skipped.field) for skipped in source.skipped] == [("a.png", "[0].ImageID")]
    with pytest.raises(InputError, match=r"a\.png"):
        list(open_studies(f"padchest-gr:{tree}", strict=True))


@pytest.mark.parametrize(
    ("row", "line", "field", "left"),
    [
        ("1001,a.png,x,train,p9,,,,,", 6, "PatientID", 2),  # a study of two patients is of neither
        ("1001,a.png,x,train,,,,,,", 6, "PatientID", 3),
        (",a.png,x,train,p1,,,,,", 6, "StudyID", 3),
        ("1001,a.png", 6, None, 3),
    ],
)
def test_bad_rows_of_the_master_table(tree: Path, row: str, line: int, field: str | None, left: int) -> None:
    (tree / "master_table.csv").write_text(f"{MASTER}{row}\n", encoding="utf-8")
    source = open_studies(f"padchest-gr:{tree}")
    assert len(list(source)) == left
    assert [(one.file.name, one.row, one.field) for one in source.skipped] == [("master_table.csv", line, field)]
    with pytest.raises(InputError, match=r"master_table\.csv, line 6"):
        list(open_studies(f"padchest-gr:{tree}", strict=True))


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("master_table.csv", b"StudyID,split\n1001,train\n", r"master_table\.csv: has no column PatientID"),
        ("master_table.csv", b"PatientID\np1\n", "has no column StudyID or ImageID"),
        ("master_table.csv", b"StudyID,PatientID\n1,M\xfcller\n", "master_table.csv.*UTF-8"),
        ("master_table.csv", b'StudyID,PatientID\n1,"open\n', "master_table.csv.*not CSV"),
        ("master_table.csv", b"StudyID,PatientID\n", "no rows"),
        ("grounded_reports_20240819.json", b'[\n{"StudyID": "1",\n}]', "json, line 3: is not JSON"),
        ("grounded_reports_20240819.json", b"[{}\n\n{}]", "json, line 3: is not JSON"),
        ("grounded_reports_20240819.json", b"[{}", "json, line 1: is not JSON"),
        ("grounded_reports_20240819.json", b"[{},]", "is not JSON"),
        ("grounded_reports_20240819.json", b"[] []", "is not JSON"),
        ("grounded_reports_20240819.json", b'{"a": 1}', "no list of studies"),
        ("grounded_reports_20240819.json", b'["\xff"]', "UTF-8"),
        ("grounded_reports_20240819.json", b"[" * 100_000, "nested too deeply"),
    ],
)
def test_broken_files_are_named_with_their_line(tree: Path, file: str, content: bytes, reason: str) -> None:
    (tree / file).write_bytes(content)
    with pytest.raises(InputError, match=reason) as error:
        open_studies(f"padchest-gr:{tree}")
    assert "Müller" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (",language=fr", "one of en, es"),
        (",split=tset", "there are test, train, validate"),
        (",n=0", "1 or more"),
        (",json=none.json", "is no file"),
        (",colour=1", "no option"),
    ],
)
def test_wrong_options_say_what_is_right(tree: Path, options: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        open_studies(f"padchest-gr:{tree}{options}")


def test_places_that_cannot_be_used(tree: Path) -> None:
    with pytest.raises(InputError, match="is a file"):
        open_studies(f"padchest-gr:{tree / 'master_table.csv'}")
    (tree / "grounded_reports_2.json").write_text("[]")
    with pytest.raises(InputError, match=r"2 files named grounded_reports.*json=PATH"):
        open_studies(f"padchest-gr:{tree}")
    for path in tree.glob("*.json"):
        path.unlink()
    with pytest.raises(InputError, match="no files named grounded_reports"):
        open_studies(f"padchest-gr:{tree}")
    (tree / "empty").mkdir()
    with pytest.raises(InputError, match="archives of images"):
        open_studies(f"padchest-gr:{tree / 'empty'}")


def test_reports_are_found_by_what_they_hold(tree: Path) -> None:
    (tree / "grounded_reports_20240819.json").rename(tree / "mine.json")
    (tree / "other.json").write_text("{}")
    assert len(list(open_studies(f"padchest-gr:{tree}"))) == 3


def test_entries_know_their_line_and_equal_what_json_reads(tmp_path: Path) -> None:
    values = [{"a": [1, {"b": "ñ\n"}]}, [], None, "x", 2.5]
    path = tmp_path / "list.json"
    path.write_text(json.dumps(values, indent=2), encoding="utf-8")
    entries = read_json_list(path)
    assert [entry.value for entry in entries] == values
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [lines[entry.line - 1].strip()[0] for entry in entries] == ["{", "[", "n", '"', "2"]
    path.write_text(" [ ] ")
    assert read_json_list(path) == []
    assert JsonEntry(3, 9, None).field == "[3]"
