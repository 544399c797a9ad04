"""Reading MIMIC-CXR: miniature trees in the layouts of PhysioNet, whole and damaged."""

from __future__ import annotations

import gzip
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.uid import ImplicitVRLittleEndian, RLELossless

from radiology.errors import InputError
from radiology.images import read_image
from radiology.sources import open_studies
from radiology.sources.base import StudySource
from radiology.sources.mimic_cxr.entries import date_of, is_before, is_dicom_id, number_id, time_of
from radiology.sources.mimic_cxr.images import check_image
from radiology.study import Study
from tests.radiology.mimic_miniature import (
    CHEXPERT,
    METADATA,
    RNG,
    Visit,
    dicom_id,
    write_dicom,
    write_picture,
    write_table,
    write_tree,
)


def group(visit: Visit) -> str:
    return f"files/p{str(visit.patient)[:2]}/p{visit.patient}"


def facts(study: Study) -> tuple[object, ...]:
    """Everything of a study, images by name alone."""
    images = {name: Path(str(path)).stem for name, path in study.images.items()}
    texts = (study.indication, study.technique, study.comparison, study.prior_report, study.report)
    return study.study_id, study.patient_id, images, texts, study.labels, study.metadata


def problems(source: StudySource) -> set[tuple[str, int | None, str | None]]:
    return {(skipped.file.name, skipped.row, skipped.field) for skipped in source.skipped}


FIRST = Visit(
    10000032,
    50414267,
    [("b", "PA"), ("a", "AP"), ("c", "LATERAL"), ("0", "PA")],
    report=(
        "   FINAL REPORT\n HISTORY:  ___F with\n cough.\n \n TECHNIQUE:  PA and\n lateral.\n \n COMPARISON:  None.\n \n"
        " FINDINGS: \n \n Clear\n lungs.\n \n No effusion.\n \n IMPRESSION: \n \n Normal."
    ),
    labels={"Edema": "1.0", "Pneumothorax": "0.0", "Pleural Effusion": "-1.0", "No Finding": ""},
)
SECOND = Visit(10000032, 50000001, [("a", "AP")], "21800626", "1545.0", "INDICATION: Pain.\n\nFINDINGS: New edema.")
OTHER = Visit(11000099, 51000000, [("a", "PA"), ("b", "LL")], "21450101", "", split="test")


# -- what a study becomes ----------------------------------------------------------------------------------------------


def test_a_tree_of_jpg_becomes_studies(tmp_path: Path) -> None:
    write_tree(tmp_path, [OTHER, SECOND, FIRST], gz=".gz")
    patients = write_table(
        tmp_path / "patients.csv.gz",
        ["subject_id", "gender", "anchor_age", "anchor_year", "anchor_year_group", "dod"],
        [[10000032, "F", 52, 2178, "2014 - 2016", ""], [10000048, "M", 23, 2126, "2008 - 2010", ""]],
    )
    source = open_studies(f"mimic-cxr:{tmp_path},patients={patients}", strict=True)
    first, second, other = studies = list(source)
    assert len(source) == 3
    assert source.terms == first.terms == "credentialed"
    assert [study.study_id for study in studies] == ["s50414267", "s50000001", "s51000000"]
    assert (first.patient_id, second.patient_id, other.patient_id) == ("p10000032", "p10000032", "p11000099")
    folder = tmp_path / "files/p10/p10000032/s50414267"
    assert dict(first.images) == {
        "frontal": folder / "030142bb-0.jpg",
        "lateral": folder / "030142bb-c.jpg",
    }
    assert first.report == "Clear lungs. No effusion."
    assert (first.indication, first.technique) == ("___F with cough.", "PA and lateral.")
    assert (first.comparison, first.prior_report) == ("None.", None)
    assert first.labels == {"pulmonary_edema": "present", "pneumothorax": "absent", "pleural_effusion": "uncertain"}
    assert first.metadata == {
        "view": "PA",
        "split": "train",
        "study_time": "2180-05-06T21:30:14",
        "sex": "female",
        "age": 54,
        "dicom_ids": {"frontal": "030142bb-0", "lateral": "030142bb-c"},
    }
    assert second.images["prior_frontal"] == first.images["frontal"]
    assert second.prior_report == first.report
    assert second.indication == "Pain."
    assert second.metadata is not None
    assert second.metadata["study_time"] == "2180-06-26T00:15:45"
    assert other.metadata == {
        "view": "PA",
        "split": "test",
        "study_time": "2145-01-01",
        "dicom_ids": {"frontal": "030a32c0-a", "lateral": "030a32c0-b"},
    }
    assert other.labels is None
    assert [facts(study) for study in source] == [facts(study) for study in studies]


@pytest.mark.parametrize("tables", ["records", "none", "metadata"])
def test_dicom_with_any_tables_gives_the_same_studies_as_jpg(tmp_path: Path, tables: str) -> None:
    visits = [FIRST, SECOND, OTHER]
    write_tree(tmp_path / "jpg", visits)
    write_tree(tmp_path / "dicom", visits, ".dcm", gz=".gz")
    if tables == "none":
        for path in (tmp_path / "dicom").glob("*.csv.gz"):
            path.unlink()
    if tables == "metadata":
        shutil.copy(tmp_path / "jpg/mimic-cxr-2.0.0-metadata.csv", tmp_path / "dicom")
    for name in ("split", "chexpert", "negbio"):
        (tmp_path / f"jpg/mimic-cxr-2.0.0-{name}.csv").unlink()
    jpg, dicom = (list(open_studies(f"mimic-cxr:{tmp_path / name}", strict=True)) for name in ("jpg", "dicom"))
    assert [facts(study) for study in dicom] == [facts(study) for study in jpg]
    assert Path(str(dicom[0].images["frontal"])).suffix == ".dcm"
    assert dicom[0].pixels("frontal").shape == (24, 20)


def test_the_prior_is_the_latest_frontal_study_strictly_before(tmp_path: Path) -> None:
    def visit(study: int, date: str, time: str, view: str = "PA", **more: Any) -> Visit:
        return Visit(10000032, study, [("a", view)], date, time, **more)

    write_tree(
        tmp_path,
        [
            visit(59, "21800101", "80000.0", report="IMPRESSION: Only this."),
            visit(58, "21800101", "080000.5"),
            visit(57, "21800101", "120000.0", "LATERAL"),
            visit(56, "21800101", "130000.0"),
            visit(55, "21800101", "130000.0"),
            visit(54, "", "", report="FINDINGS: Undated."),
            visit(53, "21800101", "", report="FINDINGS: Some time that day."),
            visit(52, "21800102", ""),
        ],
    )
    source = open_studies(f"mimic-cxr:{tmp_path},report=both")
    priors = {
        study.study_id: str(study.images["prior_frontal"]).split("/")[-2] if "prior_frontal" in study.images else None
        for study in source
    }
    assert priors == {
        "s54": None,
        "s53": None,
        "s59": None,
        "s58": "s59",
        "s56": "s58",
        "s55": "s58",
        "s52": "s56",
    }
    texts = {study.study_id: study.prior_report for study in source}
    assert texts["s58"] == "Only this."
    assert texts["s56"] == "Clear lungs."


def test_reports_beside_in_a_zip_file_and_elsewhere_are_the_same(tmp_path: Path) -> None:
    visits = [FIRST, SECOND, OTHER]
    beside = [facts(study) for study in open_studies(f"mimic-cxr:{write_tree(tmp_path / 'a', visits)}", strict=True)]
    root = write_tree(tmp_path / "b", visits)
    texts = sorted(root.rglob("s*.txt"))
    with zipfile.ZipFile(tmp_path / "reports.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("mimic-cxr-reports/LICENSE.txt", "x")
        for path in texts:
            packed.write(path, "mimic-cxr-reports" / path.relative_to(root))
    with zipfile.ZipFile(tmp_path / "reports.zip") as packed:
        packed.extractall(tmp_path / "out")
    for path in texts:
        path.unlink()
    for reports in ("reports.zip", "out", "out/mimic-cxr-reports", "out/mimic-cxr-reports/files"):
        source = open_studies(f"mimic-cxr:{root},reports={tmp_path / reports}", strict=True)
        assert [facts(study) for study in source] == beside
    shutil.move(tmp_path / "reports.zip", root / "mimic-cxr-reports.zip")
    assert [facts(study) for study in open_studies(f"mimic-cxr:{root}", strict=True)] == beside
    assert sorted(path.name for path in root.rglob("s*.txt")) == []


# -- options -----------------------------------------------------------------------------------------------------------


def test_options_choose_studies_and_texts(tmp_path: Path) -> None:
    lateral = Visit(10000050, 50000005, [("a", "LATERAL")], split="validate")
    unknown = Visit(10000050, 50000006, [("a", ""), ("b", "XTABLE LATERAL")], "21900101", split="validate")
    write_tree(tmp_path, [FIRST, SECOND, OTHER, lateral, unknown], version="2.1.0")

    def ids(options: str) -> list[str]:
        source = open_studies(f"mimic-cxr:{tmp_path}{options}", strict=True)
        found = [study.study_id for study in source]
        assert len(source) == len(found)
        return found

    assert ids(",split=test") == ["s51000000"]
    assert ids(",split=train,n=1") == ["s50414267"]
    assert ids(",views=any,n=4") == ["s50414267", "s50000001", "s50000005", "s50000006"]
    source = open_studies(f"mimic-cxr:{tmp_path}")
    assert len(list(source)) == 3
    assert [(skipped.row, skipped.field) for skipped in source.skipped] == [(None, "ViewPosition")]
    assert "2 studies" in source.skipped[0].reason
    *_, only_lateral, no_view = open_studies(f"mimic-cxr:{tmp_path},views=any,split=validate")
    assert list(only_lateral.images) == ["lateral"]
    assert {name: Path(str(path)).stem for name, path in no_view.images.items()} == {"frontal": "02faf086-a"}
    reports = {
        part: next(iter(open_studies(f"mimic-cxr:{tmp_path},report={part}"))).report
        for part in ("findings", "impression", "both", "none")
    }
    assert reports == {
        "findings": "Clear lungs. No effusion.",
        "impression": "Normal.",
        "both": "Clear lungs. No effusion. Normal.",
        "none": None,
    }
    assert next(iter(open_studies(f"mimic-cxr:{tmp_path},labels=none"))).labels is None
    assert next(iter(open_studies(f"mimic-cxr:{tmp_path},labels=negbio"))).labels == {
        "pulmonary_edema": "present",
        "pneumothorax": "absent",
        "pleural_effusion": "uncertain",
    }


def test_the_newest_table_counts_and_columns_in_any_case(tmp_path: Path) -> None:
    root = write_tree(tmp_path, [FIRST])
    write_table(
        root / "mimic-cxr-2.10.0-metadata.csv.gz",
        [name.upper() for name in reversed(METADATA)],
        [["", "", "", "9.5", "21990101", 1, 1, "AP", "", FIRST.study, FIRST.patient, dicom_id(FIRST, "a")]],
    )
    write_table(root / "mimic-cxr-2.9.0-metadata.csv", ["nothing"], [])
    (study,) = open_studies(f"mimic-cxr:{root}", strict=True)
    assert study.metadata is not None
    assert study.metadata["study_time"] == "2199-01-01T00:00:09"
    assert study.metadata["view"] == "AP"


def test_a_tree_without_reports_says_where_they_are(tmp_path: Path) -> None:
    visit = Visit(10000032, 50414267, report=None)
    source = open_studies(f"mimic-cxr:{write_tree(tmp_path, [visit])}", strict=True)
    (study,) = source
    assert study.report is None
    assert ["reports=PATH" in skipped.reason for skipped in source.skipped] == [True]
    with pytest.raises(InputError, match=r"reports=PATH"):
        open_studies(f"mimic-cxr:{tmp_path},report=findings")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("split=dev", "train, validate, test"),
        ("labels=chexbert", "chexpert, negbio, none"),
        ("views=lateral", "frontal, any"),
        ("report=all", "findings, impression, both, none"),
        ("n=0", "1 or more"),
        ("size=3", "no option"),
        ("split=validate", "none is left"),
        ("reports=/nowhere", "does not exist"),
        ("patients=/nowhere", "patients.csv"),
    ],
)
def test_wrong_options_say_what_is_right(tmp_path: Path, options: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        open_studies(f"mimic-cxr:{write_tree(tmp_path, [FIRST])},{options}")


@pytest.mark.parametrize("kind", ["split", "chexpert", "negbio"])
def test_a_table_that_an_option_needs_must_be_there(tmp_path: Path, kind: str) -> None:
    write_tree(tmp_path, [FIRST])
    (tmp_path / f"mimic-cxr-2.0.0-{kind}.csv").unlink()
    option = "split=train" if kind == "split" else f"labels={kind}"
    with pytest.raises(InputError, match=rf"mimic-cxr-2\.0\.0-{kind}"):
        open_studies(f"mimic-cxr:{tmp_path},{option}")
    assert len(list(open_studies(f"mimic-cxr:{tmp_path}", strict=True))) == 1


# -- bad input ---------------------------------------------------------------------------------------------------------


def test_rows_that_cannot_be_used_are_listed_with_row_and_field(tmp_path: Path) -> None:
    write_tree(tmp_path, [FIRST])
    good = dicom_id(FIRST, "a")
    rows = [
        [good, FIRST.patient, FIRST.study, "AP", "21800506", "213014.5"],
        [good, FIRST.patient, FIRST.study, "AP", "21800506", "213014.5"],
        ["../../SECRET", FIRST.patient, FIRST.study, "AP", "21800506", "1"],
        ["/etc/SECRET", FIRST.patient, FIRST.study, "AP", "21800506", "1"],
        ["x1", "../SECRET", FIRST.study, "AP", "21800506", "1"],
        ["x2", FIRST.patient, "SECRET", "AP", "21800506", "1"],
        ["x3", 10000099, FIRST.study, "AP", "21800506", "1"],
        ["x4", 12000000, 7777, "AP", "21800506", "1"],
        ["x..4", FIRST.patient, FIRST.study, "AP", "21800506", "1"],
        ["x5", FIRST.patient, 50414269, "AP", "SECRET", "SECRET"],
    ]
    header = ["dicom_id", "subject_id", "study_id", "ViewPosition", "StudyDate", "StudyTime"]
    table = write_table(tmp_path / "mimic-cxr-2.0.0-metadata.csv", header, rows)
    table.write_text(table.read_text() + "x6,SECRET\n\n")
    labels = dict.fromkeys(CHEXPERT, "")
    write_table(
        tmp_path / "mimic-cxr-2.0.0-chexpert.csv",
        ["subject_id", "study_id", *CHEXPERT],
        [
            [1, FIRST.study, *{**labels, "Edema": "SECRET", "Fracture": "1"}.values()],
            [1, FIRST.study, *labels.values()],
            [1, "SECRET", *labels.values()],
        ],
    )
    write_table(
        tmp_path / "mimic-cxr-2.0.0-split.csv",
        ["subject_id", "split"],
        [[FIRST.patient, "train"], ["SECRET", "train"], [12345, "SECRET"], [FIRST.patient, "test"]],
    )
    source = open_studies(f"mimic-cxr:{tmp_path}")
    (study,) = source
    assert study.labels == {"fracture": "present"}
    assert study.metadata is not None
    assert "split" not in study.metadata
    metadata, chexpert, split = (f"mimic-cxr-2.0.0-{name}.csv" for name in ("metadata", "chexpert", "split"))
    assert problems(source) == {
        (metadata, 3, "dicom_id"),
        (metadata, 4, "dicom_id"),
        (metadata, 5, "dicom_id"),
        (metadata, 6, "subject_id"),
        (metadata, 7, "study_id"),
        (metadata, 8, "study_id"),
        (metadata, None, "subject_id"),  # line 9: of this patient there is no folder
        (metadata, 10, "dicom_id"),
        (metadata, 11, "StudyDate"),
        (metadata, 11, "StudyTime"),
        (metadata, 12, None),
        ("s50414269.txt", None, None),  # line 11: the study has no report
        (chexpert, 2, "Edema"),
        (chexpert, 3, "study_id"),
        (chexpert, 4, "study_id"),
        (split, 3, "subject_id"),
        (split, 4, "split"),
        (split, 5, "split"),
    }
    assert not any("SECRET" in str(skipped) for skipped in source.skipped)
    with pytest.raises(InputError, match=r"metadata\.csv, line 3, field 'dicom_id'"):
        list(open_studies(f"mimic-cxr:{tmp_path}", strict=True))


def test_images_that_cannot_be_used(tmp_path: Path) -> None:
    views = [("a", "PA"), ("b", "AP"), ("c", "LATERAL")]
    times = ("10000.0", "20000.0", "30000.0", "40000.0", "50000.0", "60000.0")
    visits = [Visit(10000032, 50000000 + i, views, time=time) for i, time in enumerate(times)]
    write_tree(tmp_path, visits)

    def image(number: int, name: str) -> Path:
        return tmp_path / group(visits[number]) / f"s{visits[number].study}" / f"{dicom_id(visits[number], name)}.jpg"

    image(0, "a").unlink()  # the AP image stands in
    image(0, "c").unlink()
    shutil.rmtree(image(1, "a").parent)
    image(3, "c").write_bytes(image(3, "c").read_bytes()[:200])
    image(4, "a").write_text("SECRET")  # is the prior of the next study as well
    metadata = "mimic-cxr-2.0.0-metadata.csv"
    missing = {(metadata, 2, "dicom_id"), (metadata, 4, "dicom_id"), ("s50000001", None, "prior_frontal")}
    lost = {(metadata, 5, "dicom_id"), (metadata, 13, "dicom_id"), (metadata, 14, "dicom_id")}
    source = open_studies(f"mimic-cxr:{tmp_path}")
    first, second = source
    assert (first.study_id, [Path(str(path)).stem for path in first.images.values()]) == ("s50000000", ["02faf080-b"])
    assert (second.study_id, sorted(second.images)) == ("s50000002", ["frontal", "lateral"])
    assert second.prior_report is None
    assert problems(source) == missing | lost
    assert {(skipped.file.name, skipped.row, skipped.field) for skipped in source.skipped if skipped.lost} == lost
    assert not any("SECRET" in str(skipped) for skipped in source.skipped)
    assert [facts(study) for study in _listed_and_decoded(source)] == [facts(study) for study in (first, second)]
    assert problems(source) == missing | lost
    with pytest.raises(InputError, match="line 2"):
        list(open_studies(f"mimic-cxr:{tmp_path}", strict=True))


def _listed_and_decoded(source: StudySource) -> list[Study]:
    """The studies whose pixels could be read, with their paths."""
    return [study for study in source.listed() if source.decoded(study) is not None]


@pytest.mark.parametrize(
    ("damage", "field"),
    [
        (lambda path: path.unlink(), None),
        (lambda path: path.write_bytes(b" \n"), None),
        (lambda path: path.write_bytes(b"FINDINGS: M\xfcller SECRET"), None),
        (lambda path: path.write_text("FINDINGS: SECRET " * 100_000), None),
        (lambda path: path.write_text("INDICATION: Cough.\n\nIMPRESSION: SECRET."), "findings"),
    ],
)
def test_reports_that_cannot_be_used(tmp_path: Path, damage: Callable[[Path], Any], field: str | None) -> None:
    write_tree(tmp_path, [FIRST, SECOND])
    path = tmp_path / group(FIRST) / f"s{FIRST.study}.txt"
    damage(path)
    source = open_studies(f"mimic-cxr:{tmp_path}")
    (second,) = source
    assert second.study_id == "s50000001"
    assert "prior_frontal" in second.images
    assert problems(source) == {(path.name, None, field)}
    assert "SECRET" not in str(source.skipped[0])
    with pytest.raises(InputError, match=path.name):
        list(open_studies(f"mimic-cxr:{tmp_path}", strict=True))
    source = open_studies(f"mimic-cxr:{tmp_path},report=none", strict=True)
    assert len(list(source)) == 2
    assert problems(source) == ({(path.name, None, None)} if field is None else set())


def test_a_damaged_zip_file_of_reports(tmp_path: Path) -> None:
    write_tree(tmp_path, [FIRST, SECOND])
    packed = tmp_path / "mimic-cxr-reports.zip"
    with zipfile.ZipFile(packed, "w") as file:
        for visit in (FIRST, SECOND):
            file.writestr(f"files/p10/p{visit.patient}/s{visit.study}.txt", f"FINDINGS: Clear, {visit.study}.")
    whole = packed.read_bytes()
    packed.write_bytes(whole.replace(b"Clear, 50414267", b"Clean, 50414267"))
    source = open_studies(f"mimic-cxr:{tmp_path}")
    assert [study.report for study in source] == ["Clear, 50000001."]
    assert problems(source) == {("s50414267.txt", None, None)}
    with zipfile.ZipFile(packed, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr(f"files/p11/p{OTHER.patient}/s{OTHER.study}.txt", "FINDINGS: x" * 1_000_000)
    write_tree(tmp_path, [FIRST, SECOND, OTHER])
    source = open_studies(f"mimic-cxr:{tmp_path}")
    assert [study.study_id for study in source] == ["s50000001"]
    assert problems(source) == {("s50414267.txt", None, None), (f"s{OTHER.study}.txt", None, None)}
    packed.write_bytes(whole[:-40])
    with pytest.raises(InputError, match="truncated"):
        open_studies(f"mimic-cxr:{tmp_path}")
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("../../s1.txt", "x")
    with pytest.raises(InputError, match="holds no"):
        open_studies(f"mimic-cxr:{tmp_path}")


def test_dicom_without_tables_that_cannot_be_used(tmp_path: Path) -> None:
    lateral = Visit(11000099, 51000001, [("a", "LATERAL")])
    write_tree(tmp_path, [FIRST, SECOND, OTHER, lateral], ".dcm")
    lists = sorted(tmp_path.glob("*.csv"))
    folder = tmp_path / group(FIRST) / f"s{FIRST.study}"
    for path in folder.glob("*.dcm"):
        path.write_bytes(path.read_bytes()[:150])
    empty = tmp_path / group(OTHER) / f"s{OTHER.study}"
    shutil.rmtree(empty)
    for tables in (True, False):
        source = open_studies(f"mimic-cxr:{tmp_path}")
        assert [study.study_id for study in source] == ["s50000001"]
        assert {file for file, _, _ in problems(source)} >= {path.name for path in folder.glob("*.dcm")}
        assert (f"s{lateral.study}", None, "ViewPosition") in problems(source)
        missing = {("cxr-record-list.csv", 7, "dicom_id"), (empty.name, None, None)}
        assert problems(source) >= (missing if tables else {(empty.name, None, None)})
        with pytest.raises(InputError):
            list(open_studies(f"mimic-cxr:{tmp_path}", strict=True))
        for path in lists:
            path.unlink(missing_ok=True)


def test_a_study_without_image_in_the_record_list(tmp_path: Path) -> None:
    write_tree(tmp_path, [FIRST, Visit(10000032, 50414299, [])], ".dcm")
    source = open_studies(f"mimic-cxr:{tmp_path}")
    assert len(list(source)) == 1
    assert problems(source) == {("cxr-study-list.csv", 3, "study_id")}


def test_a_part_of_the_tree_is_told_by_group(tmp_path: Path) -> None:
    visits = [FIRST, SECOND, OTHER]
    write_tree(tmp_path, visits)
    shutil.rmtree(tmp_path / "files/p10")
    source = open_studies(f"mimic-cxr:{tmp_path},n=1")
    assert [study.study_id for study in source] == ["s51000000"]
    (skipped,) = source.skipped
    assert "2 studies" in skipped.reason
    assert "p10" in skipped.reason
    with pytest.raises(InputError, match="p10"):
        list(open_studies(f"mimic-cxr:{tmp_path}", strict=True))
    assert len(list(open_studies(f"mimic-cxr:{tmp_path},split=test", strict=True))) == 1  # the part that is there


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("metadata.csv", b"dicom_id,subject_id,study_id\nSECRET,1,2\n", "ViewPosition, StudyDate, StudyTime"),
        ("metadata.csv", b"", "dicom_id"),
        ("metadata.csv", b"M\xfcller SECRET\n", "UTF-8"),
        (
            "metadata.csv.gz",
            gzip.compress(",".join(METADATA).encode() + b"\n" + RNG.bytes(9000).hex().encode())[:-100],
            "truncated",
        ),
        ("split.csv", b"subject_id\n1\n", "split"),
        ("chexpert.csv", b"study_id,Edema\n1,SECRET\n", "Atelectasis, Cardiomegaly"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    write_tree(tmp_path, [FIRST])
    (tmp_path / f"mimic-cxr-2.0.0-{name.removesuffix('.gz')}").unlink()
    (tmp_path / f"mimic-cxr-2.0.0-{name}").write_bytes(content)
    with pytest.raises(InputError, match=reason) as error:
        open_studies(f"mimic-cxr:{tmp_path}")
    assert f"mimic-cxr-2.0.0-{name}" in str(error.value)
    assert "SECRET" not in str(error.value)


def test_an_open_quote_in_a_table(tmp_path: Path) -> None:
    table = write_tree(tmp_path, [FIRST]) / "mimic-cxr-2.0.0-metadata.csv"
    table.write_text(table.read_text() + '"SECRET,1,2')
    with pytest.raises(InputError, match="not CSV"):
        open_studies(f"mimic-cxr:{tmp_path}")


def test_trees_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write_table(write_tree(tmp_path / "tables", [FIRST]) / "x.csv", ["a"], [])
    shutil.rmtree(tmp_path / "tables/files")
    (tmp_path / "other/images").mkdir(parents=True)
    (tmp_path / "file").touch()
    expected = {
        "empty": "is empty; looked for files/p10",
        "tables": "there are mimic-cxr-2.0.0",
        "other": "holds no images of MIMIC-CXR",
        "file": "is a file",
        "nowhere": "does not exist",
    }
    for name, reason in expected.items():
        with pytest.raises(InputError, match=reason) as error:
            open_studies(f"mimic-cxr:{tmp_path / name}")
        assert name in str(error.value)


def test_jpg_without_a_metadata_table_needs_one(tmp_path: Path) -> None:
    write_tree(tmp_path, [FIRST])
    (tmp_path / "mimic-cxr-2.0.0-metadata.csv").unlink()
    source = open_studies(f"mimic-cxr:{tmp_path}")
    assert list(source) == []
    assert sum("mimic-cxr-2.0.0-metadata" in skipped.reason for skipped in source.skipped) == len(FIRST.images)
    assert len(source.skipped) == len(FIRST.images) + 1


def test_the_folder_of_files_can_be_named_too(tmp_path: Path) -> None:
    write_tree(tmp_path, [FIRST])
    whole, files = (open_studies(f"mimic-cxr:{path}", strict=True) for path in (tmp_path, tmp_path / "files"))
    assert [facts(study) for study in whole] == [facts(study) for study in files]


# -- details -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["jpg", "png", "dcm", "implicit", "rle"])
def test_the_cheap_look_finds_what_decoding_finds(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("a.dcm" if kind in ("implicit", "rle") else f"a.{kind}")
    if path.suffix == ".dcm":
        write_dicom(path)
        dataset = pydicom.dcmread(path)
        if kind == "rle":
            dataset.compress(RLELossless)
            dataset.save_as(path)
        elif kind == "implicit":
            dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
            pydicom.dcmwrite(path, dataset, implicit_vr=True, little_endian=True, enforce_file_format=True)
    else:
        write_picture(path)
    check_image(path)
    whole = path.read_bytes()
    for cut in [1, 2, 5, 13, 40, *range(90, len(whole), 90), len(whole) - 1, len(whole)]:
        path.write_bytes(whole[:-cut])
        try:
            read_image(path)
        except InputError:
            with pytest.raises(InputError) as error:
                check_image(path)
            assert str(path) not in str(error.value)
            assert "SECRET" not in str(error.value)
        else:
            check_image(path)


def test_odd_values_in_a_header_are_not_quoted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_tree(tmp_path, [FIRST], ".dcm")
    for path in root.rglob("*.dcm"):
        content = path.read_bytes()
        for value in (b"213014.531", b"21800506", b"ISO_IR 100"):  # pydicom quotes the last one
            assert value in content
            content = content.replace(value, b"SECRET".ljust(len(value), b"X"))
        path.write_bytes(content)
    (study,) = open_studies(f"mimic-cxr:{root}", strict=True)
    assert study.metadata == {"view": "PA", "dicom_ids": {"frontal": "030142bb-0", "lateral": "030142bb-c"}}
    assert "SECRET" not in caplog.text
    assert "SECRET" not in "".join(capsys.readouterr())


@pytest.mark.parametrize("text", ["", "a/b", "a\\b", "../a", "a..b", ".", ".a", "a b", "a\n", "ä", "a" * 200])
def test_ids_of_images_are_names_and_nothing_else(text: str) -> None:
    assert not is_dicom_id(text)
    assert is_dicom_id("02aa804e-bde0afdd-112c0b34-7bc16630-4e384014")


@pytest.mark.parametrize("text", ["", "0", "01234", "1", "1.5", "-12", "x12", "12/3", "١٢", "1" * 20])
def test_ids_of_patients_are_numbers(text: str) -> None:
    assert number_id(text, "p") is None
    assert number_id("p10000032", "p") == number_id("10000032", "p") == 10000032


@pytest.mark.parametrize(
    ("text", "value"),
    [("21800506", 21800506), (" 21800506.0", 21800506), ("21800231", None), ("2180-05-06", None), ("", None)],
)
def test_dates(text: str, value: int | None) -> None:
    assert date_of(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("213014.531", 213014.531),
        ("82113.109", 82113.109),
        ("5", 5.0),
        ("000000", 0.0),
        ("240000", None),
        ("126000", None),
        ("12:30", None),
        ("", None),
    ],
)
def test_times(text: str, value: float | None) -> None:
    assert time_of(text) == value


def test_before_is_known_only_where_it_is_known() -> None:
    assert is_before((21800101, None), (21800102, 1.0))
    assert is_before((21800101, 1.0), (21800101, 2.0))
    for one, other in [
        ((21800101, None), (21800101, 2.0)),
        ((21800101, 1.0), (21800101, 1.0)),
        ((None, 1.0), (21800101, 2.0)),
        ((21800101, 1.0), (None, None)),
        ((21800102, 1.0), (21800101, 2.0)),
    ]:
        assert not is_before(one, other)
