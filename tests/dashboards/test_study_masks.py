from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dashboards.study_masks import StudyMasks, masks_of_studies
from radiology.masks import decode_mask, encode_mask


def square(top: int, left: int, side: int = 2) -> np.ndarray:
    mask = np.zeros((6, 6), dtype=bool)
    mask[top : top + side, left : left + side] = True
    return mask


def masks(**images: dict[str, np.ndarray]) -> StudyMasks:
    coded = {image: {name: encode_mask(mask) for name, mask in found.items()} for image, found in images.items()}
    return StudyMasks(json.dumps(coded))


def feature(
    concept: str, patches: list[int], weights: list[int], side: str | None = None, polarity: str = "present"
) -> Any:
    images = {"frontal": {"share": 1.0, "patches": patches, "weights": weights}}
    return {"concept": concept, "side": side, "polarity": polarity, "images": images}


def test_what_is_drawn_is_what_was_stored() -> None:
    found = masks(frontal={"a:left": square(0, 0), "b": square(1, 1)}, lateral={"b": square(2, 2)})
    assert found.findings == ["a:left", "b"]
    content = found.content(["lateral"])
    assert [(one["finding"], list(one["images"])) for one in content] == [("b", ["lateral"])]
    np.testing.assert_array_equal(decode_mask(content[0]["images"]["lateral"]), square(2, 2))


def test_one_drawing_under_two_names_is_drawn_once() -> None:
    tube = square(0, 3)
    found = masks(frontal={"tube": tube, "tube:misplaced": tube}, prior_frontal={"tube": tube})
    drawn = {one["finding"]: list(one["images"]) for one in found.content(["frontal", "prior_frontal"])}
    assert drawn == {"tube": ["prior_frontal"], "tube:misplaced": ["frontal"]}


@pytest.mark.parametrize(
    ("concept", "side", "named"),
    [
        ("a", None, ["a:left", "a:right"]),
        ("a", "left", ["a:left"]),
        ("b", "left", ["b"]),
        ("c", None, []),
        (None, None, []),
    ],
)
def test_a_name_means_the_masks_of_its_side(concept: str | None, side: str | None, named: list[str]) -> None:
    assert (
        masks(frontal={"a:left": square(0, 0), "a:right": square(0, 4), "b": square(3, 3)}).about(concept, side)
        == named
    )


def test_activation_counts_by_how_much_of_its_patch_is_covered() -> None:
    found = masks(frontal={"a:left": square(0, 0), "a:right": square(0, 3)})
    grid = (3, 3)  # patches of 2 × 2: patch 0 is the left mask, patches 1 and 2 are half of the right one each
    assert found.inside(feature("a", [0], [255], "left"), grid) == {"frontal": {"share": 1.0, "area": round(4 / 36, 4)}}
    assert found.inside(feature("a", [1, 8], [100, 100]), grid)["frontal"] == {"share": 0.25, "area": round(8 / 36, 4)}
    everywhere = found.inside(feature("a", list(range(9)), [7] * 9), grid)["frontal"]
    assert everywhere["share"] == everywhere["area"], "a map without a place has the share of chance"


def test_nothing_is_said_without_a_mask_or_of_absence() -> None:
    found = masks(frontal={"a": square(0, 0)})
    for one in (feature("b", [0], [1]), feature("a", [0], [1], polarity="absent"), feature("a", [], [])):
        assert found.inside(one, (3, 3)) == {}


def test_of_a_damaged_column_what_can_be_read_is_kept() -> None:
    good = encode_mask(square(0, 0))
    text = json.dumps(
        {"frontal": {"a": {"size": [6, 6], "counts": "!"}, "b": good, "c": 3}, "x": {"a": good}, "lateral": 1}
    )
    assert StudyMasks(text).findings == ["b"]
    for text in (None, float("nan"), "{", "[]"):
        assert StudyMasks(text).content(["frontal"]) == []


def test_masks_of_some_studies_are_read_and_none_of_an_old_table(fresh_run: Path) -> None:
    import pyarrow.parquet as pq

    found = masks_of_studies(fresh_run, [1, 3])
    assert sorted(found) == [1, 3]
    assert StudyMasks(found[1]).findings == ["pleural_effusion:left", "cardiomegaly"]
    path = fresh_run / "studies.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["masks"]), path)
    assert masks_of_studies(fresh_run, [1, 3]) == {}
