"""A peak is the largest activation of a feature in a unit, wherever the stream was cut."""

from __future__ import annotations

import numpy as np
import pytest

from autointerp.peaks import PeakCollector

N_ROWS, N_FEATURES = 60, 7


def entries(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    acts_nf = np.where(rng.random((N_ROWS, N_FEATURES)) < 0.2, rng.random((N_ROWS, N_FEATURES)), 0).astype(np.float32)
    unit_of_row = np.repeat(np.arange(10), 6).astype(np.int32)
    unit_of_row[rng.random(N_ROWS) < 0.1] = -1
    row, feature = np.nonzero(acts_nf)
    return unit_of_row, row, feature, acts_nf[row, feature]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("chunk", [1, 7, 60])
def test_peaks_are_maxima_over_units(seed: int, chunk: int) -> None:
    unit_of_row, row, feature, value = entries(seed)
    collector = PeakCollector(unit_of_row, N_FEATURES)
    for start in range(0, N_ROWS, chunk):
        here = (row >= start) & (row < start + chunk)
        collector.add(row[here], feature[here], value[here])
    peaks = collector.finish()
    for f in range(N_FEATURES):
        units, values, rows = peaks.of(f)
        expected = {}
        for r, v in zip(row[feature == f], value[feature == f], strict=True):
            unit = int(unit_of_row[r])
            if unit >= 0 and v > expected.get(unit, (0.0, -1))[0]:
                expected[unit] = (float(v), int(r))
        assert units.tolist() == sorted(expected)
        assert list(zip(values.tolist(), rows.tolist(), strict=True)) == [expected[u] for u in sorted(expected)]


def test_nothing_fires() -> None:
    collector = PeakCollector(np.full(5, -1, dtype=np.int32), 3)
    collector.add(np.array([1]), np.array([2]), np.array([1.0]))
    assert [len(collector.finish().of(f)[0]) for f in range(3)] == [0, 0, 0]
