from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radiology.errors import InputError
from radiology.masks import decode_mask, encode_mask, patch_coverage

#: What pycocotools 2.0 writes of the mask of :func:`drawn`.
OF_COCO = "]61U6j0XJ00000000000000000Q=IVC0000000000000000000000000000000000000"


def drawn() -> np.ndarray:
    mask = np.zeros((40, 50), dtype=bool)
    mask[3:30, 10:20] = mask[5, 5] = mask[20:, 30:] = True
    return mask


def test_the_text_is_that_of_coco() -> None:
    assert encode_mask(drawn()) == {"size": [40, 50], "counts": OF_COCO}


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from((0.0, 0.03, 0.5, 1.0)), st.integers(0, 2**32 - 1))
def test_a_mask_comes_back_exactly(height: int, width: int, share: float, seed: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < share
    np.testing.assert_array_equal(decode_mask(encode_mask(mask)), mask)


@pytest.mark.parametrize(
    ("encoded", "why"),
    [
        ({}, "no \\[height, width\\]"),
        ({"size": [40, True], "counts": OF_COCO}, "no \\[height, width\\]"),
        ({"size": [10**9, 10**9], "counts": OF_COCO}, "no \\[height, width\\]"),
        ({"size": [40, 51], "counts": OF_COCO}, "do not fill its 40 × 51 pixels"),
        ({"size": [40, 50], "counts": None}, "no run lengths"),
        ({"size": [40, 50], "counts": "<script>"}, "no run lengths"),
        ({"size": [40, 50], "counts": "o" * 4000}, "middle of a number"),
        ({"size": [40, 50], "counts": "o" * 4000 + "1"}, "do not fill"),
        ({"size": [40, 50], "counts": ""}, "do not fill"),
    ],
)
def test_anything_else_is_an_input_error(encoded: dict[str, object], why: str) -> None:
    with pytest.raises(InputError, match=why):
        decode_mask(encoded)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_coverage_keeps_the_area_on_any_grid(rows: int, cols: int, seed: int) -> None:
    mask = np.random.default_rng(seed).random((17, 23)) < 0.3
    assert patch_coverage(mask, rows, cols).mean() == pytest.approx(mask.mean())


def test_coverage_counts_the_pixels_of_each_patch() -> None:
    mask = drawn()
    expected = mask.reshape(4, 10, 5, 10).mean((1, 3))
    np.testing.assert_allclose(patch_coverage(mask, 4, 5), expected)
    np.testing.assert_allclose(
        patch_coverage(mask[:3, :1], 2, 1)[:, 0], mask[:3, :1].reshape(-1) @ [[2, 0], [1, 1], [0, 2]] / 3
    )
