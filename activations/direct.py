"""Rows of a shard read straight from the file into the memory where they are wanted.

HDF5 keeps a chunk that has no filter as plain bytes at one place of the file. Reading them by that place saves HDF5's
own copy, leaves other threads running meanwhile, and lets the disk be told ahead what will be wanted.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

#: Shard files that are held open at a time.
OPEN_FILES = 16


@dataclass(frozen=True)
class _Layout:
    """Where the chunks of a dataset lie: ``offsets[i]`` is the first byte of row i × ``rows``."""

    shape: tuple[int, int]
    dtype: np.dtype
    rows: int
    offsets: np.ndarray


class DirectRows:
    """One two-dimensional dataset of several HDF5 files. Safe to use from several threads.

    :meth:`read` gives None where the rows do not lie plainly in the file (compressed, chunked across rows, or not there
    at all); they are then to be read through HDF5.
    """

    def __init__(self, paths: Sequence[Path], dataset: str) -> None:
        self._paths, self._dataset = tuple(paths), dataset
        self._layouts: dict[int, _Layout | None] = {}
        self._files: OrderedDict[int, int] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, shard: int, start: int, stop: int) -> np.ndarray | None:
        """Rows start … stop − 1 of one shard, (n, d), as stored; None if only HDF5 can read them."""
        with self._lock:
            layout = self._layout(shard)
            if layout is None or not 0 <= start <= stop <= layout.shape[0]:
                return None
            rows_nd = np.empty((stop - start, layout.shape[1]), dtype=layout.dtype)
            descriptor = self._file(shard)
            for offset, first, last in _pieces(layout, start, stop):
                if os.preadv(descriptor, [rows_nd[first:last].data], offset) < rows_nd[first:last].nbytes:
                    return None  # cut off or interrupted: HDF5 reads it or says what is wrong
        return rows_nd

    def advise(self, shard: int, start: int, stop: int) -> None:
        """Tell the system that these rows will soon be read; it may fetch them meanwhile."""
        if not hasattr(os, "posix_fadvise"):
            return
        with self._lock:
            layout = self._layout(shard)
            if layout is not None:
                row_bytes = layout.shape[1] * layout.dtype.itemsize
                for offset, first, last in _pieces(layout, start, min(stop, layout.shape[0])):
                    length = (last - first) * row_bytes
                    os.posix_fadvise(self._file(shard), offset, length, os.POSIX_FADV_WILLNEED)

    def close(self) -> None:
        with self._lock:
            while self._files:
                os.close(self._files.popitem()[1])

    def _layout(self, shard: int) -> _Layout | None:
        if shard not in self._layouts:
            try:
                with h5py.File(self._paths[shard], "r") as file:
                    self._layouts[shard] = _layout(file[self._dataset])
            except (OSError, KeyError):
                self._layouts[shard] = None
        return self._layouts[shard]

    def _file(self, shard: int) -> int:
        if shard in self._files:
            self._files.move_to_end(shard)
        else:
            while len(self._files) >= OPEN_FILES:
                os.close(self._files.popitem(last=False)[1])
            self._files[shard] = os.open(self._paths[shard], os.O_RDONLY)
        return self._files[shard]


def _layout(dataset: h5py.Dataset) -> _Layout | None:
    """Where the chunks lie, or None unless they are unfiltered and hold whole rows."""
    chunk = dataset.chunks
    if chunk is None or len(chunk) != 2 or chunk[1] != dataset.shape[1] or not hasattr(os, "preadv"):
        return None
    if dataset.id.get_create_plist().get_nfilters():
        return None
    offsets = np.full(-(-dataset.shape[0] // chunk[0]), -1, dtype=np.int64)
    dataset.id.chunk_iter(lambda info: offsets.__setitem__(info.chunk_offset[0] // chunk[0], info.byte_offset))
    return None if (offsets < 0).any() else _Layout(dataset.shape, dataset.dtype, chunk[0], offsets)


def _pieces(layout: _Layout, start: int, stop: int) -> list[tuple[int, int, int]]:
    """(byte in the file, first, last + 1 row counted from ``start``) of each chunk that has some of the rows."""
    if start >= stop:
        return []
    row_bytes = layout.shape[1] * layout.dtype.itemsize
    pieces = []
    for chunk in range(start // layout.rows, -(-stop // layout.rows)):
        begin = chunk * layout.rows
        low, high = max(start, begin), min(stop, begin + layout.rows)
        pieces.append((int(layout.offsets[chunk]) + (low - begin) * row_bytes, low - start, high - start))
    return pieces
