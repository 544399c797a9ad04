"""Rows of a store as they lie on disk: numbered through all shards, read straight from the files or through HDF5."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from activations.direct import DirectRows
from activations.encoding import block_rows
from activations.manifest import DTYPES, Manifest
from activations.shard import OpenShards

#: Threads that read blocks: a disk is faster when it is asked for several at a time.
READERS = 4
Span = tuple[int, int]


class StoredRows:
    """Reads stored rows and columns by their numbers. Safe to use from several threads.

    Sites are named canonically here. Reading that goes once through many rows (``streaming``) leaves the system's
    memory to others, see :mod:`activations.direct`; reading of a few rows keeps them there.
    """

    def __init__(self, directory: Path, manifest: Manifest) -> None:
        self._config = manifest.config
        self._paths = [directory / shard.file for shard in manifest.shards]
        self._starts = np.cumsum([0] + [shard.rows for shard in manifest.shards])
        self._shards = OpenShards(self._paths)
        self._direct: dict[tuple[str, bool], DirectRows] = {}

    def __len__(self) -> int:
        return int(self._starts[-1])

    def close(self) -> None:
        """Close the files; they are opened again when needed."""
        self._shards.close()
        for rows in self._direct.values():
            rows.close()

    def new(self, site: str, rows: int) -> np.ndarray:
        """Memory for so many rows, (rows, d)."""
        return np.empty((rows, self._config.sites[site]), DTYPES[self._config.dtype])

    def spans(self, rows: int) -> list[Span]:
        """All rows cut into pieces (first, last + 1) of at most ``rows`` that do not cross a shard."""
        return [
            (start, min(start + rows, int(end)))
            for begin, end in zip(self._starts[:-1], self._starts[1:], strict=True)
            for start in range(int(begin), int(end), rows)
        ]

    def column(self, path: str, dtype: np.dtype) -> np.ndarray:
        """A one-dimensional dataset of all shards, (rows,)."""
        values = np.empty(len(self), dtype=dtype)
        for shard, (start, stop) in enumerate(zip(self._starts[:-1], self._starts[1:], strict=True)):
            values[start:stop] = self._shards.read(shard, path, slice(None))
        return values

    def read(
        self, site: str, start: int, stop: int, into_nd: np.ndarray | None = None, *, streaming: bool = False
    ) -> np.ndarray:
        """Rows start … stop − 1 of one shard, (n, d).

        Args:
            into_nd: memory of that shape and type; it is the answer if it could be used.
        """
        shard = int(np.searchsorted(self._starts, start, side="right")) - 1
        base = int(self._starts[shard])
        rows_nd = self._rows_of(site, streaming).read(shard, start - base, stop - base, into_nd)
        if rows_nd is not None:
            return rows_nd
        return self._shards.read(shard, f"sites/{site}", slice(start - base, stop - base))

    def in_order(self, site: str, spans: Sequence[Span]) -> Generator[np.ndarray, None, None]:
        """The rows of each span, (n, d), one after the other; threads read the next one meanwhile.

        In memory are two spans. A span's memory is used again for the span after the next: copy what is to be kept.
        """
        if not spans:
            return
        most = max(stop - start for start, stop in spans)
        memory = [self.new(site, most), self.new(site, most)]
        with ThreadPoolExecutor(READERS, thread_name_prefix="activations") as readers:
            try:
                coming = self._begin(site, spans[0], memory[0], readers)
                for number, (start, stop) in enumerate(spans):
                    for part in coming:
                        part.result()
                    if number + 1 < len(spans):
                        coming = self._begin(site, spans[number + 1], memory[(number + 1) % 2], readers)
                    yield memory[number % 2][: stop - start]
            finally:
                readers.shutdown(cancel_futures=True)

    def _begin(self, site: str, span: Span, memory_nd: np.ndarray, readers: Executor) -> list[Future[None]]:
        """Ask for the blocks of a span."""

        def fetch(low: int, high: int) -> None:
            place_nd = memory_nd[low - first : high - first]
            if (rows_nd := self.read(site, low, high, place_nd, streaming=True)) is not place_nd:
                place_nd[:] = rows_nd

        first, last = span
        step = block_rows(self._config.sites[site], self._config.dtype)
        return [readers.submit(fetch, low, min(low + step, last)) for low in range(first, last, step)]

    def _rows_of(self, site: str, streaming: bool) -> DirectRows:
        key = site, streaming
        if key not in self._direct:
            self._direct.setdefault(key, DirectRows(self._paths, f"sites/{site}", past_memory=streaming))
        return self._direct[key]
