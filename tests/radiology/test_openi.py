"""Open-i in both layouts: values, views, and what bad input gets. The texts are made up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from radiology.errors import InputError
from radiology.sources import StudySource, open_studies
from radiology.sources.openi.record import NamedImage, choose_views
from radiology.study import Study

REPORTS = (
    "uid,MeSH,Problems,image,indication,comparison,findings,impression\n"
    '1,"Pleural Effusion/left/small;Hernia, Hiatal",x,Xray Chest PA and Lateral,Cough for XXXX days,None.,'
    '"Small left effusion, XXXX seen.\nHiatal hernia.",Effusion.\n'
    "2,normal,normal,PA and lateral chest,,,Clear lungs.,\n"
)
PROJECTIONS = (
    "uid,filename,projection\n"
    "1,1_IM-0001-4001.dcm.png,Lateral\n"
    "1,1_IM-0001-3001.dcm.png,Frontal\n"
    "2,2_IM-0652-1001.dcm.png,Frontal\n"
)

XML = """<?xml version="1.0" encoding="utf-8"?>
<eCitation>
  <uId id="CXR{uid}"/>
  <MedlineCitation><Article><Abstract>
    <AbstractText Label="COMPARISON">None.</AbstractText>
    <AbstractText Label="INDICATION">Cough for XXXX days</AbstractText>
    <AbstractText Label="FINDINGS">{findings}</AbstractText>
    <AbstractText Label="IMPRESSION"/>
  </Abstract></Article></MedlineCitation>
  <MeSH><major>Pleural Effusion/left/small</major><automatic>pneumothorax</automatic></MeSH>
  {images}
</eCitation>
"""


def picture(path: Path, value: int = 90) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((5, 4), value, np.uint8)).save(path)


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    (tmp_path / "indiana_reports.csv").write_text(REPORTS, encoding="utf-8")
    (tmp_path / "indiana_projections.csv").write_text(PROJECTIONS, encoding="utf-8")
    for number, name in enumerate(("1_IM-0001-4001", "1_IM-0001-3001", "2_IM-0652-1001")):
        picture(tmp_path / f"images/images_normalized/{name}.dcm.png", number)
    return tmp_path


def image(name: str, caption: str = "Xray Chest PA and Lateral") -> str:
    return f'<parentImage id="{name}"><figureId>F1</figureId><caption>{caption}</caption></parentImage>'


def xml(root: Path, uid: int, *images: str, findings: str = "Small left effusion.") -> Path:
    path = root / f"ecgen-radiology/{uid}.xml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(XML.format(uid=uid, findings=findings, images="\n".join(images)), encoding="utf-8")
    return path


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for uid in (9, 10):
        xml(tmp_path, uid, image(f"CXR{uid}_IM-1-1001"), image(f"CXR{uid}_IM-1-2001"))
        picture(tmp_path / f"NLMCXR_png/CXR{uid}_IM-1-1001.png", uid)
        picture(tmp_path / f"NLMCXR_png/CXR{uid}_IM-1-2001.jpg", uid + 100)
    return tmp_path


def facts(study: Study) -> tuple[object, ...]:
    pixels = {name: study.pixels(name).tobytes() for name in study.images}
    return study.study_id, study.patient_id, pixels, study.report, study.indication, study.labels, study.metadata


def decisions(source: StudySource) -> dict[str, int]:
    return {name: count for name, count in source.decisions.items() if count}  # type: ignore[attr-defined]


def test_values_of_the_tables_arrive_unchanged(tables: Path) -> None:
    source = open_studies(f"openi:{tables}")
    first, second = source
    assert (len(source), source.terms, source.skipped) == (2, "open", [])
    assert (first.study_id, first.patient_id) == ("CXR1", "CXR1")
    assert first.report == "Small left effusion, XXXX seen.\nHiatal hernia."
    assert (first.indication, first.comparison) == ("Cough for XXXX days", "None.")
    assert first.technique == "Xray Chest PA and Lateral"
    assert first.labels == {"pleural_effusion": "present", "hernia": "present"}
    assert first.metadata == {
        "view": "PA",
        "view_from": "projection",
        "mesh": ["Pleural Effusion/left/small", "Hernia, Hiatal"],
        "impression": "Effusion.",
    }
    assert {name: int(first.pixels(name)[0, 0]) for name in first.images} == {"lateral": 0, "frontal": 1}
    assert (second.labels, second.indication, dict(second.images).keys()) == (None, None, {"frontal"})
    assert decisions(source) == {"view from projection": 2}


def test_values_of_the_xml_arrive_unchanged(files: Path) -> None:
    source = open_studies(f"openi:{files}")
    first, second = source
    assert (len(source), source.terms, source.skipped) == (2, "open", [])
    assert [first.study_id, second.study_id] == ["CXR9", "CXR10"]  # by number, not by letter
    assert first.report == "Small left effusion."
    assert (first.indication, first.comparison) == ("Cough for XXXX days", "None.")
    assert first.technique == "Xray Chest PA and Lateral"
    assert first.labels == {"pleural_effusion": "present"}  # automatic terms are a machine's guess
    assert first.metadata == {"view": "PA", "view_from": "order", "mesh": ["Pleural Effusion/left/small"]}
    assert first.images["frontal"] == files / "NLMCXR_png/CXR9_IM-1-1001.png"
    assert first.images["lateral"] == files / "NLMCXR_png/CXR9_IM-1-2001.jpg"
    assert decisions(source) == {"view from order": 2}


def test_both_layouts_call_the_same_report_the_same(tables: Path) -> None:
    by_table = next(iter(open_studies(f"openi:{tables}"))).study_id
    xml(tables, 1, image("1_IM-0001-3001"))
    assert next(iter(open_studies(f"openi:{tables}"))).study_id == by_table  # tables first: they name the views
    (tables / "indiana_reports.csv").unlink()
    (tables / "indiana_projections.csv").unlink()
    assert next(iter(open_studies(f"openi:{tables}"))).study_id == by_table


@pytest.mark.parametrize("layout", ["tables", "files"])
def test_the_second_reading_equals_the_first_and_no_pixels_are_held(
    layout: str, request: pytest.FixtureRequest
) -> None:
    root: Path = request.getfixturevalue(layout)
    next(iter(sorted(root.rglob("*1001*.png")))).write_bytes(b"no image")
    source = open_studies(f"openi:{root}")
    studies = list(source)
    first, skipped, decided = [facts(study) for study in studies], list(source.skipped), decisions(source)
    assert (len(first), len(skipped)) == (1, 1)
    assert [facts(study) for study in source] == first
    assert (source.skipped, decisions(source)) == (skipped, decided)
    assert all(isinstance(path, Path) for study in studies for path in study.images.values())


@pytest.mark.parametrize("layout", ["tables", "files"])
def test_n_takes_the_first(layout: str, request: pytest.FixtureRequest) -> None:
    root = request.getfixturevalue(layout)
    every, one = (list(open_studies(f"openi:{root}{options}")) for options in ("", ",n=1"))
    assert [study.study_id for study in one] == [every[0].study_id]
    assert len(open_studies(f"openi:{root},n=1")) == 1
    assert len(open_studies(f"openi:{root},n=7")) == 2


@pytest.mark.parametrize(
    ("images", "chosen", "source", "left_over"),
    [
        ([("frontal", None), ("lateral", None)], {"frontal": 0, "lateral": 1}, "projection", 0),
        ([("lateral", None), ("frontal", None), ("frontal", None)], {"lateral": 0, "frontal": 1}, "projection", 1),
        ([(None, "lateral"), (None, "chest AP")], {"lateral": 0, "frontal": 1}, "caption", 0),
        ([(None, "PA and lateral"), (None, "PA and lateral")], {"frontal": 0, "lateral": 1}, "order", 0),
        ([(None, "PA and lateral")] * 3, {"frontal": 0, "lateral": 1}, "order", 1),
        ([(None, "chest"), (None, "chest")], {"frontal": 0}, "order", 1),
        ([(None, None)], {"frontal": 0}, "order", 0),
        ([(None, "Lateral view")], {"lateral": 0}, "caption", 0),
        ([(None, "palpation, later")], {"frontal": 0}, "order", 0),  # views are words, not letters
        ([], {}, "order", 0),
    ],
)
def test_which_image_is_which(
    images: list[tuple[str | None, str | None]], chosen: dict[str, int], source: str, left_over: int
) -> None:
    named = [NamedImage(str(i), Path("x"), None, "f", *one) for i, one in enumerate(images)]
    views = choose_views(named)
    assert {view: int(one.name) for view, one in views.chosen.items()} == chosen
    assert (views.source, views.left_over) == (source, left_over)


@pytest.mark.parametrize(
    ("file", "old", "new", "line", "field", "left"),
    [
        ("reports", "2,normal", ",normal", 4, "uid", 1),
        ("reports", "2,normal", "1,normal", 4, "uid", 1),
        ("reports", "Clear lungs.", "", 4, "findings", 1),
        ("reports", ",Clear lungs.,", ",Clear lungs.", 4, None, 1),
        ("projections", "2,2_IM", "3,2_IM", 4, "uid", 1),
        ("projections", "2_IM-0652-1001.dcm.png", "", 4, "filename", 1),
        ("projections", "2_IM-0652-1001.dcm.png", "../../../etc/SECRET.png", 4, "filename", 1),
        ("projections", "1001.dcm.png,Frontal", "1001.dcm.png,SECRET", 4, "projection", 1),
    ],
)
def test_bad_rows_are_skipped_with_line_and_field_or_stop_when_strict(
    tables: Path, file: str, old: str, new: str, line: int, field: str | None, left: int
) -> None:
    path = tables / f"indiana_{file}.csv"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    source = open_studies(f"openi:{tables}")
    assert len(list(source)) == left
    assert (path.name, line, field) in [(one.file.name, one.row, one.field) for one in source.skipped]
    assert not any("SECRET" in str(one) for one in source.skipped)
    with pytest.raises(InputError, match=r"indiana_\w+\.csv, line 4"):
        list(open_studies(f"openi:{tables}", strict=True))


def test_a_report_whose_number_is_unsafe_stays_inside(tables: Path) -> None:
    for name in ("indiana_reports.csv", "indiana_projections.csv"):
        path = tables / name
        path.write_text(path.read_text(encoding="utf-8").replace("\n2,", "\n../../2,"), encoding="utf-8")
    study = list(open_studies(f"openi:{tables}", strict=True))[1]
    assert "/" not in study.study_id
    assert ".." not in study.study_id


def test_a_study_without_a_frontal_image_is_skipped(files: Path) -> None:
    xml(files, 9, image("CXR9_IM-1-1001", "Lateral"))
    xml(files, 10)
    source = open_studies(f"openi:{files}")
    assert list(source) == []
    assert [one.reason for one in source.skipped] == ["no image is the frontal one", "the report has no image"]


LAUGHS = """<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY a "SECRET"><!ENTITY b "&a;&a;"><!ENTITY f SYSTEM "file:///etc/passwd">]>
<eCitation><uId id="CXR9"/><AbstractText Label="FINDINGS">&b;&f;</AbstractText></eCitation>"""


@pytest.mark.parametrize(
    ("content", "row", "reason"),
    [
        (LAUGHS.encode(), 2, "declares a document type"),
        (LAUGHS.replace('version="1.0"', 'version="1.0" encoding="utf-16"').encode("utf-16"), 2, "document type"),
        (b"<eCitation>\n<uId id='CXR9'>\n</eCitation>", 3, "is not XML"),
        (b"<eCitation>\n<uId id='CXR9'/>", 2, "is not XML"),
        (b"<eCitation>\nM\xfcller</eCitation>", 2, "is not XML"),
        (b"<?xml version='1.0' encoding='klingon'?><a/>", 1, "cannot be decoded"),
        (b"", 1, "is not XML"),
        (b"<eCitation/>", None, "uId"),
        (b"<eCitation><uId id=' '/></eCitation>", None, "uId"),
        (b"<eCitation><uId id='CXR10'/></eCitation>", None, "without findings"),
        (b"<a>" + b"x" * 4_000_001 + b"</a>", None, "too many"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_bad_xml_is_skipped_with_its_line_or_stops_when_strict(
    files: Path, content: bytes, row: int | None, reason: str
) -> None:
    (files / "ecgen-radiology/9.xml").write_bytes(content)
    source = open_studies(f"openi:{files}")
    list(source)
    skipped = source.skipped[0]
    assert (skipped.file.name, skipped.row) == ("9.xml", row)
    assert reason in str(skipped)
    assert "SECRET" not in str(skipped)
    assert "root:" not in str(skipped)
    with pytest.raises(InputError, match=r"9\.xml"):
        list(open_studies(f"openi:{files}", strict=True))


def test_bad_images_of_the_xml(files: Path) -> None:
    xml(files, 9, image("CXR9_IM-1-1001"), image("CXR9_none"))
    xml(files, 10, image("CXR10_IM-1-1001"), "<parentImage><caption>lateral</caption></parentImage>")
    source = open_studies(f"openi:{files}")
    assert list(source) == []
    assert [(one.field, one.reason.split(" below")[0]) for one in source.skipped] == [
        ("parentImage", "no such image"),
        ("parentImage", "has no id"),
    ]


def test_the_same_report_in_two_files_counts_once(files: Path) -> None:
    (files / "ecgen-radiology/11.xml").write_bytes((files / "ecgen-radiology/9.xml").read_bytes())
    source = open_studies(f"openi:{files}")
    assert [study.study_id for study in source] == ["CXR9", "CXR10"]
    assert [(one.file.name, one.field) for one in source.skipped] == [("11.xml", "uid")]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("indiana_reports.csv", b"uid,indication,comparison,impression\n1,,,\n", "reports.csv: has no column findings"),
        ("indiana_projections.csv", b"uid,filename\n1,a\n", "projections.csv: has no column projection"),
        ("indiana_projections.csv", b"uid,filename,projection,UID\n1,a,b,1\n", "stands twice"),
        ("indiana_reports.csv", b"uid,indication,comparison,findings,impression\n1,,,M\xfcller,\n", "UTF-8"),
        ("indiana_reports.csv", b'uid,indication,comparison,findings,impression\n1,,,"open,\n', "not CSV"),
        ("indiana_reports.csv", b"", "has no column uid"),
    ],
)
def test_broken_tables_are_named(tables: Path, name: str, content: bytes, reason: str) -> None:
    (tables / name).write_bytes(content)
    with pytest.raises(InputError, match=reason) as error:
        open_studies(f"openi:{tables}")
    assert name in str(error.value)


def test_places_that_cannot_be_used(tables: Path) -> None:
    with pytest.raises(InputError, match="is a file"):
        open_studies(f"openi:{tables / 'indiana_reports.csv'}")
    with pytest.raises(InputError, match="does not exist"):
        open_studies(f"openi:{tables / 'none'}")
    with pytest.raises(InputError, match="neither indiana_reports"):
        open_studies(f"openi:{tables / 'images'}")
    with pytest.raises(InputError, match="no option"):
        open_studies(f"openi:{tables},split=test")
    (tables / "indiana_projections.csv").unlink()
    with pytest.raises(InputError, match=r"holds no indiana_projections\.csv"):
        open_studies(f"openi:{tables}")
