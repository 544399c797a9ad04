"""A global shuffle that needs little memory, is deterministic, and can be entered at any row.

Rows are cut into blocks that are cheap to read (about 1 MiB). An epoch permutes all blocks, takes them pool by pool
(about 128 MiB), and permutes all rows of a pool. The order follows from (seed, epoch) alone, so a position is found by
counting, without reading what comes before it.

In memory are at any time two pools as stored (the one in use and the next, which threads read meanwhile), one block
a thread, and the batch. Memory of batches that nobody holds any more is used for the next ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from activations.manifest import DTYPES
from activations.memory import Recycled
from activations.stored_rows import READERS
from radiology.errors import InputError

POOL_BYTES = 128 << 20


@dataclass(frozen=True)
class Source:
    """How rows are fetched.

    Attributes:
        read: (first row, last + 1, memory for them or None) → the rows as stored, in that memory if it could be used.
            Called from several threads at once.
        new: memory for so many rows.
    """

    read: Callable[[int, int, np.ndarray | None], np.ndarray]
    new: Callable[[int], np.ndarray]


def pool_rows(width: int, dtype: str) -> int:
    """Rows of one mixing pool: 128 MiB of stored rows."""
    return max(POOL_BYTES // (width * DTYPES[dtype].itemsize), 1)


@dataclass(frozen=True)
class Plan:
    """Which rows take part, and how they are grouped.

    Attributes:
        keep: (rows,) bool.
        blocks: (b, 2) first and last + 1 row of each block that has kept rows.
        counts: (b,) kept rows of each block.
        pool: rows of a pool; a pool ends with the block that reaches it.
    """

    keep: np.ndarray
    blocks: np.ndarray
    counts: np.ndarray
    seed: int
    pool: int

    @staticmethod
    def of(keep: np.ndarray, spans: Sequence[tuple[int, int]], seed: int, pool: int) -> Plan:
        """Plan for the kept rows of blocks given as (first, last + 1)."""
        blocks = np.asarray(spans, dtype=np.int64).reshape(-1, 2)
        before = np.concatenate([[0], np.cumsum(keep)])
        counts = before[blocks[:, 1]] - before[blocks[:, 0]]
        return Plan(keep, blocks[counts > 0], counts[counts > 0], seed, pool)

    @property
    def rows(self) -> int:
        """Kept rows, that is rows of an epoch."""
        return int(self.counts.sum())

    def pools(self, epoch: int) -> list[np.ndarray]:
        """The pools of an epoch, each an array of block numbers."""
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.blocks))
        before = np.cumsum(self.counts[order]) - self.counts[order]
        edges = np.flatnonzero(np.diff(before // self.pool)) + 1
        return np.split(order, edges)

    def permutation(self, epoch: int, pool: int, rows: int) -> np.ndarray:
        """Order of the rows inside a pool."""
        return np.random.default_rng([self.seed, epoch, pool]).permutation(rows)

    def row_numbers(self, blocks: np.ndarray) -> np.ndarray:
        """Kept row numbers of the given blocks, ascending."""
        spans = self.blocks[np.sort(blocks)]
        return np.concatenate([np.flatnonzero(self.keep[a:b]) + a for a, b in spans])

    def read(self, blocks: np.ndarray, source: Source, rows_nd: np.ndarray, readers: Executor) -> PoolRows:
        """Begin to read the rows of :meth:`row_numbers` into ``rows_nd``, which has room for them."""
        numbers = np.sort(blocks)
        counts = self.counts[numbers]
        ends = np.cumsum(counts)
        parts = [
            readers.submit(self._read_block, source, int(first), int(last), rows_nd[end - count : end])
            for (first, last), end, count in zip(self.blocks[numbers], ends, counts, strict=True)
        ]
        return PoolRows(rows_nd, rows_nd[: ends[-1]], parts)

    def _read_block(self, source: Source, first: int, last: int, place_nd: np.ndarray) -> None:
        if len(place_nd) < last - first:
            place_nd[:] = source.read(first, last, None)[self.keep[first:last]]
        elif (block_nd := source.read(first, last, place_nd)) is not place_nd:
            place_nd[:] = block_nd


@dataclass(frozen=True)
class PoolRows:
    """Rows of a pool on their way: ``memory_nd`` holds them, ``rows_nd`` (n, d) is its beginning."""

    memory_nd: np.ndarray
    rows_nd: np.ndarray
    parts: Sequence[Future[None]]

    def result(self) -> np.ndarray:
        """The rows, when all are there; raises what the first reading that failed has raised."""
        for part in self.parts:
            part.result()
        return self.rows_nd


@dataclass(frozen=True)
class Place:
    """Where a stream of batches begins, and which share of it is wanted; see ``ActivationStore.batches``."""

    epoch: int = 0
    offset: int = 0
    endless: bool = False
    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        if self.epoch < 0 or self.offset < 0:
            raise InputError(f"epoch and offset must not be negative, got {self.epoch} and {self.offset}")
        if not 0 <= self.rank < self.world:
            raise InputError(f"rank: {self.rank} is not one of {self.world}")


def row_order(plan: Plan, epoch: int) -> np.ndarray:
    """Row numbers of a whole epoch in the order in which they are given, (n,)."""
    parts = []
    for number, blocks in enumerate(plan.pools(epoch)):
        rows = plan.row_numbers(blocks)
        parts.append(rows[plan.permutation(epoch, number, len(rows))])
    return np.concatenate(parts)


def batches(
    plan: Plan,
    batch_size: int,
    place: Place,
    source: Source,
    decode: Callable[[np.ndarray], torch.Tensor],
) -> Iterator[torch.Tensor]:
    """Batches of decoded rows from ``place`` on; see ``ActivationStore.batches``."""
    if batch_size < 1:
        raise InputError(f"batch_size: {batch_size}; a batch has at least one row")
    if place.offset > plan.rows:
        raise InputError(f"offset: {place.offset} is behind the end of the epoch ({plan.rows} rows)")
    return _batches(_pools(plan, place, source), batch_size, place, decode)


def _batches(
    pools: Iterator[tuple[np.ndarray, np.ndarray]],
    batch_size: int,
    place: Place,
    decode: Callable[[np.ndarray], torch.Tensor],
) -> Iterator[torch.Tensor]:
    memory, need = Recycled(), batch_size * place.world
    batch_nd: np.ndarray | None = None
    seen = mine = 0  # rows of this batch so far: of all ranks, and of this one
    for stored_nd, order in pools:
        at = 0
        while at < len(order):
            if batch_nd is None:
                batch_nd = memory.empty((batch_size, *stored_nd.shape[1:]), stored_nd.dtype)
            taken = order[at : at + need - seen]
            share = taken[(place.rank - seen) % place.world :: place.world]
            # "clip" spares a buffer; no number is out of range
            np.take(stored_nd, share, axis=0, out=batch_nd[mine : mine + len(share)], mode="clip")
            at, seen, mine = at + len(taken), seen + len(taken), mine + len(share)
            if seen == need:
                yield decode(batch_nd)
                batch_nd, seen, mine = None, 0, 0
    if batch_nd is not None and mine:
        yield decode(batch_nd[:mine])


def _pools(plan: Plan, place: Place, source: Source) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pools with the order of their rows; the next pool is read while the present one is used.

    A pool's memory is used again for the pool after the next: copy what is to be kept.
    """
    todo = _schedule(plan, place)
    readers = ThreadPoolExecutor(READERS, thread_name_prefix="activations")

    def start(used_nd: np.ndarray | None) -> tuple[PoolRows, np.ndarray] | None:
        following = next(todo, None)
        if following is None:
            return None
        blocks, order = following
        rows = int(plan.counts[blocks].sum())
        memory_nd = used_nd if used_nd is not None and len(used_nd) >= rows else source.new(rows)
        return plan.read(blocks, source, memory_nd, readers), order

    try:
        used_nd: np.ndarray | None = None
        coming = start(None)
        while coming is not None:
            pool, order = coming
            stored_nd = pool.result()
            coming, used_nd = start(used_nd), pool.memory_nd
            yield stored_nd, order
    finally:
        readers.shutdown(cancel_futures=True)


def _schedule(plan: Plan, place: Place) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Blocks and row order of every pool from ``place`` on; the first order begins in its middle."""
    epoch, skip = place.epoch, place.offset
    while True:
        for number, blocks in enumerate(plan.pools(epoch)):
            rows = int(plan.counts[blocks].sum())
            if skip >= rows:
                skip -= rows
                continue
            yield blocks, plan.permutation(epoch, number, rows)[skip:]
            skip = 0
        if not place.endless:
            return
        epoch += 1


def mixing(plan: Plan, groups: np.ndarray, batch_size: int, epoch: int = 0) -> float:
    """Quality of the shuffle: how evenly the groups (studies) of rows are spread over batches.

    Mean entropy of the group frequencies within a batch, divided by the same for a perfect shuffle of the same rows.
    1 is perfect; rows in storage order give values near 0.

    Args:
        groups: (rows,) group of every row of the store, such as its study.
    """

    def mean_entropy(order: np.ndarray) -> float:
        entropies = []
        for start in range(0, len(order) - batch_size + 1, batch_size):
            _, counts = np.unique(groups[order[start : start + batch_size]], return_counts=True)
            shares = counts / counts.sum()
            entropies.append(float(-(shares * np.log(shares)).sum()))
        return float(np.mean(entropies))

    order = row_order(plan, epoch)
    if len(order) < batch_size:
        raise InputError(f"batch_size: {batch_size} is more than the {len(order)} rows of an epoch")
    perfect = mean_entropy(np.random.default_rng([plan.seed, epoch, len(plan.blocks), 1]).permutation(order))
    return mean_entropy(order) / perfect if perfect > 0 else 1.0
