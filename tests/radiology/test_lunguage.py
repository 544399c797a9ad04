"""LUNGUAGE: rows, sentences, labels, pictures, and what bad input gets. The texts are made up."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from radiology.errors import InputError
from radiology.sources import StudySource, open_studies
from radiology.structured import COLUMNS, StructuredFinding
from radiology.study import Study

Row = dict[str, str]

#: The header of a table as it is handed out: an index without a name first, more columns than the schema has.
HEADER = ["", "subject_id", *(names[0] for names in COLUMNS.values()), "normed_ent"]


def row(study: int, section: str, sentence: int | str, text: str, ent: str, status: str = "", **more: str) -> Row:
    sure = "tentative" if status.startswith("?") else "definitive"
    values = {
        "subject_id": f"p1000003{study % 2}",
        "study_id": f"s5000000{study}",
        "section": section,
        "sent_idx": str(sentence),
        "sent": text,
        "ent": ent,
        "cat": "PF",
        "dx_status": {"+": "positive", "-": "negative"}.get(status.removeprefix("?"), status),
        "dx_certainty": sure if status else "",
        **{name.replace("_", " ") if name not in HEADER else name: value for name, value in more.items()},
    }
    return {column: values.get(column, "") for column in HEADER}


def rows() -> list[Row]:
    """Two studies; the rows of the first stand before and after those of the second, sentences out of order."""
    return [
        row(1, "impr", 1, "Effusion, as before.", "effusion", "+", no_change="as before"),
        row(1, "find", 2, "No pneumothorax, nodule possible.", "pneumothorax", "-"),
        row(1, "find", 2, "No pneumothorax, nodule possible.", "nodule", "?+", location="right upper lobe"),
        row(2, "find", 1, "Heart is large.", "large heart", "+", normed_ent="cardiomegaly"),
        row(1, "find", 1, "Small left effusion.", "effusion", "+", location="left", severity="small"),
        row(1, "hist", 1, "Known pacemaker.", "pacemaker", "+"),
    ]


def write(path: Path, table: list[Row], header: list[str] | None = None) -> Path:
    text = io.StringIO()
    writer = csv.DictWriter(text, header or HEADER, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(table)
    path.write_text(text.getvalue(), encoding="utf-8")
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write(tmp_path / "Lunguage.csv", rows())


def facts(study: Study) -> tuple[object, ...]:
    text = study.report, study.indication, study.labels, study.structured
    return study.study_id, study.patient_id, dict(study.images), study.metadata, *text


def decisions(source: StudySource) -> dict[str, int]:
    return {name: count for name, count in source.decisions.items() if count}  # type: ignore[attr-defined]


def test_rows_of_a_study_come_together_wherever_they_stand(table: Path) -> None:
    source = open_studies(f"lunguage:{table}")
    first, second = source
    assert (len(source), source.terms, source.skipped) == (2, "credentialed", [])
    assert (first.study_id, first.patient_id) == ("s50000001", "p10000031")
    assert first.report == "Small left effusion. No pneumothorax, nodule possible."
    assert first.indication == "Known pacemaker."
    assert first.labels == {"pneumothorax": "absent", "lung_nodule": "uncertain", "pleural_effusion": "present"}
    assert second.labels == {"cardiomegaly": "present"}  # by its normalised name
    assert second.indication is None
    assert dict(first.images) == dict(second.images) == {}
    assert decisions(source) == {}


def test_structured_rows_lose_nothing(table: Path) -> None:
    (study, _) = open_studies(f"lunguage:{table},section=all")
    assert study.structured is not None
    mine = [one for one in rows() if one["study_id"] == "s50000001"]
    assert [finding.to_row(HEADER) for finding in study.structured] == mine


@pytest.mark.parametrize(
    ("section", "report", "sections", "labels"),
    [
        ("findings", "Small left effusion. No pneumothorax, nodule possible.", ["find"] * 3, 3),
        ("impression", "Effusion, as before.", ["impr"], 1),
        (
            "all",
            "Small left effusion. No pneumothorax, nodule possible. Effusion, as before.",
            ["impr", "find", "find", "find", "hist"],
            3,
        ),
    ],
)
def test_section_decides_what_the_report_is(
    table: Path, section: str, report: str, sections: list[str], labels: int
) -> None:
    study = next(iter(open_studies(f"lunguage:{table},section={section}")))
    assert study.report == report
    assert [finding.section for finding in study.structured or ()] == sections
    assert study.labels is not None
    assert len(study.labels) == labels
    assert "pacemaker" not in study.labels  # history tells what is known, not what is seen


def test_a_study_without_the_section_is_skipped(table: Path) -> None:
    source = open_studies(f"lunguage:{table},section=impression")
    assert [study.study_id for study in source] == ["s50000001"]
    assert [(one.row, one.field) for one in source.skipped] == [(5, "section")]
    with pytest.raises(InputError, match=r"Lunguage\.csv, line 5, field 'section'"):
        list(open_studies(f"lunguage:{table},section=impression", strict=True))


def test_labels_of_conflicting_rows(tmp_path: Path) -> None:
    table = write(
        tmp_path / "t.csv",
        [
            row(1, "find", 1, "a", "effusion", "-"),
            row(1, "find", 1, "a", "effusion", "?-"),
            row(1, "find", 1, "a", "pleural effusion", "+"),
            row(1, "find", 1, "a", "edema", "-"),
            row(1, "find", 1, "a", "edema", "?+"),
            row(1, "find", 1, "a", "nodule", "+", past_hx="resected"),
            row(1, "find", 1, "a", "pneumonia", "+", cat="NCD"),
            row(1, "find", 1, "a", "hernia", "+", cat="NCD/CF"),
            row(1, "find", 1, "a", "a thing unheard of", "+"),
            row(1, "find", 1, "a", "fracture", ""),
        ],
    )
    source = open_studies(f"lunguage:{table}")
    (study,) = source
    assert study.labels == {"pleural_effusion": "present", "pulmonary_edema": "uncertain", "hernia": "present"}
    assert decisions(source) == {"label conflicts": 2}
    assert len(study.structured or ()) == 10


def test_the_second_reading_equals_the_first(table: Path) -> None:
    table = write(table, [*rows(), row(3, "find", "x", "Bad.", "effusion", "+")])
    source = open_studies(f"lunguage:{table}")
    first, skipped = [facts(study) for study in source], list(source.skipped)
    assert skipped
    assert [facts(study) for study in source] == first
    assert source.skipped == skipped


@pytest.mark.parametrize(("options", "ids"), [(",n=1", ["s50000001"]), (",n=9", ["s50000001", "s50000002"])])
def test_n_takes_the_first_studies(table: Path, options: str, ids: list[str]) -> None:
    source = open_studies(f"lunguage:{table}{options}")
    assert [study.study_id for study in source] == ids
    assert len(source) == len(ids)


def test_without_sentences_the_section_text_is_the_report(tmp_path: Path) -> None:
    header = ["study_id", "section", "ent", "dx_status", "dx_certainty", "section_report"]
    table = [{**one, "section_report": f"All of {one['section']}."} for one in rows()]
    study = next(iter(open_studies(f"lunguage:{write(tmp_path / 't.csv', table, header)},section=all")))
    assert study.report == "All of find. All of impr."
    assert study.patient_id == study.study_id  # no subject_id
    study = next(iter(open_studies(f"lunguage:{write(tmp_path / 't.csv', table, header[:-1])}")))
    assert study.report is None  # rows alone are a study, too
    assert len(study.structured or ()) == 3


def test_sentences_without_numbers_or_entity(tmp_path: Path) -> None:
    table = [
        row(1, "find", "", "First.", "effusion", "+"),
        row(1, "find", "", "First.", "nodule", "+"),
        row(1, "find", "", "Second.", ""),
    ]
    source = open_studies(f"lunguage:{write(tmp_path / 't.csv', table)}")
    (study,) = source
    assert study.report == "First. Second."
    assert len(study.structured or ()) == 2
    assert decisions(source) == {"rows without an entity": 1}
    table = [row(1, "find", number, f"Number {number}.", "effusion", "+") for number in (5, 2)]
    source = open_studies(f"lunguage:{write(tmp_path / 't.csv', table)}")
    assert [study.report for study in source] == ["Number 2. Number 5."]
    assert decisions(source) == {"sentence numbers without a row": 2}


@pytest.mark.parametrize(
    ("bad", "field", "left"),
    [
        (row(1, "find", "x", "SECRET", "effusion", "+"), None, 2),
        (row(1, "find", "x", "SECRET", "", ""), None, 2),
        (row(1, "find", 9, "SECRET", "effusion", "+", ent_idx="x"), None, 2),
        (row(1, "SECRET", 9, "SECRET", "effusion", "+"), "section", 2),
        (row(1, "find", 1, "SECRET", "effusion", "+"), "sent", 2),
        (row(1, "find", 1, "Small left effusion.", "effusion", "SECRET"), "dx_status", 2),
        ({**row(1, "find", 9, "SECRET", "effusion", "+"), "study_id": ""}, "study_id", 2),
        ({**row(1, "find", 9, "SECRET", "effusion", "+"), "subject_id": "SECRET"}, "subject_id", 1),
    ],
)
def test_bad_rows_are_skipped_with_line_and_field_or_stop_when_strict(
    table: Path, bad: Row, field: str | None, left: int
) -> None:
    write(table, [*rows(), bad])
    source = open_studies(f"lunguage:{table}")
    studies = list(source)
    assert len(studies) == left
    assert [(one.file, one.row, one.field) for one in source.skipped] == [(table, 8, field)]
    assert "SECRET" not in str(source.skipped[0])
    assert not any("SECRET" in (study.report or "") for study in studies)
    with pytest.raises(InputError, match=r"Lunguage\.csv, line 8"):
        list(open_studies(f"lunguage:{table}", strict=True))


def test_a_byte_order_mark_semicolons_and_capitals_are_no_trouble(tmp_path: Path) -> None:
    text = "\ufeffStudy_ID;SECTION;Ent;dx_status;dx_certainty;extra\ns1;FIND;nodule;positive;definitive;x\n"
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8")
    (study,) = open_studies(f"lunguage:{path}", strict=True)
    assert (study.study_id, study.labels) == ("s1", {"lung_nodule": "present"})


def test_rows_of_another_width_are_skipped(table: Path) -> None:
    table.write_text(table.read_text(encoding="utf-8") + "1,2,3\n", encoding="utf-8")
    source = open_studies(f"lunguage:{table}")
    assert len(list(source)) == 2
    assert [(one.row, one.reason.split()[0]) for one in source.skipped] == [(8, "has")]


@pytest.mark.parametrize("missing", ["study_id", "section", "ent", "dx_status", "dx_certainty"])
def test_a_missing_column_is_named(table: Path, missing: str) -> None:
    write(table, rows(), [column for column in HEADER if column != missing])
    with pytest.raises(InputError, match=rf"Lunguage\.csv: has no column {missing}"):
        open_studies(f"lunguage:{table}")


def test_a_table_that_was_cut_off_or_is_no_text(tmp_path: Path, table: Path) -> None:
    zipped = tmp_path / "Lunguage.csv.gz"
    zipped.write_bytes(gzip.compress(table.read_bytes()))
    assert len(list(open_studies(f"lunguage:{zipped}"))) == 2
    zipped.write_bytes(zipped.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"csv\.gz: cannot be read"):
        open_studies(f"lunguage:{zipped}")
    table.write_bytes(table.read_bytes().replace(b"Known", b"Kn\xffwn"))
    with pytest.raises(InputError, match=r"Lunguage\.csv, after line \d+: is not UTF-8"):
        open_studies(f"lunguage:{table}")
    write(table, [])
    with pytest.raises(InputError, match="has no rows"):
        open_studies(f"lunguage:{table}")


def test_the_table_is_found_in_its_folder(tmp_path: Path, table: Path) -> None:
    (tmp_path / "Lunguage_vocab.csv").write_text("category,target_term\nPF,effusion\n")
    assert len(list(open_studies(f"lunguage:{tmp_path}"))) == 2
    write(tmp_path / "again.csv", rows())
    with pytest.raises(InputError, match=r"holds 2 CSV files.*name the file itself"):
        open_studies(f"lunguage:{tmp_path}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no CSV file with the columns"):
        open_studies(f"lunguage:{tmp_path / 'empty'}")


def test_ids_with_and_without_their_letter_are_the_same(table: Path) -> None:
    with_letter = [(study.study_id, study.patient_id) for study in open_studies(f"lunguage:{table}")]
    text = table.read_text(encoding="utf-8").replace(",s5000", ",5000").replace(",p1000", ",1000")
    table.write_text(text, encoding="utf-8")
    assert [(study.study_id, study.patient_id) for study in open_studies(f"lunguage:{table}")] == with_letter


def test_an_unsafe_id_becomes_a_safe_one(table: Path) -> None:
    table.write_text(table.read_text(encoding="utf-8").replace("s50000001", "../../s1"), encoding="utf-8")
    study = next(iter(open_studies(f"lunguage:{table}", strict=True)))
    assert "/" not in study.study_id
    assert ".." not in study.study_id


@pytest.mark.parametrize(
    ("options", "reason"),
    [(",section=history", "findings, impression, all"), (",n=x", "1 or more"), (",images=none", "does not exist")],
)
def test_wrong_options_say_what_is_right(table: Path, options: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        open_studies(f"lunguage:{table}{options}")


@pytest.fixture
def mimic(tmp_path: Path) -> Path:
    root = tmp_path / "mimic"
    lines = ["dicom_id,subject_id,study_id,ViewPosition,StudyDate,StudyTime"]
    for study, names in ((1, ("aa:LATERAL", "bb:AP", "cc:PA")), (2, ("dd:AP",))):
        subject = f"1000003{study % 2}"
        for value, (name, view) in enumerate(one.split(":") for one in names):
            path = root / f"files/p10/p{subject}/s5000000{study}/{name}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((6, 5), 80 * value, np.uint8)).save(path)
            lines.append(f"{name},{subject},5000000{study},{view},21800506,213014.531")
    (root / "mimic-cxr-2.0.0-metadata.csv.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    split = "dicom_id,study_id,subject_id,split\nbb,50000001,10000031,test\n"
    (root / "mimic-cxr-2.0.0-split.csv").write_text(split)
    return root


def test_pictures_are_found_by_patient_and_study(table: Path, mimic: Path) -> None:
    source = open_studies(f"lunguage:{table},images={mimic}")
    first, second = source
    folder = mimic / "files/p10/p10000031/s50000001"
    assert dict(first.images) == {"frontal": folder / "cc.jpg", "lateral": folder / "aa.jpg"}
    assert first.pixels("frontal")[0, 0] == 160
    assert first.metadata == {
        "section": "findings", "view": "PA", "split": "test", "study_time": "2180-05-06T21:30:14"
    }  # fmt: skip
    assert dict(second.images).keys() == {"frontal"}
    assert second.metadata is not None
    assert second.metadata["view"] == "AP"
    assert source.skipped == []


@pytest.mark.parametrize("spoil", ["corrupt", "gone", "folder gone", "not in the table", "other patient", "no number"])
def test_studies_without_their_picture_are_skipped(table: Path, mimic: Path, spoil: str) -> None:
    folder = mimic / "files/p10/p10000030/s50000002"
    if spoil == "corrupt":
        (folder / "dd.jpg").write_bytes(b"no image")
    elif spoil == "gone":
        (folder / "dd.jpg").rename(folder / "ee.jpg")
    elif spoil == "folder gone":
        folder.rename(mimic / "elsewhere")
    else:
        changes = {
            "not in the table": ("s50000002", "59999999"),
            "other patient": ("p10000030", "p10000031"),
            "no number": ("s50000002", "../../s50000002"),
        }
        table.write_text(table.read_text(encoding="utf-8").replace(*changes[spoil]), encoding="utf-8")
    source = open_studies(f"lunguage:{table},images={mimic}")
    assert [study.study_id for study in source] == ["s50000001"]
    assert [(one.row, one.field) for one in source.skipped] == [(5, "study_id")]
    with pytest.raises(InputError, match="line 5, field 'study_id'"):
        list(open_studies(f"lunguage:{table},images={mimic}", strict=True))


def test_places_without_pictures(table: Path, mimic: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a file"):
        open_studies(f"lunguage:{table},images={table}")
    with pytest.raises(InputError, match="files/p10"):
        open_studies(f"lunguage:{table},images={mimic / 'files/p10/p10000031'}")
    (mimic / "mimic-cxr-2.0.0-metadata.csv.gz").unlink()
    with pytest.raises(InputError, match=r"has no mimic-cxr-2\.0\.0-metadata"):
        open_studies(f"lunguage:{table},images={mimic}")
    write(table, rows(), [column for column in HEADER if column != "subject_id"])
    with pytest.raises(InputError, match="no column subject_id"):
        open_studies(f"lunguage:{table},images={mimic}")


def test_reading_a_row_and_writing_it_again_changes_nothing() -> None:
    full = {names[0]: str(number) for number, names in enumerate(COLUMNS.values())} | {"index": "7", "Report": "Text."}
    finding = StructuredFinding.from_row(full)
    assert finding.to_row() == full
    assert finding.no_change == full["no change"]
    assert finding.extra == {"index": "7", "Report": "Text."}
    sparse = {"ENT": "nodule", "study_id": "s1", "Past Hx": "", "episode": "2", "": "0"}
    assert StructuredFinding.from_row(sparse).to_row(sparse) == sparse
    assert StructuredFinding.from_row({"study_id": "s", "entity": "x", "sent_idx": "3.0"}).sent_idx == 3


@pytest.mark.parametrize(
    ("status", "certainty", "expected"),
    [
        ("positive", "definitive", "present"),
        ("Positive", None, "present"),
        ("positive", "tentative", "uncertain"),
        ("negative", "definitive", "absent"),
        ("negative", "TENTATIVE", "uncertain"),
        (None, None, None),
        ("perhaps", "definitive", None),
    ],
)
def test_status_of_a_row(status: str | None, certainty: str | None, expected: str | None) -> None:
    finding = StructuredFinding("s1", "nodule", dx_status=status, dx_certainty=certainty)
    assert finding.status == expected


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"study_id": "s1"}, "'ent'"),
        ({"study_id": "", "ent": "SECRET"}, "'study_id'"),
        ({"study_id": "s1", "ent": "SECRET", "entity": "SECRET"}, "two columns hold 'ent'"),
        ({"study_id": "s1", "ent": "SECRET", "sent_idx": "SECRET"}, "'sent_idx' must hold a whole number"),
    ],
)
def test_rows_that_are_no_finding(bad: dict[str, str], reason: str) -> None:
    with pytest.raises(InputError, match=reason) as error:
        StructuredFinding.from_row(bad)
    assert "SECRET" not in str(error.value)


def test_a_column_that_is_not_there_cannot_be_written() -> None:
    with pytest.raises(InputError, match="no column 'colour'"):
        StructuredFinding("s1", "nodule").to_row(["ent", "colour"])
