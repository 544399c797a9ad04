"""Counts of distinct pairs equal those of a plain set."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from autointerp.pairs import SeenPairs


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 20)), max_size=60), st.integers(0, 60))
def test_counts_are_those_of_a_set(pairs: list[tuple[int, int]], cut: int) -> None:
    seen = SeenPairs(5, 21)
    for part in (pairs[:cut], pairs[cut:]):
        features, things = np.array([p[0] for p in part], dtype=int), np.array([p[1] for p in part], dtype=int)
        seen.add(features, things)
    assert seen.counts().tolist() == [len({t for f, t in pairs if f == feature}) for feature in range(5)]


def test_no_things_is_no_pair() -> None:
    assert SeenPairs(3, 0).counts().sum() == 0
