"""Which (thing, feature) pairs occurred, in one bit each."""

from __future__ import annotations

import numpy as np

#: Things whose bits are unpacked at once when they are counted.
_BLOCK = 512


class SeenPairs:
    """A set of (thing, feature) pairs, n_things · n_features bits; a pair may be added any number of times.

    Attributes:
        bits: (n_things, ⌈n_features / 8⌉) uint8. Two sets are joined by ``|`` of their bits.
    """

    def __init__(self, n_things: int, n_features: int) -> None:
        self._n_features = n_features
        self.bits = np.zeros((n_things, (n_features + 7) // 8), dtype=np.uint8)

    def add(self, thing_m: np.ndarray, feature_m: np.ndarray) -> None:
        """Add m pairs; quick if they are of few things."""
        if len(thing_m) == 0:
            return
        first = int(thing_m.min())
        here = np.zeros(int(thing_m.max()) - first + 1, dtype=bool)
        here[thing_m - first] = True
        things = np.flatnonzero(here)
        place = np.cumsum(here) - 1
        seen = np.zeros((len(things), self._n_features), dtype=bool)
        seen[place[thing_m - first], feature_m] = True
        self.bits[things + first] |= np.packbits(seen, axis=1)

    def counts(self, group_of_thing: np.ndarray | None = None) -> np.ndarray:
        """(n_features,) int64: distinct things of each feature, or distinct groups of things."""
        total = np.zeros(self._n_features, dtype=np.int64)
        seen = np.flatnonzero(self.bits.any(axis=1))
        group = seen if group_of_thing is None else np.asarray(group_of_thing)[seen]
        order = np.argsort(group, kind="stable")
        starts = np.flatnonzero(np.diff(group[order], prepend=-1))
        for low in range(0, len(starts), _BLOCK):
            here = starts[low : low + _BLOCK]
            end = starts[low + _BLOCK] if low + _BLOCK < len(starts) else len(order)
            joined = np.bitwise_or.reduceat(self.bits[seen[order[here[0] : end]]], here - here[0], axis=0)
            total += np.unpackbits(joined, axis=1, count=self._n_features).sum(axis=0, dtype=np.int64)
        return total
