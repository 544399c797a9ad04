"""Shard files: an HDF5 file grows under a temporary name, is published whole, and is then only read."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import xxhash

from activations.compression import dataset_options
from activations.encoding import block_rows
from activations.files import PatientFile, publish, storage_errors, temporary_name
from activations.manifest import DTYPES, FORMAT, VERSION, StoreConfig
from radiology.errors import InputError

#: Columns of ``/tokens`` with their types on disk.
TOKEN_COLUMNS: dict[str, np.dtype] = {
    "study": np.dtype("<i4"),
    "position": np.dtype("<i4"),
    "token_id": np.dtype("<i4"),
    "role": np.dtype("u1"),
    "image": np.dtype("i1"),
    "row": np.dtype("<i2"),
    "col": np.dtype("<i2"),
}
COLUMN_CHUNK = 4096
#: Shard files that a reader holds open at a time.
OPEN_FILES = 16


def shard_name(writer: int, number: int) -> str:
    """``shard-RRRRR-NNNNN.h5``: writer rank and running number."""
    return f"shard-{writer:05d}-{number:05d}.h5"


class _Column:
    """A growing dataset that is written in whole chunks, so that no chunk is read back to be completed."""

    def __init__(self, dataset: h5py.Dataset) -> None:
        self._dataset, self.dtype = dataset, dataset.dtype
        self._filtered = bool(dataset.id.get_create_plist().get_nfilters())
        self._waiting: list[np.ndarray] = []
        self._waiting_rows = 0

    def append(self, values: np.ndarray) -> None:
        """Append rows of the dataset's type; they must stay as they are until the file is closed."""
        if not len(values):
            return
        self._waiting.append(values)
        self._waiting_rows += len(values)
        chunk = self._dataset.chunks[0]
        if self._waiting_rows >= chunk:
            self._write(self._waiting_rows // chunk * chunk)

    def flush(self) -> None:
        if self._waiting_rows:
            self._write(self._waiting_rows)

    def _write(self, rows: int) -> None:
        values = self._waiting[0] if len(self._waiting) == 1 else np.concatenate(self._waiting)
        start = self._dataset.shape[0]
        self._dataset.resize(start + rows, axis=0)
        self._put(start, values[:rows])
        self._waiting = [values[rows:].copy()] if rows < len(values) else []
        self._waiting_rows -= rows

    def _put(self, start: int, now: np.ndarray) -> None:
        """Whole chunks of plain rows go to the file as they are; HDF5 would copy them into its cache first."""
        chunk = self._dataset.chunks
        if len(now) % chunk[0] or now.shape[1:] != chunk[1:] or self._filtered:
            self._dataset[start:] = now
            return
        for first in range(0, len(now), chunk[0]):
            place = (start + first, *(0 for _ in chunk[1:]))
            self._dataset.id.write_direct_chunk(place, now[first : first + chunk[0]])


class _Digests:
    """Digests of growing datasets, made by a thread while their rows are written."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._digests = {path: xxhash.xxh3_128() for path in paths}
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="store-digests")
        self._last: Future[None] | None = None

    def update(self, columns: Mapping[str, np.ndarray]) -> None:
        """Returns when the columns before these are done."""
        self._wait()
        self._last = self._worker.submit(self._add, columns)

    def close(self) -> dict[str, str]:
        """Path → digest of all its rows."""
        self._worker.shutdown()
        self._wait()
        return {path: _told(digest) for path, digest in self._digests.items()}

    def discard(self) -> None:
        """End the thread, whatever came of its work."""
        self._worker.shutdown()

    def _add(self, columns: Mapping[str, np.ndarray]) -> None:
        for path, values in columns.items():
            self._digests[path].update(values.data)

    def _wait(self) -> None:
        if self._last is not None:
            self._last.result()


class ShardFile:
    """A shard in hand.

    Args:
        path: its final name; until :meth:`close` and :meth:`publish` the rows are in a hidden temporary file beside it.
        config: sites, widths, dtype and compression.
    """

    def __init__(self, path: Path, config: StoreConfig) -> None:
        self.path, self.rows = path, 0
        self._temporary = temporary_name(path)
        with storage_errors(path):
            self._bytes = PatientFile(self._temporary)
            self._file = h5py.File(self._bytes, "w")
            self._file.attrs["format"] = FORMAT
            self._file.attrs["version"] = VERSION
            self._file.attrs["config_hash"] = config.hash
            self._columns = {f"sites/{site}": self._site(site, width, config) for site, width in config.sites.items()}
            for site in config.sites:
                self._columns[f"norms/{site}"] = self._column(f"norms/{site}", np.dtype("<f4"))
            for name, dtype in TOKEN_COLUMNS.items():
                self._columns[f"tokens/{name}"] = self._column(f"tokens/{name}", dtype)
        self._digests = _Digests(self._columns)

    def _site(self, site: str, width: int, config: StoreConfig) -> _Column:
        chunk = (block_rows(width, config.dtype), width)
        dataset = self._file.create_dataset(
            f"sites/{site}",
            (0, width),
            DTYPES[config.dtype],
            maxshape=(None, width),
            chunks=chunk,
            **dataset_options(config.compression, self.path),
        )
        dataset.attrs["dtype"] = config.dtype
        return _Column(dataset)

    def _column(self, path: str, dtype: np.dtype) -> _Column:
        return _Column(self._file.create_dataset(path, (0,), dtype, maxshape=(None,), chunks=(COLUMN_CHUNK,)))

    def append(self, columns: Mapping[str, np.ndarray]) -> None:
        """Append the same number of rows to every dataset; keys are paths in the file, such as ``tokens/role``."""
        lengths = {path: len(values) for path, values in columns.items()}
        if set(lengths) != set(self._columns) or len(set(lengths.values())) != 1:
            raise ValueError(f"shard rows must have one length and fill every dataset, got {lengths}")
        stored = {path: np.ascontiguousarray(columns[path], column.dtype) for path, column in self._columns.items()}
        self._digests.update(stored)
        with storage_errors(self.path):
            for path, values in stored.items():
                self._columns[path].append(values)
            self._bytes.check()
        self.rows += next(iter(lengths.values()))

    def close(self) -> None:
        """Write what waits; nothing can be appended any more."""
        with storage_errors(self.path):
            for column in self._columns.values():
                column.flush()
            self._file.close()
            self._bytes.check()
            self._bytes.close()

    def publish(self) -> tuple[int, str, dict[str, str]]:
        """Flush and name the closed file; gives its size in bytes, its checksum, and the digest of every dataset.

        May run in another thread than the rest: it has nothing to do with HDF5.
        """
        with storage_errors(self.path):
            size, digest = self._temporary.stat().st_size, checksum(self._temporary)
            publish(self._temporary, self.path)
        return size, digest, self._digests.close()

    def discard(self) -> None:
        """Drop the shard in hand. Never raises: it is called while another error is on its way."""
        self._digests.discard()
        with suppress(OSError, RuntimeError):
            self._file.close()
        with suppress(OSError):
            self._bytes.close()
            self._temporary.unlink(missing_ok=True)


class OpenShards:
    """The shards of a store for reading; files are opened when needed and the least recently used is closed.

    Safe to use from several threads: a shuffled stream reads ahead in a thread of its own.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)
        self._files: OrderedDict[int, h5py.File] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, shard: int, dataset: str, rows: slice) -> np.ndarray:
        """Rows of a dataset of one shard; InputError names a shard that cannot be read."""
        with self._lock:
            try:
                values: np.ndarray = self._file(shard)[dataset][rows]
            except (OSError, KeyError) as error:
                raise InputError(
                    f"{self._paths[shard]}: {dataset} of this shard cannot be read ({error}); cache anew"
                ) from error
        return values

    def close(self) -> None:
        with self._lock:
            while self._files:
                self._files.popitem()[1].close()

    def _file(self, shard: int) -> h5py.File:
        if shard in self._files:
            self._files.move_to_end(shard)
        else:
            while len(self._files) >= OPEN_FILES:
                self._files.popitem(last=False)[1].close()
            self._files[shard] = h5py.File(self._paths[shard], "r")
        return self._files[shard]


def checksum(path: Path) -> str:
    """``xxh3_128:`` and the hexadecimal digest of a file's bytes."""
    digest = xxhash.xxh3_128()
    block = memoryview(bytearray(1 << 18))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(block):
            digest.update(block[:count])
    return _told(digest)


def dataset_digest(dataset: h5py.Dataset) -> str:
    """Digest of a dataset's rows as stored: uncompressed, in row order, little-endian; chunk by chunk.

    Raises:
        OSError or RuntimeError: HDF5 cannot read it.
    """
    digest = xxhash.xxh3_128()
    step = (dataset.chunks or (1024,))[0]
    for start in range(0, dataset.shape[0], step):
        digest.update(np.ascontiguousarray(dataset[start : start + step]).data)
    return _told(digest)


def _told(digest: xxhash.xxh3_128) -> str:
    return f"xxh3_128:{digest.hexdigest()}"
