"""The folder reader on real radiographs, where there are any beside the repository."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from radiology.sources import open_studies

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
HANOVER, NIH = SHARED / "mhh-cxr", SHARED / "nih-cxr14-samples"


def _need(folder: Path) -> Path:
    if not folder.is_dir():
        pytest.skip(f"no real radiographs at {folder}")
    return folder


@pytest.mark.parametrize("folder", [HANOVER, HANOVER / "images", NIH], ids=lambda folder: folder.name)
def test_every_real_image_is_read_and_looks_like_a_radiograph(folder: Path) -> None:
    files = sorted(_need(folder).rglob("*.png"))
    source = open_studies(f"folder:{folder}", strict=True)
    studies = [source.decoded(study) for study in source.listed()]
    assert source.skipped == []
    assert len(studies) == len(files) == len(source) > 0
    for study in studies:
        assert study is not None
        grey = study.pixels("frontal")
        assert min(grey.shape) > 300
        assert len(np.unique(grey)) > 100
        height, width = grey.shape
        middle = grey[height // 3 : height // 2]
        spine = middle[:, width * 9 // 20 : width * 11 // 20].mean()
        lungs = middle[:, width // 5 : width * 4 // 5].min(axis=1).mean()
        assert spine > lungs  # bright is dense


def test_the_table_of_the_hanover_images_is_read() -> None:
    with (_need(HANOVER) / "studies.csv").open() as file:
        rows = {row["image_id"]: row for row in csv.DictReader(file)}
    studies = list(open_studies(f"folder:{HANOVER / 'images'}").listed())
    assert {study.study_id for study in studies} == set(rows)
    sexes = {"f": "female", "m": "male"}
    for study in studies:
        row = rows[study.study_id]
        assert study.patient_id == row["patient_id"]
        assert study.metadata == {"sex": sexes[row["sex"]], "view": row["projection"].upper()}
        assert study.report is None
