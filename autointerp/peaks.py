"""How strongly each feature fires in each unit, in memory; and where to read what it does there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np

from autointerp.segments import part_files


class Peaks:
    """The segments of the allowed units, by feature, then unit: 28 bytes each.

    Args:
        unit, peak, start, count: (s,) unit, largest activation, first entry, and number of entries.
        offsets: (F + 1,); feature f owns the segments ``offsets[f]:offsets[f + 1]``.
    """

    def __init__(
        self, unit: np.ndarray, peak: np.ndarray, start: np.ndarray, count: np.ndarray, offsets: np.ndarray
    ) -> None:
        self._unit, self._peak, self._start, self._count, self._offsets = unit, peak, start, count, offsets
        self._once_unit, self._once_peak, self._once_offsets = _joined(unit, peak, offsets)

    def __len__(self) -> int:
        return len(self._unit)

    @classmethod
    def read(cls, folder: Path, parts: Sequence[int], n_features: int, allowed_unit: np.ndarray) -> Self:
        """The segments that parts hold of the allowed units, ``allowed_unit`` (u,) bool; parts in row order."""
        counts = np.zeros(n_features, dtype=np.int64)
        for part in parts:
            segments = _read(folder, part)
            counts += np.bincount(segments["feature"][allowed_unit[segments["unit"]]], minlength=n_features)
        offsets = np.concatenate([[0], np.cumsum(counts)])
        unit, count = (np.empty(offsets[-1], dtype=np.int32) for _ in range(2))
        peak, start = np.empty(offsets[-1], dtype=np.float32), np.empty(offsets[-1], dtype=np.int64)
        free, base = offsets[:-1].copy(), 0
        for part in parts:
            segments = _read(folder, part)
            starts = base + np.cumsum(segments["count"], dtype=np.int64) - segments["count"]
            base += int(segments["count"].sum(dtype=np.int64))
            # Stable: of the chunks of a part, each of which is in order, the earlier rows come first.
            order = np.argsort(segments["feature"], kind="stable")
            order = order[allowed_unit[segments["unit"][order]]]
            feature = segments["feature"][order]
            n_here = np.bincount(feature, minlength=n_features)
            place = free[feature] + np.arange(len(feature)) - (np.cumsum(n_here) - n_here)[feature]
            free += n_here
            unit[place], count[place] = segments["unit"][order], segments["count"][order]
            peak[place], start[place] = segments["peak"][order], starts[order]
        return cls(unit, peak, start, count, offsets)

    def of(self, feature: int) -> tuple[np.ndarray, np.ndarray]:
        """Units in which a feature fires, rising, and its peak in each."""
        span = slice(int(self._once_offsets[feature]), int(self._once_offsets[feature + 1]))
        return self._once_unit[span], self._once_peak[span]

    def entries_per_feature(self) -> np.ndarray:
        """(F,) int64: activations put aside of each feature."""
        sums = np.concatenate([[0], np.cumsum(self._count, dtype=np.int64)])
        return sums[self._offsets[1:]] - sums[self._offsets[:-1]]

    def all_segments(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Feature, unit, first entry, number of entries of every segment of the features ``first`` … ``last`` − 1."""
        span = slice(int(self._offsets[first]), int(self._offsets[last]))
        feature = np.repeat(np.arange(first, last), np.diff(self._offsets[first : last + 1]))
        return feature, self._unit[span], self._start[span], self._count[span]

    def segments(self, feature: int, unit_c: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What a feature does in c units: which of them, first entry and number of entries, one row a segment."""
        first, last = int(self._offsets[feature]), int(self._offsets[feature + 1])
        own = self._unit[first:last]
        low = np.searchsorted(own, unit_c, side="left")
        n = np.searchsorted(own, unit_c, side="right") - low
        which = np.repeat(np.arange(len(unit_c)), n)
        place = first + np.repeat(low - (np.cumsum(n) - n), n) + np.arange(len(which))
        return which, self._start[place], self._count[place]


def _joined(unit: np.ndarray, peak: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit and peak with the segments of a unit that lies in two chunks made one, and the offsets of features."""
    new = np.ones(len(unit), dtype=bool)
    new[1:] = unit[1:] != unit[:-1]
    new[offsets[:-1][offsets[:-1] < len(unit)]] = True
    if new.all():
        return unit, peak, offsets
    first = np.flatnonzero(new)
    return unit[first], np.maximum.reduceat(peak, first), np.searchsorted(first, offsets)


def segments_per_unit(folder: Path, parts: Sequence[int], n_units: int) -> np.ndarray:
    """(u,) int64: segments of each unit."""
    counts = np.zeros(n_units, dtype=np.int64)
    for part in parts:
        counts += np.bincount(_read(folder, part)["unit"], minlength=n_units)
    return counts


def _read(folder: Path, part: int) -> np.ndarray:
    return np.load(part_files(folder, part)[0])
