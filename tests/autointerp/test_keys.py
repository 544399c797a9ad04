"""Looking keys up is what sorting them would give."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from autointerp.keys import first_of_each, is_among

KEYS = st.lists(st.integers(0, 9), max_size=30).map(lambda keys: np.array(keys, dtype=np.int64))


@given(KEYS, KEYS)
def test_is_among(keys: np.ndarray, wanted: np.ndarray) -> None:
    np.testing.assert_array_equal(is_among(keys, wanted), np.isin(keys, wanted))


@given(KEYS)
def test_first_of_each(keys: np.ndarray) -> None:
    np.testing.assert_array_equal(first_of_each(keys), np.sort(np.unique(keys, return_index=True)[1]))
