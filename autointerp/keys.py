"""Small whole numbers as keys: which occur, and where first; by looking up, which is quicker than sorting."""

from __future__ import annotations

import numpy as np


def is_among(key_n: np.ndarray, wanted_m: np.ndarray) -> np.ndarray:
    """(n,) bool: which of the keys (≥ 0) are among the wanted ones."""
    if len(key_n) == 0:
        return np.zeros(0, dtype=bool)
    there = np.zeros(max(int(key_n.max()), int(wanted_m.max(initial=0))) + 1, dtype=bool)
    there[wanted_m] = True
    return there[key_n]


def first_of_each(key_n: np.ndarray) -> np.ndarray:
    """Places of the first of each distinct key (≥ 0), in order."""
    if len(key_n) == 0:
        return np.zeros(0, dtype=np.int64)
    place = np.arange(len(key_n))
    first = np.empty(int(key_n.max()) + 1, dtype=np.int64)
    first[key_n[::-1]] = place[::-1]  # of equal keys the last assignment stays
    return np.flatnonzero(first[key_n] == place)
