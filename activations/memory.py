"""Memory that is used again once nobody holds what was in it.

Fresh memory is not free: the system clears every page of it at its first use, and a virtual machine may have to ask its
host for it. A stream of large batches spends more time on that than on copying the rows.
"""

from __future__ import annotations

import sys

import numpy as np


class Recycled:
    """Gives arrays like ``numpy.empty``, from memory it gave before if all that looked at it is gone.

    An array counts as held while it, a view of it, or a tensor that shares its memory is alive. So what is given never
    changes under its holder's eyes. Not safe to use from several threads.

    Args:
        keep: arrays that are remembered; memory that is given while more are held is not used again.
    """

    def __init__(self, keep: int = 3) -> None:
        self._keep = keep
        self._arrays: list[np.ndarray] = [np.empty(0)]
        self._free = self._counts()[0]
        self._arrays.clear()

    def empty(self, shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
        """An array with any content."""
        for place, count in enumerate(self._counts()):
            found = self._arrays[place]
            if count == self._free and found.shape == shape and found.dtype == dtype:
                return found
        fresh = np.empty(shape, dtype)
        if len(self._arrays) >= self._keep:
            self._arrays.pop(0)  # forgotten, not taken: whoever holds it keeps it
        self._arrays.append(fresh)
        return fresh

    def _counts(self) -> list[int]:
        """References to each array, those of this object included."""
        return [sys.getrefcount(self._arrays[place]) for place in range(len(self._arrays))]
