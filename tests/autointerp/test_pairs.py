"""Counts of distinct pairs equal those of a plain set."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from autointerp import pairs
from autointerp.pairs import SeenPairs


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 8)), max_size=60), st.integers(0, 60))
def test_counts_are_those_of_a_set(found: list[tuple[int, int]], cut: int) -> None:
    seen, other = SeenPairs(21, 9), SeenPairs(21, 9)
    for part, into in ((found[:cut], seen), (found[cut:], other)):
        into.add(np.array([p[0] for p in part], dtype=int), np.array([p[1] for p in part], dtype=int))
    seen.bits |= other.bits
    group = np.arange(21) % 4
    for feature in range(9):
        things = {thing for thing, f in found if f == feature}
        assert seen.counts()[feature] == len(things)
        assert seen.counts(group)[feature] == len({thing % 4 for thing in things})


def test_counting_in_blocks_changes_nothing(monkeypatch) -> None:
    rng = np.random.default_rng(0)
    seen = SeenPairs(50, 11)
    seen.add(rng.integers(0, 50, 90), rng.integers(0, 11, 90))
    group = rng.integers(0, 13, 50)
    whole = seen.counts(), seen.counts(group)
    monkeypatch.setattr(pairs, "_BLOCK", 3)
    assert seen.counts().tolist() == whole[0].tolist()
    assert seen.counts(group).tolist() == whole[1].tolist()


def test_no_things_is_no_pair() -> None:
    assert SeenPairs(0, 3).counts().tolist() == [0, 0, 0]
