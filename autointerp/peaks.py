"""How strongly each feature fires in each unit: the largest activation and where it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Peaks:
    """Peaks sorted by feature, then unit. Feature f owns the entries ``offsets[f]:offsets[f + 1]``.

    ``unit`` (m,) int32, ``value`` (m,) float32 > 0, ``row`` (m,) int64 row of the store; ``offsets`` (F + 1,).
    """

    unit: np.ndarray
    value: np.ndarray
    row: np.ndarray
    offsets: np.ndarray

    def of(self, feature: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Units, peak values and peak rows of one feature."""
        span = slice(int(self.offsets[feature]), int(self.offsets[feature + 1]))
        return self.unit[span], self.value[span], self.row[span]


class PeakCollector:
    """Collects peaks while codes stream by. Memory: 16 bytes for every (unit, feature) pair that fires.

    Args:
        unit_of_row: unit of each row of the store, −1 for none.
        n_features: F.
    """

    def __init__(self, unit_of_row: np.ndarray, n_features: int) -> None:
        self._unit_of_row, self._n_features = unit_of_row, n_features
        self._stride = int(unit_of_row.max(initial=0)) + 1
        self._keys: list[np.ndarray] = []
        self._values: list[np.ndarray] = []
        self._rows: list[np.ndarray] = []

    def add(self, row_m: np.ndarray, feature_m: np.ndarray, value_m: np.ndarray) -> None:
        """m activations: row of the store, feature, value."""
        unit_m = self._unit_of_row[row_m]
        inside = np.flatnonzero(unit_m >= 0)
        if len(inside) == 0:
            return
        key_m = feature_m[inside].astype(np.int64) * self._stride + unit_m[inside]
        best = _largest_per_key(key_m, value_m[inside])
        self._keys.append(key_m[best])
        self._values.append(value_m[inside][best].astype(np.float32))
        self._rows.append(row_m[inside][best])

    def finish(self) -> Peaks:
        """All peaks; a unit that lies in two chunks is joined here."""
        key = np.concatenate(self._keys) if self._keys else np.empty(0, dtype=np.int64)
        value = np.concatenate(self._values) if self._values else np.empty(0, dtype=np.float32)
        row = np.concatenate(self._rows) if self._rows else np.empty(0, dtype=np.int64)
        best = _largest_per_key(key, value)
        key, value, row = key[best], value[best], row[best]
        feature = key // self._stride
        offsets = np.searchsorted(feature, np.arange(self._n_features + 1))
        return Peaks((key - feature * self._stride).astype(np.int32), value, row, offsets)


def _largest_per_key(key_m: np.ndarray, value_m: np.ndarray) -> np.ndarray:
    """Indices of the largest value of each key, keys rising; the first of equal ones."""
    order = np.lexsort((-value_m, key_m))  # stable: rows of a chunk rise
    first = np.ones(len(order), dtype=bool)
    first[1:] = key_m[order][1:] != key_m[order][:-1]
    return order[first]
