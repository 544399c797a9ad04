"""Which (feature, thing) pairs occurred, in one bit each."""

from __future__ import annotations

import numpy as np


class SeenPairs:
    """A set of (feature, thing) pairs, n_features · n_things bits; a pair may be added any number of times."""

    def __init__(self, n_features: int, n_things: int) -> None:
        self._stride = (n_things + 7) // 8
        self._bits = np.zeros(n_features * self._stride, dtype=np.uint8)

    def add(self, feature_m: np.ndarray, thing_m: np.ndarray) -> None:
        """Add m pairs."""
        byte_m = feature_m.astype(np.int64) * self._stride + (thing_m >> 3)
        np.bitwise_or.at(self._bits, byte_m, np.left_shift(1, thing_m & 7).astype(np.uint8))

    def counts(self) -> np.ndarray:
        """(n_features,) int64: distinct things per feature."""
        if self._stride == 0:
            return np.zeros(len(self._bits), dtype=np.int64)
        return np.bitwise_count(self._bits.reshape(-1, self._stride)).sum(axis=1, dtype=np.int64)
