"""Filling an activation store study by study, so that a killed process loses at most the shard in hand.

A full shard is checked, flushed and named in a thread while the next one is filled, since that takes a disk as long as
the writing. It stays in hand until it has its name.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch

from activations import studies_files
from activations.encoding import block_rows, decode, encode, round_to
from activations.files import exclusive, make_folder, storage_errors
from activations.manifest import Manifest, ShardRecord, StoreConfig, read_manifest, require_shard
from activations.roles import TokenTable
from activations.shard import TOKEN_COLUMNS, ShardFile, shard_name
from radiology.errors import InputError

DEFAULT_SHARD_ROWS = 65_536
#: A shard is closed after so many studies even if few of their tokens are kept, so that little work is at stake.
SHARD_STUDIES = 256
#: Path in a shard → values, all of the same number of rows.
Columns = dict[str, np.ndarray]


@dataclass(frozen=True)
class StudyRows:
    """What is stored of one study.

    Attributes:
        record: its row of ``studies.parquet``; ``record["study"]`` is its number.
        tokens: the kept tokens, n of them.
        positions: their places in the prompt, (n,) int.
        rows: site → (n, d) activations.
    """

    record: Mapping[str, Any]
    tokens: TokenTable
    positions: np.ndarray
    rows: Mapping[str, torch.Tensor]


class StoreWriter:
    """One writer of a store (one of ``config.writers``), used as a context manager.

    On entering, what an earlier process left unfinished is removed; :attr:`studies_done` says where to go on. A shard
    is full with the first :meth:`add` that brings it to ``shard_rows`` rows or 256 studies, so it holds whole studies.
    An error in naming it is raised when the next one is full, by :meth:`finish`, or on leaving the block.

    Raises:
        InputError: the store there was written with another configuration, another process is writing it, or a
            finished shard of this writer is missing or cut off.
        OSError: the disk refuses; finished shards stay and the same command goes on from them.
    """

    def __init__(
        self, directory: Path, config: StoreConfig, *, rank: int = 0, shard_rows: int = DEFAULT_SHARD_ROWS
    ) -> None:
        if not 0 <= rank < config.writers:
            raise InputError(
                f"rank: {rank} is not one of the store's {config.writers} writers (0 … {config.writers - 1})"
            )
        if shard_rows < 1:
            raise InputError(f"shard_rows: {shard_rows}; a shard holds at least one row")
        self.directory, self.config, self.rank, self.shard_rows = directory, config, rank, shard_rows
        self._shards: list[ShardRecord] = []
        self._shard: ShardFile | None = None
        self._records: list[Mapping[str, Any]] = []
        #: The full shard on its way to the disk, and the thread that brings it there.
        self._leaving: tuple[ShardFile, Future[ShardRecord]] | None = None
        self._publisher = ThreadPoolExecutor(1, thread_name_prefix="store-publisher")
        self._begun = 0
        self._locks = ExitStack()
        self.complete = False

    @property
    def rows(self) -> int:
        """Rows written by this writer, those in hand included."""
        in_hand = (self._leaving[0] if self._leaving else None, self._shard)
        return sum(shard.rows for shard in self._shards) + sum(shard.rows for shard in in_hand if shard)

    @property
    def studies_done(self) -> int:
        """How many studies of this writer lie in finished shards."""
        return sum(shard.n_studies for shard in self._shards)

    def stored_records(self, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Rows of the study table that this writer has finished, in order; ``columns`` must hold ``study``."""
        manifest = Manifest(self.config, tuple(self._shards), complete=self.complete)
        for record in studies_files.all_records(self.directory, manifest, columns):
            if record["study"] % self.config.writers == self.rank:
                yield record

    def __enter__(self) -> Self:
        with storage_errors(self.directory):
            make_folder(self.directory)
        try:
            alone = self._locks.enter_context(exclusive(self.directory / f".writer-{self.rank:05d}.lock", wait=False))
            if not alone:
                raise InputError(
                    f"{self.directory}: another process is writing this store; wait for it or end it first"
                )
            manifest = self._update_manifest(lambda there: there)
            self._shards, self.complete = list(manifest.shards_of(self.rank)), manifest.complete
            for shard in self._shards:  # before a model runs for the studies behind them
                require_shard(self.directory, shard)
            self._begun = len(self._shards)
            self._remove_unfinished()
        except BaseException:
            self._locks.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.settle()
        except Exception:
            if error is None:
                raise
        finally:
            self._publisher.shutdown()
            if self._shard is not None:
                self._shard.discard()
                self._shard = None
            self._locks.close()

    def add(self, studies: Sequence[StudyRows]) -> None:
        """Append studies, in ascending order of their numbers."""
        if self._shard is None:
            self._shard = ShardFile(self.directory / shard_name(self.rank, self._begun), self.config)
            self._begun += 1
        with closing(_one_ahead(self._columns, studies)) as columns_of:
            for study, columns in zip(studies, columns_of, strict=True):
                self._shard.append(columns)
                self._records.append(study.record)
        if self._shard.rows >= self.shard_rows or len(self._records) >= SHARD_STUDIES:
            self._send_off()

    def settle(self) -> None:
        """Wait until the last full shard has its name; raises what went wrong with it."""
        if self._leaving is None:
            return
        record = self._leaving[1]
        try:
            self._shards.append(record.result())
        finally:
            if record.done():  # not so if the waiting was interrupted
                self._leaving = None

    def finish(self) -> bool:
        """Close the last shard. True if this was the last writer and the store is now complete."""
        if self._shard is not None:
            self._send_off()
        self.settle()
        manifest = self._update_manifest(lambda there: there.with_writer(self.rank, tuple(self._shards), finished=True))
        self.complete = manifest.complete
        return self.complete

    def _columns(self, study: StudyRows) -> Columns:
        tokens = study.tokens
        columns: Columns = {}
        for site, width in self.config.sites.items():
            rows_nd = study.rows[site]
            if tuple(rows_nd.shape) != (len(tokens), width):
                raise ValueError(f"{site}: rows have shape {tuple(rows_nd.shape)}, expected {(len(tokens), width)}")
            columns[f"sites/{site}"], columns[f"norms/{site}"] = _stored(rows_nd, self.config.dtype)
        values = {
            "study": np.full(len(tokens), study.record["study"]),
            "position": study.positions,
            **{name: getattr(tokens, name) for name in ("token_id", "role", "image", "row", "col")},
        }
        for name, dtype in TOKEN_COLUMNS.items():
            columns[f"tokens/{name}"] = np.asarray(values[name]).astype(dtype)
        return columns

    def _send_off(self) -> None:
        """Have the full shard published; one leaves at a time."""
        self.settle()
        if self._shard is None:
            return
        shard, records = self._shard, self._records
        shard.close()
        self._shard, self._records = None, []
        self._leaving = shard, self._publisher.submit(self._publish, shard, records)

    def _publish(self, shard: ShardFile, records: Sequence[Mapping[str, Any]]) -> ShardRecord:
        """Study rows first, then the shard, then the manifest: what the manifest lists is always there."""
        try:
            studies_files.write_part(self.directory, self.rank, len(self._shards), records)
            size, digest, datasets = shard.publish()
        except BaseException:
            shard.discard()
            raise
        span = (int(records[0]["study"]), int(records[-1]["study"]))
        record = ShardRecord(shard.path.name, shard.rows, size, digest, span, len(records), datasets)
        finished = (*self._shards, record)
        self._update_manifest(lambda there: there.with_writer(self.rank, finished, finished=False))
        return record

    def _update_manifest(self, change: Callable[[Manifest], Manifest]) -> Manifest:
        """Read, change and write the manifest while no other writer does; the last writer to finish completes it."""
        with exclusive(self.directory / ".manifest.lock", wait=True):
            found = read_manifest(self.directory)
            there = Manifest(self.config) if found is None else found
            there.config.require_equal(self.config, self.directory)
            changed = change(there)
            if found is None and changed.shards:
                studies_files.remove_stale_table(self.directory)
            if not changed.complete and len(changed.finished) == self.config.writers:
                studies_files.join_parts(self.directory, changed)
                changed = replace(changed, complete=True)
            if changed != found and (changed.shards or changed.finished):
                changed.write(self.directory)
            if changed.complete:
                studies_files.remove_parts(self.directory)
        return changed

    def _remove_unfinished(self) -> None:
        """Remove this writer's files that the manifest does not list: they were in hand when a process ended."""
        listed = {shard.file for shard in self._shards}
        listed |= {studies_files.part_name(self.rank, number) for number in range(len(self._shards))}
        mine = re.compile(rf"\.?(shard|studies)-{self.rank:05d}-\d{{5}}\.(h5|parquet)(\.tmp)?")
        with storage_errors(self.directory):
            for path in self.directory.iterdir():
                if mine.fullmatch(path.name) and path.name not in listed:
                    path.unlink()


def _one_ahead(make: Callable[[StudyRows], Columns], studies: Sequence[StudyRows]) -> Generator[Columns, None, None]:
    """What is made of each study; a thread makes the next one while this one is used."""
    with ThreadPoolExecutor(1, thread_name_prefix="store-columns") as worker:
        waiting: deque[Future[Columns]] = deque()
        for study in studies:
            waiting.append(worker.submit(make, study))
            if len(waiting) > 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _stored(rows_nd: torch.Tensor, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows as they lie on disk, (n, d), and their norms, (n,). A value that is not finite shows in its row's norm."""
    stored_nd = round_to(rows_nd, dtype)
    norms = _norms(stored_nd, dtype)
    if not np.isfinite(norms).all():
        stored_nd = encode(rows_nd, dtype)  # says what is wrong, unless only the norm is out of range
    return stored_nd, norms


def _norms(stored_nd: np.ndarray, dtype: str) -> np.ndarray:
    """L2 norms of rows as stored, (n,) float32; block by block, since a float32 copy of all would leave the cache."""
    norms = np.empty(len(stored_nd), np.float32)
    step = block_rows(stored_nd.shape[1], dtype)
    for start in range(0, len(norms), step):
        norms[start : start + step] = decode(stored_nd[start : start + step], dtype).norm(dim=1).numpy()
    return norms
