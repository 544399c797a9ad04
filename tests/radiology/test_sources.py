"""Opening studies: folders, tables, phantoms."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from radiology.errors import InputError
from radiology.sources import READERS, open_studies
from radiology.sources.base import safe_id
from radiology.study import Study


def _image(path: Path, value: int = 100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((6, 5), value, np.uint8)).save(path)
    return path


def _table(path: Path, *lines: str) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _facts(study: Study) -> tuple[object, ...]:
    pixels = {name: study.pixels(name).tobytes() for name in study.images}
    return study.study_id, study.patient_id, pixels, study.report, study.indication, study.metadata, study.labels


def test_a_bare_folder_gives_a_study_an_image(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "deep/b.png", "deep/c d.jpg"):
        _image(tmp_path / name)
    source = open_studies(f"folder:{tmp_path}")
    studies = list(source)
    assert len(source) == len(studies) == 4
    assert len({study.study_id for study in studies}) == 4
    assert all(study.patient_id == study.study_id for study in studies)
    assert [study.images["frontal"] for study in studies] == sorted(tmp_path.rglob("*.*g"))
    assert source.terms == "own"
    assert source.spec == f"folder:{tmp_path}"
    assert studies[0].report is None
    assert studies[0].metadata is None


def test_sources_can_be_read_again_with_the_same_result(tmp_path: Path) -> None:
    _image(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("not an image")
    for spec in (f"folder:{tmp_path}", "phantom:n=3,seed=4"):
        source = open_studies(spec)
        first = [_facts(study) for study in source]
        skipped = list(source.skipped)
        assert [_facts(study) for study in source] == first
        assert source.skipped == skipped


@pytest.mark.parametrize("given", ["data", "data/images"])
def test_table_beside_or_above_the_images(tmp_path: Path, given: str) -> None:
    _image(tmp_path / "data/images/x1.png")
    _image(tmp_path / "data/images/x2.png")
    _table(
        tmp_path / "data/studies.csv",
        "Image_ID,patient_id,projection,sex,age,width,report",
        'x2,p7,ap,f,063Y,640,"No pneumothorax, no effusion."',
        "x1,p7,pa,m,,640,",
    )
    source = open_studies(f"folder:{tmp_path / given}")
    second, first = list(source)
    assert (second.study_id, second.patient_id) == ("x2", "p7")
    assert second.report == "No pneumothorax, no effusion."
    assert second.metadata == {"sex": "female", "age": 63, "view": "AP"}
    assert first.report is None
    assert first.metadata == {"sex": "male", "view": "PA"}
    assert source.skipped == []
    assert source.ignored_columns == ("width",)  # type: ignore[attr-defined]


def test_a_table_names_further_images_and_text(tmp_path: Path) -> None:
    for name in ("now.png", "side.png", "old/now.png"):
        _image(tmp_path / name)
    _table(
        tmp_path / "studies.csv",
        "study_id;file;lateral;prior_frontal;prior_report;findings;indication;technique;comparison",
        "s/1;now.png;side;old/now.png;Clear lungs.;New nodule.;Cough.;Frontal.;Prior.",
    )
    (study,) = open_studies(f"folder:{tmp_path}")
    assert dict(study.images) == {
        "frontal": tmp_path / "now.png",
        "lateral": tmp_path / "side.png",
        "prior_frontal": tmp_path / "old/now.png",
    }
    assert study.study_id.startswith("s_1-")
    assert (study.report, study.prior_report) == ("New nodule.", "Clear lungs.")
    assert (study.indication, study.technique, study.comparison) == ("Cough.", "Frontal.", "Prior.")


def test_what_cannot_be_used_is_skipped_and_counted_or_stops_when_strict(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "one/d.png", "two/d.png", "unused.png"):
        _image(tmp_path / name)
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])
    _table(
        tmp_path / "studies.csv",
        "image_id,patient_id,lateral",
        "a,SECRET,",
        "missing,SECRET,",
        "a,SECRET,",
        "b,SECRET,cut",
        "d,SECRET,",
        "a,SECRET",
        ",SECRET,",
    )
    source = open_studies(f"folder:{tmp_path}")
    assert [study.study_id for study in source] == ["a"]
    reasons = {(skipped.row, skipped.field): skipped.reason for skipped in source.skipped if skipped.row}
    assert {key: reason.split()[0] for key, reason in reasons.items()} == {
        (3, "image_id"): "no",
        (4, "image_id"): "the",
        (5, "lateral"): "image",
        (6, "image_id"): "2",
        (7, None): "has",
        (8, "image_id"): "is",
    }
    unused = [skipped.file.name for skipped in source.skipped if skipped.row is None]
    assert unused == ["d.png", "d.png", "unused.png"]
    assert not any("SECRET" in str(skipped) for skipped in source.skipped)
    with pytest.raises(InputError, match=r"studies\.csv, line"):
        list(open_studies(f"folder:{tmp_path}", strict=True))


def test_listing_opens_no_image_and_decoding_reads_each_once(tmp_path: Path) -> None:
    _image(tmp_path / "a.png", 7)
    _image(tmp_path / "b.png", 8)
    (tmp_path / "broken.png").write_text("not an image")
    _table(tmp_path / "studies.csv", "image_id,prior_frontal", "a,b", "b,broken", "broken,")
    source = open_studies(f"folder:{tmp_path}")
    first, second, third = source.listed()
    assert source.skipped == []
    decoded = source.decoded(first)
    for path in tmp_path.glob("*.png"):
        path.unlink()
    assert decoded is not None
    assert {name: int(decoded.pixels(name).max()) for name in decoded.images} == {"frontal": 7, "prior_frontal": 8}
    assert (decoded.study_id, decoded.patient_id) == (first.study_id, first.patient_id)
    assert source.decoded(second) is None
    assert source.decoded(third) is None
    places = [(skipped.file.name, skipped.row, skipped.field) for skipped in source.skipped]
    assert places == [("studies.csv", 3, "image_id"), ("studies.csv", 4, "image_id")]
    assert all("does not exist" in skipped.reason and skipped.lost for skipped in source.skipped)


def test_decoding_is_strict_in_a_strict_source(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_text("not an image")
    source = open_studies(f"folder:{tmp_path}", strict=True)
    (study,) = source.listed()
    with pytest.raises(InputError, match=r"broken\.png: is not an image"):
        source.decoded(study)


def test_unreadable_images_of_a_bare_folder(tmp_path: Path) -> None:
    _image(tmp_path / "a.png")
    (tmp_path / "b.png").touch()
    source = open_studies(f"folder:{tmp_path}")
    assert [study.study_id for study in source] == ["a"]
    assert [(skipped.file, skipped.reason) for skipped in source.skipped] == [
        (tmp_path / "b.png", "the file is empty (0 bytes)")
    ]
    with pytest.raises(InputError, match=r"b\.png"):
        list(open_studies(f"folder:{tmp_path}", strict=True))


HOSTILE = (
    "../../x",
    "/etc/x",
    "..",
    ".",
    "a/b",
    "a\\b",
    "nul\0",
    "x" * 5000,
    "Ünï/cöde",
    " ",
    "~",
    "-rf",
    "tab\tid",
    "…",
)


def test_no_cell_makes_an_id_that_is_a_path(tmp_path: Path) -> None:
    _image(tmp_path / "a.png")
    rows = [f'"{identity}","{identity}",a' for identity in HOSTILE]
    _table(tmp_path / "studies.csv", "study_id,patient_id,image_id", *rows)
    studies = list(open_studies(f"folder:{tmp_path}"))
    ids = [study.study_id for study in studies]
    assert len(set(ids)) == len(HOSTILE)
    for identity in (*ids, *(study.patient_id for study in studies)):
        assert identity.isascii()
        assert len(identity) < 120
        assert (tmp_path / "run" / identity).resolve().parent == (tmp_path / "run").resolve()


def test_no_cell_that_names_an_image_is_more_than_left_out(tmp_path: Path) -> None:
    _image(tmp_path / "a.png")
    (tmp_path / "folder.png").mkdir()
    for name in (*HOSTILE[:-1], "folder.png", "/dev/zero", "~/a.png"):
        _table(tmp_path / "studies.csv", "study_id,image_id", "good,a", f'bad,"{name}"')
        source = open_studies(f"folder:{tmp_path}")
        assert [study.study_id for study in source] == ["good"]
        (skipped,) = source.skipped
        assert skipped.file == tmp_path / "studies.csv"
        assert skipped.lost
        assert str(skipped).isprintable()


def test_names_of_files_need_not_be_text(tmp_path: Path) -> None:
    for name in (b"a\xff.png", b"b\n.png"):
        _image(tmp_path / os.fsdecode(name))
    (tmp_path / os.fsdecode(b"broken\xff.png")).touch()
    source = open_studies(f"folder:{tmp_path}")
    assert all(study.study_id.isascii() for study in source)
    assert [str(skipped).isprintable() for skipped in source.skipped] == [True]
    with pytest.raises(InputError, match="not UTF-8"):
        open_studies(f"folder:{os.fsdecode(bytes(tmp_path) + b'/' + bytes([255]))}")


def test_dicom_files_without_a_suffix_keep_their_uids(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"1.2.840.{number}").write_bytes(b"\0" * 128 + b"DICM")
    assert [study.study_id for study in open_studies(f"folder:{tmp_path}").listed()] == ["1.2.840.1", "1.2.840.2"]


def test_a_table_of_other_images_beside_the_folder_is_not_ours(tmp_path: Path) -> None:
    _image(tmp_path / "mine/a.png")
    _table(tmp_path / "studies.csv", "image_id", "other")
    assert [study.study_id for study in open_studies(f"folder:{tmp_path / 'mine'}")] == ["a"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"name,age\nSECRET,3\n", "has no column"),
        (b"image_id,report\n", "no rows"),
        (b"", "has no column"),
        (b"image_id,report\na,M\xfcller\n", "UTF-8"),
        (b'image_id,report\na,"open\n', "not CSV"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, content: bytes, reason: str) -> None:
    _image(tmp_path / "a.png")
    (tmp_path / "studies.csv").write_bytes(content)
    with pytest.raises(InputError, match=reason) as error:
        open_studies(f"folder:{tmp_path}")
    assert "studies.csv" in str(error.value)
    assert "SECRET" not in str(error.value)


def test_a_byte_order_mark_and_uids_are_no_trouble(tmp_path: Path) -> None:
    _image(tmp_path / "1.2.840.1.png")
    _image(tmp_path / "1.2.840.2.png")
    _table(tmp_path / "studies.csv", "\ufeffimage_id,patient_id", "1.2.840.1,p", "1.2.840.2,p")
    assert [study.study_id for study in open_studies(f"folder:{tmp_path}")] == ["1.2.840.1", "1.2.840.2"]


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/a.txt").touch()
    expected = {"empty": "is empty", "notes": "holds no images", "none": "does not exist", "notes/a.txt": "is a file"}
    for name, reason in expected.items():
        with pytest.raises(InputError, match=reason) as error:
            open_studies(f"folder:{tmp_path / name}")
        assert name in str(error.value)


def test_phantom_studies_are_the_same_wherever_one_starts() -> None:
    whole = [_facts(study) for study in open_studies("phantom:n=5,seed=3")]
    tail = [_facts(study) for study in open_studies("phantom:n=2,seed=3,start=3")]
    assert whole[3:] == tail
    source = open_studies("phantom:n=5,seed=3")
    assert len(source) == 5
    assert source.terms == "phantom"


def test_phantom_correlation_plants_a_shortcut() -> None:
    plain, planted = (
        [study.labels["central_line"] for study in open_studies(spec) if study.labels["pneumothorax:left"] == "present"]  # type: ignore[index]
        for spec in ("phantom:n=60", "phantom:n=60,correlate=pneumothorax_left>central_line:1.0")
    )
    assert "absent" in plain
    assert set(planted) == {"present"}


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("nowhere:x", "folder:….*phantom:…"),
        ("scans", "folder:scans"),
        ("folder:", "nothing after"),
        ("phantom:", "nothing after"),
        ("phantom:n", "no value"),
        ("phantom:n=0", "1 or more"),
        ("phantom:seed=1", "1 or more"),
        ("phantom:n=2,seed=-1", "whole number"),
        ("phantom:n=two", "whole number"),
        ("phantom:n=2,colour=3", "not an argument"),
        ("phantom:n=2,correlate=a", "CAUSE>EFFECT:PROBABILITY"),
        ("phantom:n=2,correlate=pneumothorax_left>central_line:7", "probability"),
        ("phantom:n=2,correlate=moon>central_line:0.5", "must be of"),
    ],
)
def test_wrong_specs_say_what_is_right(spec: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        open_studies(spec)


def test_every_scheme_has_a_reader() -> None:
    assert {"folder", "phantom"} <= set(READERS)


def test_safe_ids_are_file_names_and_stay_different() -> None:
    names = ["a", "a b", "a/b", "a\\b", "../a", "Ä", "", "..", "x" * 300, "x" * 301]
    ids = [safe_id(name) for name in names]
    assert len(set(ids)) == len(names)
    assert ids[0] == "a"
    for identity in ids:
        Study(study_id=identity, patient_id=identity, images={}, terms="own")
