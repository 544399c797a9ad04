from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from activations.models.pixels import Crop
from activations.studies_files import SCHEMA, write_part
from activations.studies_table import StudyIndex, base_record
from activations.study_pictures import picture_columns
from radiology.errors import InputError
from radiology.phantom.cases import phantom_study
from radiology.study import GroundedSentence, Study


class Cropping:
    """Of a model, what previews ask of it: a centre square, of which the inner ``seen`` pixels."""

    image_size = 40

    def __init__(self, seen: int = 40, side: int = 40) -> None:
        self._crop = Crop(side, seen)

    def preview(self, study: Study, image: str, size: int | None = None) -> np.ndarray:
        return self._crop.preview(study.pixels(image), size or self._crop.seen)


@dataclass(frozen=True, eq=False, kw_only=True)
class Drawn(Study):
    masks: Mapping[str, np.ndarray] = field(default_factory=dict)

    def masks_of(self, name: str) -> Mapping[str, np.ndarray]:
        return self.masks if name == "frontal" else {}


def wide_study(**masks: np.ndarray) -> Drawn:
    """A film of 60 × 100 whose bright square is the mask ``heart``: rows 20 … 39, columns 40 … 79."""
    heart = np.zeros((60, 100), dtype=bool)
    heart[20:40, 40:80] = True
    picture = np.where(heart, 200, 0).astype(np.uint8)
    return Drawn(
        study_id="s", patient_id="p", images={"frontal": picture}, terms="own", masks={"heart:left": heart} | masks
    )


def stored(tmp_path: Path, model: Any, *studies: Study, size: int | None = None) -> StudyIndex:
    records = [
        {**base_record(study, number, None), "rows": 1, **picture_columns(model, study, size)}
        for number, study in enumerate(studies)
    ]
    write_part(tmp_path, 0, 0, records)
    (tmp_path / "studies-00000-00000.parquet").rename(tmp_path / "studies.parquet")
    return StudyIndex.read(tmp_path)


@pytest.mark.parametrize(("seen", "size"), [(40, None), (30, None), (30, 21), (40, 77)])
def test_a_mask_lies_on_its_finding_in_the_crop(tmp_path: Path, seen: int, size: int | None) -> None:
    index = stored(tmp_path, Cropping(seen), wide_study(), size=size)
    preview = index.preview(0, "frontal")
    assert preview is not None
    assert preview.shape == (size or seen,) * 2
    np.testing.assert_array_equal(index.masks(0)["frontal"]["heart:left"], preview >= 128)


def test_every_view_of_a_phantom_has_its_masks_exactly(tmp_path: Path) -> None:
    study = next(
        one for one in (phantom_study(3, number, size=84) for number in range(60))
        if len(one.images) == 3 and one.masks and one.prior_masks
    )  # fmt: skip
    masks = stored(tmp_path, Cropping(84, 84), study).masks(0)
    assert list(masks) == [name for name in study.images if study.masks_of(name)]
    for name, found in masks.items():
        assert list(found) == [key for key, mask in study.masks_of(name).items() if mask.any()]
        for key, mask in found.items():
            np.testing.assert_array_equal(mask, study.masks_of(name)[key])


def test_what_the_crop_cuts_off_has_no_mask_and_a_thin_line_keeps_its_own(tmp_path: Path) -> None:
    edge, line, whole = (np.zeros((600, 1000), dtype=bool) for _ in range(3))
    edge[:, :150], line[:, 500:504], whole[:] = True, True, True
    film = dataclasses.replace(
        wide_study(), images={"frontal": np.arange(600_000, dtype=np.uint32).reshape(600, 1000).astype(np.uint8)},
        masks={"edge": edge, "line": line, "whole": whole},
    )  # fmt: skip
    masks = stored(tmp_path, Cropping(), film).masks(0)["frontal"]
    assert set(masks) == {"line", "whole"}
    assert masks["whole"].all()
    assert masks["line"].all(axis=0).sum() == masks["line"].any(axis=0).sum() in (1, 2)


@pytest.mark.parametrize("shape", [(60, 100), (3000, 2500), (300, 140), (1400, 1400)])
@pytest.mark.parametrize("seen", [40, 30])
def test_the_part_that_a_preview_shows_is_measured(tmp_path: Path, shape: tuple[int, int], seen: int) -> None:
    picture = np.zeros(shape, dtype=np.uint8)
    grounded = (GroundedSentence("Big heart.", ((0.4, 0.4, 0.6, 0.6),)),)
    study = Study("s", "p", {"frontal": picture}, "own", grounded=grounded)
    found = stored(tmp_path, Cropping(seen), study).frame["crops"][0]
    side = min(shape) * seen / 40
    share_x, share_y = side / shape[1], side / shape[0]
    pixel = max(share_x, share_y) / seen  # crops begin at whole pixels
    expected = [0.5 - share_x / 2, 0.5 - share_y / 2, 0.5 + share_x / 2, 0.5 + share_y / 2]
    assert (found or {"frontal": [0, 0, 1, 1]})["frontal"] == pytest.approx(expected, abs=pixel / 2 + 0.002)
    assert (found is None) == (expected == [0, 0, 1, 1])


def test_a_mask_of_another_shape_than_its_image_is_refused() -> None:
    with pytest.raises(InputError, match=r"the mask of 'small' on frontal is \(3, 3\), its image \(60, 100\)"):
        picture_columns(Cropping(), wide_study(small=np.ones((3, 3), dtype=bool)), None)  # type: ignore[arg-type]


def test_studies_without_masks_and_models_without_images_have_null(tmp_path: Path) -> None:
    bare = Study("bare", "p", {"frontal": np.eye(40, dtype=np.uint8)}, "own")
    assert stored(tmp_path, Cropping(), bare).masks(0) == {}
    blind = Cropping()
    blind.image_size = 0
    assert picture_columns(blind, wide_study(), None) == {}  # type: ignore[arg-type]


def test_a_table_from_before_masks_opens_without_them(tmp_path: Path) -> None:
    stored(tmp_path, Cropping(), wide_study())
    path = tmp_path / "studies.parquet"
    assert pq.read_schema(path).names == SCHEMA.names
    pq.write_table(pq.read_table(path).drop_columns(["masks"]), path)
    old = StudyIndex.read(tmp_path)
    assert old.masks(0) == {}
    assert old.preview(0, "frontal") is not None


def test_the_column_is_what_the_document_says(tmp_path: Path) -> None:
    """Read in plain Python: JSON, image → finding → size and counts; the PNG has that size."""
    stored(tmp_path, Cropping(), wide_study(**{"<b>": np.ones((60, 100), dtype=bool)}))
    row = pq.read_table(tmp_path / "studies.parquet").to_pylist()[0]
    masks = json.loads(row["masks"])
    size = list(Image.open(io.BytesIO(row["preview_frontal"])).size)
    assert {key: one["size"] for key, one in masks["frontal"].items()} == {"heart:left": size, "<b>": size}
    assert masks["frontal"]["<b>"]["counts"] == "0Pb1"  # a run of 0 outside, 1600 inside
    assert pa.types.is_string(pq.read_schema(tmp_path / "studies.parquet").field("masks").type)
