"""A peak is the largest activation of a feature in a unit, its entries are all of them, wherever the pass was cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from autointerp.firing import Firing
from autointerp.peaks import Peaks, segments_per_unit
from autointerp.segments import Entries, cut_segments, write_part
from sae.codes import SparseCodes

N_ROWS, N_FEATURES, N_UNITS = 60, 7, 10


def acts_and_units(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    acts_nf = np.where(rng.random((N_ROWS, N_FEATURES)) < 0.2, rng.random((N_ROWS, N_FEATURES)), 0).astype(np.float32)
    unit_n = np.repeat(np.arange(N_UNITS), 6).astype(np.int32)
    unit_n[rng.random(N_ROWS) < 0.1] = -1
    return acts_nf, unit_n


def write(folder: Path, acts_nf: np.ndarray, unit_n: np.ndarray, chunk: int, chunks_per_part: int) -> list[int]:
    chunks = []
    for start in range(0, N_ROWS, chunk):
        rows = np.arange(start, min(start + chunk, N_ROWS))
        firing = Firing.of(SparseCodes.from_dense(torch.from_numpy(acts_nf[rows])))
        chunks.append(cut_segments(firing, unit_n[rows], rows - 6 * unit_n[rows]))
    parts = [chunks[i : i + chunks_per_part] for i in range(0, len(chunks), chunks_per_part)]
    for number, part in enumerate(parts):
        write_part(folder, number, part)
    return list(range(len(parts)))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("chunk", "chunks_per_part"), [(1, 7), (7, 2), (7, 1), (60, 1)])
def test_peaks_and_entries_are_those_of_the_dense_matrix(
    tmp_path: Path, seed: int, chunk: int, chunks_per_part: int
) -> None:
    acts_nf, unit_n = acts_and_units(seed)
    parts = write(tmp_path, acts_nf, unit_n, chunk, chunks_per_part)
    allowed = np.ones(N_UNITS, dtype=bool)
    allowed[3] = False
    peaks, entries = Peaks.read(tmp_path, parts, N_FEATURES, allowed), Entries(tmp_path, parts)
    for f in range(N_FEATURES):
        dense = {u: np.where(unit_n[6 * u : 6 * u + 6] == u, acts_nf[6 * u : 6 * u + 6, f], 0) for u in range(N_UNITS)}
        units, values = peaks.of(f)
        expected = {u: own.max() for u, own in dense.items() if own.any() and allowed[u]}
        assert dict(zip(units.tolist(), values.tolist(), strict=True)) == expected
        assert (np.diff(units) > 0).all()
        asked = np.array([8, 0, 3, 5])
        which, start, count = peaks.segments(f, asked)
        found = entries.take(start, count)
        rebuilt = np.zeros((len(asked), 6), dtype=np.float32)
        rebuilt[np.repeat(which, count), found["row"]] = found["value"]
        for at, u in enumerate(asked.tolist()):
            assert rebuilt[at].tolist() == (dense[u] if allowed[u] else np.zeros(6)).tolist()


def test_segments_are_counted_by_unit(tmp_path: Path) -> None:
    acts_nf, unit_n = acts_and_units(0)
    parts = write(tmp_path, acts_nf, unit_n, N_ROWS, 1)
    expected = [int((acts_nf[unit_n == u] > 0).any(axis=0).sum()) for u in range(N_UNITS)]
    assert segments_per_unit(tmp_path, parts, N_UNITS).tolist() == expected


def test_nothing_fires(tmp_path: Path) -> None:
    parts = write(tmp_path, np.zeros((N_ROWS, N_FEATURES), np.float32), np.full(N_ROWS, -1), 20, 2)
    peaks = Peaks.read(tmp_path, parts, N_FEATURES, np.zeros(0, dtype=bool))
    assert len(peaks) == 0
    assert [len(peaks.of(f)[0]) for f in range(N_FEATURES)] == [0] * N_FEATURES
    assert len(Entries(tmp_path, parts).take(*peaks.segments(0, np.array([1]))[1:])) == 0
