"""Masks in a folder of images belong to their studies, are no studies themselves, and a bad one costs nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from radiology import open_studies
from radiology.sources.mask_files import masks_below


def picture(path: Path, grey_hw: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(grey_hw.astype(np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("a", "b", "a-side"):
        picture(tmp_path / f"{name}.png", rng.integers(1, 255, (40, 50)))
    return tmp_path


def square(y: int, shape: tuple[int, int] = (40, 50)) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[y : y + 5, 10:20] = True
    return mask


def test_masks_come_with_their_study_and_are_no_images(folder: Path) -> None:
    picture(folder / "masks/a/pleural_effusion-left.png", square(3) * 255)
    picture(folder / "masks/a/lung.png", square(9) * 1)
    (folder / "studies.csv").write_text("study_id,frontal,lateral\na,a.png,a-side.png\nb,b.png,\n")
    picture(folder / "masks/a/lateral/lung.png", square(20) * 255)
    source = open_studies(f"folder:{folder}")
    a, b = source
    assert set(a.masks_of("frontal")) == {"pleural_effusion:left", "lung"}
    np.testing.assert_array_equal(a.masks_of("frontal")["pleural_effusion:left"], square(3))
    np.testing.assert_array_equal(a.masks_of("frontal")["lung"], square(9)), "what is not black is inside"
    np.testing.assert_array_equal(a.masks_of("lateral")["lung"], square(20))
    assert not b.masks_of("frontal")
    decoded = source.decoded(a)
    assert decoded is not None
    np.testing.assert_array_equal(decoded.masks_of("lateral")["lung"], square(20))
    assert source.skipped == []


def test_a_mask_that_does_not_fit_or_cannot_be_read_is_noted_and_the_study_stays(folder: Path) -> None:
    picture(folder / "masks/a/good.png", square(3) * 255)
    picture(folder / "masks/a/small.png", square(3, (30, 30)) * 255)
    picture(folder / "masks/a/prior_frontal/lung.png", square(3) * 255)
    (folder / "masks/a/torn.png").write_bytes((folder / "a.png").read_bytes()[:60])
    (folder / "masks/a/.hidden.png").write_bytes(b"")
    source = open_studies(f"folder:{folder}", strict=True)
    (a,) = [study for study in source if study.study_id == "a"]
    decoded = source.decoded(a)
    assert decoded is not None
    assert list(decoded.masks_of("frontal")) == ["good"]
    assert not decoded.masks_of("prior_frontal")
    assert {one.file.name: one.lost for one in source.skipped} == dict.fromkeys(
        ("small.png", "torn.png", "lung.png"), False
    )
    assert any("30 × 30 pixels, its image 50 × 40" in one.reason for one in source.skipped)


def test_a_folder_of_that_name_further_down_is_one_like_any_other(folder: Path) -> None:
    picture(folder / "scans/masks/c.png", square(1) * 255)
    assert {study.study_id for study in open_studies(f"folder:{folder}")} == {"a", "b", "a-side", "c"}
    assert masks_below(folder, "a") == {}


def test_a_mask_of_nobody_is_noted_and_the_image_may_be_named(folder: Path) -> None:
    picture(folder / "masks/b/frontal/lung.png", square(3) * 255)
    for stray in ("masks/nobody/lung.png", "masks/lung.png", "masks/a/front/lung.png"):
        picture(folder / stray, square(3) * 255)
    source = open_studies(f"folder:{folder}", strict=True)
    studies = {study.study_id: study for study in source}
    assert list(studies["b"].masks_of("frontal")) == ["lung"]
    assert not studies["a"].masks_of("frontal")
    noted = {one.file.relative_to(folder).as_posix(): one.lost for one in source.skipped}
    assert noted == dict.fromkeys(("masks/nobody/lung.png", "masks/lung.png", "masks/a/front/lung.png"), False)
