from __future__ import annotations

import base64
import gzip
import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dashboards.encoding import compact, mean_picture, pack, pack_map, picture


def png(values_hw: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values_hw).save(stream, "PNG")
    return stream.getvalue()


def opened(webp_base64: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(webp_base64))).convert("L"))


@settings(max_examples=50, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_packing_keeps_the_value_and_holds_no_markup(value: object) -> None:
    packed = pack(value)
    assert json.loads(gzip.decompress(base64.b64decode(packed))) == value
    assert not set(packed) & set("<>&\"'")


def test_equal_values_pack_alike() -> None:
    assert pack({"a": [1, 2]}) == pack({"a": [1, 2]})


@settings(max_examples=50, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e30, max_value=1e30))
def test_floats_keep_five_digits(value: float) -> None:
    assert compact(value) == pytest.approx(value, rel=1e-4)


def test_numpy_becomes_plain_and_what_is_not_finite_none() -> None:
    value = {"a": np.float32(1.5), "b": np.array([1, 2]), "c": [np.nan, np.inf], "d": np.bool_(True), 3: np.int64(4)}
    assert compact(value) == {"a": 1.5, "b": [1, 2], "c": [None, None], "d": True, "3": 4}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1000, width=32), min_size=6, max_size=6))
def test_maps_are_kept_to_half_a_step(values: list[float]) -> None:
    packed = pack_map(values, 2, 3)
    assert packed is not None
    bytes_n = np.frombuffer(base64.b64decode(packed["data"]), dtype=np.uint8)
    assert (packed["rows"], packed["cols"], len(bytes_n)) == (2, 3, 6)
    restored_n = bytes_n / 255 * packed["max"]
    np.testing.assert_allclose(restored_n, values, atol=packed["max"] / 509 + 1e-6)


def test_a_map_that_does_not_fit_its_grid_is_none() -> None:
    assert pack_map(None, 2, 3) is None
    assert pack_map([1.0] * 5, 2, 3) is None
    assert pack_map([1.0], 0, 0) is None


def test_pictures_shrink_to_the_side_and_never_grow() -> None:
    grey = np.tile(np.arange(64, dtype=np.uint8) * 3, (64, 1))
    small, same = picture(png(grey), 32, 90), picture(png(grey), 256, 90)
    assert small is not None
    assert same is not None
    assert opened(small).shape == (32, 32)
    assert opened(same).shape == (64, 64)
    assert np.abs(opened(same).astype(int) - grey).mean() < 6


def test_what_is_no_picture_is_none() -> None:
    assert picture(b"not a picture", 64, 80) is None


def test_the_mean_picture_is_the_mean_of_those_that_can_be_read() -> None:
    dark, light = (png(np.full((20, 20), value, dtype=np.uint8)) for value in (40, 120))
    text, n = mean_picture([dark, b"broken", light], 16, 90)
    assert n == 2
    assert text is not None
    assert opened(text).mean() == pytest.approx(80, abs=3)
    assert mean_picture([b"broken"], 16, 90) == (None, 0)
