"""Rows of a shard read straight from the file into the memory where they are wanted.

HDF5 keeps a chunk that has no filter as plain bytes at one place of the file. Reading them by that place saves HDF5's
own copy and lets several threads read at once.

What the system already holds in memory is taken from there. A file that it does not hold can be read past its memory
(``O_DIRECT``): a store that is read once an epoch gains nothing from being kept, and finding room for it costs more
time than the reading.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

#: Shard files that each thread holds open.
OPEN_FILES = 16
#: What O_DIRECT wants file offsets, lengths and addresses to be multiples of; no disk asks for more.
ALIGNMENT = 4096
#: A file is called held in memory when this share of its pages is.
HELD = 0.9


@dataclass(frozen=True)
class _Layout:
    """Where the chunks of a dataset lie: ``offsets[i]`` is the first byte of row i × ``rows``."""

    shape: tuple[int, int]
    dtype: np.dtype
    rows: int
    offsets: np.ndarray


class DirectRows:
    """One two-dimensional dataset of several HDF5 files. Safe to use from several threads.

    Args:
        paths: the files.
        dataset: its path in each of them.
        past_memory: read files that the system does not hold in memory past it, where the file system can.
    """

    def __init__(self, paths: Sequence[Path], dataset: str, *, past_memory: bool = False) -> None:
        self._paths, self._dataset, self._past_memory = tuple(paths), dataset, past_memory
        self._layouts: dict[int, _Layout | None] = {}
        self._past: dict[int, bool] = {}
        self._lock = threading.Lock()
        self._threads = threading.local()
        self._opened: weakref.WeakSet[_Files] = weakref.WeakSet()

    def read(self, shard: int, start: int, stop: int, into_nd: np.ndarray | None = None) -> np.ndarray | None:
        """Rows start … stop − 1 of one shard, (n, d), as stored.

        None if only HDF5 can read them: compressed, chunked across rows, cut off, or not there at all.

        Args:
            into_nd: contiguous memory of that shape and type to read into; without it the rows get their own.
        """
        with self._lock:
            layout, past_memory = self._layout(shard), self._reads_past(shard)
        if layout is None or not 0 <= start <= stop <= layout.shape[0]:
            return None
        rows_nd = np.empty((stop - start, layout.shape[1]), layout.dtype) if into_nd is None else into_nd
        pieces = [(offset, rows_nd[first:last]) for offset, first, last in _pieces(layout, start, stop)]
        if past_memory:
            try:
                return rows_nd if self._files().read_all(shard, True, pieces) else None
            except OSError:  # some file systems open such a file and then refuse to read it
                self._past[shard] = False
        try:
            return rows_nd if self._files().read_all(shard, False, pieces) else None
        except OSError:  # HDF5 meets it too, and its error names the dataset
            return None

    def close(self) -> None:
        """Close the files; they are opened again when needed."""
        with self._lock:
            for files in self._opened:
                files.close()

    def _files(self) -> _Files:
        """This thread's own, so that no thread closes what another one is reading."""
        found: _Files | None = getattr(self._threads, "files", None)
        if found is None:
            found = self._threads.files = _Files(self._paths)
            with self._lock:
                self._opened.add(found)
        return found

    def _layout(self, shard: int) -> _Layout | None:
        if shard not in self._layouts:
            try:
                with h5py.File(self._paths[shard], "r") as file:
                    self._layouts[shard] = _layout(file[self._dataset])
            except (OSError, KeyError):
                self._layouts[shard] = None
        return self._layouts[shard]

    def _reads_past(self, shard: int) -> bool:
        """Decided once a file: whether it is not held in memory, and the file system can read past that."""
        if shard not in self._past:
            self._past[shard] = self._past_memory and _can_read_past(self._paths[shard])
        return self._past[shard]


class _Files:
    """Open files of one thread, the least recently used closed first, and all when the thread has ended."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._open: OrderedDict[tuple[int, bool], int] = OrderedDict()
        weakref.finalize(self, _close_all, self._open)
        self._bounce = mmap.mmap(-1, ALIGNMENT)

    def read_all(self, number: int, past_memory: bool, pieces: Sequence[tuple[int, np.ndarray]]) -> bool:
        """Fill each place with the bytes at its offset; False if the file ends before."""
        return all(self.read(number, past_memory, offset, place_nd) for offset, place_nd in pieces)

    def read(self, number: int, past_memory: bool, offset: int, place_nd: np.ndarray) -> bool:
        """Fill ``place_nd`` with the bytes at ``offset``; False if the file ends before."""
        descriptor = self._file(number, past_memory)
        if not past_memory:
            return os.preadv(descriptor, [place_nd.data], offset) == place_nd.nbytes
        begin = offset // ALIGNMENT * ALIGNMENT
        wanted = offset - begin + place_nd.nbytes
        length = -(-wanted // ALIGNMENT) * ALIGNMENT
        if len(self._bounce) < length:
            self._bounce = mmap.mmap(-1, length)
        if os.preadv(descriptor, [memoryview(self._bounce)[:length]], begin) < wanted:
            return False
        found = np.frombuffer(self._bounce, place_nd.dtype, place_nd.size, offset - begin)
        place_nd[:] = found.reshape(place_nd.shape)
        return True

    def close(self) -> None:
        _close_all(self._open)

    def _file(self, number: int, past_memory: bool) -> int:
        key = number, past_memory
        if key in self._open:
            self._open.move_to_end(key)
        else:
            while len(self._open) >= OPEN_FILES:
                os.close(self._open.popitem(last=False)[1])
            self._open[key] = os.open(self._paths[number], os.O_RDONLY | (os.O_DIRECT if past_memory else 0))
        return self._open[key]


def _close_all(files: OrderedDict[tuple[int, bool], int]) -> None:
    while files:
        os.close(files.popitem()[1])


def _can_read_past(path: Path) -> bool:
    """Whether a file lies on a disk that reads past the system's memory, and is not in that memory anyway."""
    if not hasattr(os, "O_DIRECT"):
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
    except OSError:  # such as tmpfs, or no such file
        return False
    try:
        return not held_in_memory(descriptor)
    finally:
        os.close(descriptor)


def pages_in_memory(descriptor: int) -> bytes:
    """One byte a page of a file, its lowest bit set if the system holds the page in memory; empty if it won't say."""
    size = os.fstat(descriptor).st_size
    if not size or not hasattr(libc := ctypes.CDLL(None), "mincore"):
        return b""
    flags = ctypes.create_string_buffer(-(-size // mmap.PAGESIZE))
    # Private and writable only because ctypes takes the address of nothing else; nothing is written.
    with mmap.mmap(descriptor, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE) as mapped:
        first = ctypes.c_char.from_buffer(mapped)
        failed = libc.mincore(ctypes.c_void_p(ctypes.addressof(first)), ctypes.c_size_t(size), flags)
        del first
    return b"" if failed else flags.raw[: -(-size // mmap.PAGESIZE)]


def held_in_memory(descriptor: int) -> bool:
    """Whether the system holds (nearly) all of a file in memory; True where it cannot be asked."""
    pages = pages_in_memory(descriptor)
    return not pages or bool(np.count_nonzero(np.frombuffer(pages, np.uint8) & 1) >= HELD * len(pages))


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
