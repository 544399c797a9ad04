from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from activations.encoding import MAX_BLOCK_ROWS, MIN_BLOCK_ROWS, block_rows, decode, encode
from radiology.errors import InputError

FLOATS = hnp.arrays(np.float32, (3, 5), elements=st.floats(-1e4, 1e4, width=32))


@given(FLOATS)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_decode_gives_the_rounded_value_exactly(dtype: str, values: np.ndarray) -> None:
    rows = torch.from_numpy(values)
    assert torch.equal(decode(encode(rows, dtype), dtype), rows.to(getattr(torch, dtype)).float())


def test_bfloat16_is_the_upper_half_of_the_float32_bits() -> None:
    rows = torch.randn(7, 3).bfloat16()
    stored = encode(rows, "bfloat16")
    assert stored.dtype == np.uint16
    np.testing.assert_array_equal((stored.astype(np.uint32) << 16).view(np.float32), rows.float().numpy())


def test_value_that_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="float16; store bfloat16"):
        encode(torch.tensor([[1e5]]), "float16")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_value_that_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(InputError, match="not finite"):
        encode(torch.tensor([[bad]]), "float32")


@given(st.integers(1, 100_000))
def test_blocks_are_about_a_mebibyte(width: int) -> None:
    rows = block_rows(width, "bfloat16")
    assert MIN_BLOCK_ROWS <= rows <= MAX_BLOCK_ROWS
    if MIN_BLOCK_ROWS < rows < MAX_BLOCK_ROWS:
        assert (1 << 19) < rows * width * 2 <= (1 << 20)
