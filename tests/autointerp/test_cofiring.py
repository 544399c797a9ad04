"""Co-firing neighbours are those of the dense matrix; the sample depends on rows alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from autointerp.cofiring import MIN_TOKENS, CoFiringSample
from autointerp.firing import Firing
from sae.codes import SparseCodes

N_ROWS, N_FEATURES = 400, 9


@pytest.fixture
def acts_nf() -> np.ndarray:
    """Features 0 and 1 fire together, 2 with them half of the time, 8 on the rows of 7 and never else; 6 is dead."""
    rng = np.random.default_rng(0)
    acts_nf = (rng.random((N_ROWS, N_FEATURES)) < 0.15).astype(np.float32)
    acts_nf[:, 1] = acts_nf[:, 0]
    acts_nf[:, 2] = np.where(rng.random(N_ROWS) < 0.5, acts_nf[:, 0], 0)
    acts_nf[:, 8] = acts_nf[:, 7]
    acts_nf[:, 6] = 0
    return acts_nf


def sample_of(acts_nf: np.ndarray, rows: np.ndarray, max_entries: int = 1 << 20, chunk: int = 50) -> CoFiringSample:
    sample = CoFiringSample(N_FEATURES, 5, max_entries)
    for start in range(0, len(rows), chunk):
        here = rows[start : start + chunk]
        sample.add(here, Firing.of(SparseCodes.from_dense(torch.from_numpy(acts_nf[here]))))
    return sample


def test_neighbours_are_those_of_the_dense_matrix(acts_nf: np.ndarray) -> None:
    fires_nf = acts_nf > 0
    both_ff = fires_nf.T.astype(int) @ fires_nf.astype(int)
    listed = sample_of(acts_nf, np.arange(N_ROWS)).neighbours(3)
    for feature, found in enumerate(listed):
        either_f = both_ff[feature, feature] + both_ff.diagonal() - both_ff[feature]
        jaccard_f = both_ff[feature] / np.maximum(either_f, 1)
        possible = [f for f in range(N_FEATURES) if f != feature and both_ff[feature, f] >= MIN_TOKENS]
        expected = sorted(possible, key=lambda f: (-jaccard_f[f], f))[:3]
        assert [one["feature"] for one in found] == expected
        for one in found:
            assert one["n_tokens"] == both_ff[feature, one["feature"]]
            assert one["jaccard"] == pytest.approx(jaccard_f[one["feature"]])
    assert listed[0][0] == {"feature": 1, "n_tokens": both_ff[0, 0], "jaccard": 1.0}
    assert listed[6] == []


def test_a_sample_that_is_full_holds_the_same_rows_in_any_order_and_from_any_hands(acts_nf: np.ndarray) -> None:
    rows = np.arange(N_ROWS)
    full = sample_of(acts_nf, rows, 120)
    assert 0 < len(full) < N_ROWS / 2
    backwards = sample_of(acts_nf, rows[::-1].copy(), 120, chunk=7)
    joined = sample_of(acts_nf, rows[::2], 120)
    joined.merge(sample_of(acts_nf, rows[1::2], 120).state)
    for other in (backwards, joined):
        assert sorted(other.state["rows"]) == sorted(full.state["rows"])
        assert other.neighbours() == full.neighbours()


def test_chance_meetings_are_no_company() -> None:
    acts_nf = np.zeros((N_ROWS, N_FEATURES), dtype=np.float32)
    acts_nf[: MIN_TOKENS - 1, :2] = 1
    assert sample_of(acts_nf, np.arange(N_ROWS)).neighbours() == [[] for _ in range(N_FEATURES)]


def test_nothing_seen_gives_no_neighbours() -> None:
    assert CoFiringSample(3, 0).neighbours() == [[], [], []]
