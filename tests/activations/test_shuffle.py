from __future__ import annotations

import threading
from itertools import islice, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from activations.shuffle import READERS, Place, Plan, Source, batches, mixing, row_order
from radiology.errors import InputError


def new(rows: int) -> np.ndarray:
    return np.full((rows, 1), np.nan, dtype=np.float32)


def read(start: int, stop: int, into_nd: np.ndarray | None) -> np.ndarray:
    """A store whose only column is the row number; every third block is not read into the memory offered."""
    rows_nd = np.arange(start, stop, dtype=np.float32)[:, None]
    if into_nd is None or start % 3 == 0:
        return rows_nd
    into_nd[:] = rows_nd
    return into_nd


SOURCE = Source(read, new)


def given_rows(plan: Plan, size: int, place: Place) -> list[list[int]]:
    return [[int(v) for v in batch[:, 0]] for batch in batches(plan, size, place, SOURCE, torch.from_numpy)]


def flat(parts: list[list[int]]) -> list[int]:
    return [row for part in parts for row in part]


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Stores with odd shard sizes, filters with holes, pools smaller and larger than the store."""
    shards = draw(st.lists(st.integers(0, 23), min_size=1, max_size=5))
    block = draw(st.integers(1, 9))
    starts = np.cumsum([0, *shards])
    spans = [
        (a, min(a + block, int(end))) for begin, end in pairwise(starts) for a in range(int(begin), int(end), block)
    ]
    keep = np.array(draw(st.lists(st.booleans(), min_size=int(starts[-1]), max_size=int(starts[-1]))), dtype=bool)
    return Plan.of(keep, spans, draw(st.integers(0, 9)), draw(st.integers(1, 40)))


@given(plans(), st.integers(1, 12), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_each_row_comes_exactly_once_an_epoch(plan: Plan, size: int, epoch: int) -> None:
    parts = given_rows(plan, size, Place(epoch))
    assert sorted(flat(parts)) == np.flatnonzero(plan.keep).tolist()
    assert all(len(part) == size for part in parts[:-1])


@given(plans(), st.integers(1, 12), st.data())
@settings(max_examples=60, deadline=None)
def test_a_restart_gives_what_the_uninterrupted_run_gives(plan: Plan, size: int, data: st.DataObject) -> None:
    offset = data.draw(st.integers(0, plan.rows))
    assert flat(given_rows(plan, size, Place(1, offset))) == flat(given_rows(plan, size, Place(1)))[offset:]


@given(plans(), st.integers(1, 12), st.integers(1, 3), st.integers(0, 6))
@settings(max_examples=60, deadline=None)
def test_endless_batches_are_full_and_join_epochs(plan: Plan, size: int, world: int, skip: int) -> None:
    if not plan.rows:
        return
    order = np.concatenate([row_order(plan, epoch) for epoch in range(2 + (skip + 4) * size * world // plan.rows)])
    epoch, offset = divmod(skip * size * world, plan.rows)
    for rank in range(world):
        stream = batches(plan, size, Place(epoch, offset, True, rank, world), SOURCE, torch.from_numpy)
        for number, batch in enumerate(islice(stream, 4), start=skip):
            whole = order[number * size * world : (number + 1) * size * world]
            assert batch[:, 0].tolist() == whole[rank::world].tolist()


def test_order_depends_on_seed_and_epoch_alone() -> None:
    spans = [(a, a + 10) for a in range(0, 200, 10)]
    keep = np.ones(200, dtype=bool)
    first = row_order(Plan.of(keep, spans, 7, 60), 0)
    assert first.tolist() == row_order(Plan.of(keep, spans, 7, 60), 0).tolist()
    assert first.tolist() != row_order(Plan.of(keep, spans, 8, 60), 0).tolist()
    assert first.tolist() != row_order(Plan.of(keep, spans, 7, 60), 1).tolist()


def test_bad_places_are_refused() -> None:
    plan = Plan.of(np.ones(4, dtype=bool), [(0, 4)], 0, 4)
    with pytest.raises(InputError, match="behind the end"):
        given_rows(plan, 2, Place(0, 5))
    with pytest.raises(InputError, match="batch_size: 0"):
        given_rows(plan, 0, Place())
    with pytest.raises(InputError, match="negative"):
        Place(-1)
    with pytest.raises(InputError, match="rank: 2"):
        Place(rank=2, world=2)


def test_a_reading_error_reaches_the_consumer() -> None:
    def broken(start: int, stop: int, into_nd: np.ndarray | None) -> np.ndarray:
        raise OSError("the disk is gone")

    plan = Plan.of(np.ones(4, dtype=bool), [(0, 4)], 0, 4)
    with pytest.raises(OSError, match="the disk is gone"):
        next(batches(plan, 2, Place(), Source(broken, new), torch.from_numpy))


def test_mixing_tells_a_good_shuffle_from_a_bad_one() -> None:
    rows, block = 20_000, 100
    groups = np.arange(rows) // 250  # studies of 250 rows
    spans = [(a, a + block) for a in range(0, rows, block)]
    keep = np.ones(rows, dtype=bool)
    whole = mixing(Plan.of(keep, spans, 0, rows), groups, 500)
    pooled = mixing(Plan.of(keep, spans, 0, rows // 4), groups, 500)
    single = mixing(Plan.of(keep, spans, 0, 1), groups, 500)
    assert whole == pytest.approx(1, abs=0.01)
    assert single < 0.5 < pooled < whole  # more rows in a pool mix better
    with pytest.raises(InputError, match="more than the 20000 rows"):
        mixing(Plan.of(keep, spans, 0, 1), groups, rows + 1)


@given(plans(), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_every_block_is_read_once(plan: Plan, epoch: int) -> None:
    read_blocks: list[tuple[int, int]] = []

    def noted(start: int, stop: int, into_nd: np.ndarray | None) -> np.ndarray:
        read_blocks.append((start, stop))
        return read(start, stop, into_nd)

    stream = batches(plan, 5, Place(epoch), Source(noted, new), torch.from_numpy)
    assert flat([[int(v) for v in batch[:, 0]] for batch in stream]) == flat(given_rows(plan, 5, Place(epoch)))
    assert sorted(read_blocks) == [(a, b) for a, b in plan.blocks.tolist()]


@pytest.mark.parametrize("pool", [1, 60, 200])
def test_batches_that_are_kept_do_not_change_while_pools_are_used_again(pool: int) -> None:
    plan = Plan.of(np.arange(200) % 3 > 0, [(a, a + 10) for a in range(0, 200, 10)], 0, pool)
    kept = list(batches(plan, 7, Place(), SOURCE, torch.from_numpy))
    assert torch.cat(kept)[:, 0].tolist() == row_order(plan, 0).tolist()


def readers() -> int:
    return sum(thread.name.startswith("activations") for thread in threading.enumerate())


def test_the_reading_threads_end_with_the_iterator() -> None:
    plan = Plan.of(np.ones(200, dtype=bool), [(a, a + 10) for a in range(0, 200, 10)], 0, 20)
    before = readers()
    stream = batches(plan, 5, Place(endless=True), SOURCE, torch.from_numpy)
    next(stream)
    assert before < readers() <= before + READERS
    stream.close()  # type: ignore[attr-defined]
    assert readers() == before


def test_no_more_than_one_pool_is_read_ahead() -> None:
    blocks_read: list[int] = []

    def counted(start: int, stop: int, into_nd: np.ndarray | None) -> np.ndarray:
        blocks_read.append(start)
        return read(start, stop, into_nd)

    plan = Plan.of(np.ones(200, dtype=bool), [(a, a + 10) for a in range(0, 200, 10)], 0, 20)
    for number, _ in enumerate(batches(plan, 5, Place(), Source(counted, new), torch.from_numpy)):
        pool_in_use = number * 5 // 20
        assert len(blocks_read) <= 2 * (pool_in_use + 2)
