"""A live stream holds what a store of the same studies holds, and can be entered anywhere."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from activations.caching import cache_activations
from activations.live import LiveBatches, LivePlan
from activations.models.base import ReportModel
from activations.roles import ROLE_PRESETS, Role
from activations.store import ActivationStore
from radiology.errors import InputError
from radiology.study import Study

SITE = "language.1"
PLAN = LivePlan(SITE, ROLE_PRESETS["content"], seed=3, max_new_tokens=5, pass_size=3, pool_rows=120)
BATCH = 50


class Given:
    """Studies in memory; counts how often each is asked for. Some cannot be used."""

    def __init__(self, studies: list[Study], broken: tuple[int, ...] = ()) -> None:
        self.studies, self.broken = studies, broken
        self.asked: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(self.studies)

    def __getitem__(self, number: int) -> Study | None:
        self.asked[number] += 1
        return None if number in self.broken else self.studies[number]


@pytest.fixture(scope="module")
def store(model: ReportModel, studies: list[Study], tmp_path_factory: pytest.TempPathFactory) -> ActivationStore:
    directory = tmp_path_factory.mktemp("live") / "activations"
    cache_activations(model, studies, [SITE], directory, roles="content", batch_size=3, max_new_tokens=5)
    return ActivationStore(directory)


def taken(stream: Iterator[torch.Tensor], batches: int) -> torch.Tensor:
    rows_nd = torch.cat(list(islice(stream, batches)))
    stream.close()  # type: ignore[attr-defined]
    return rows_nd


def epochs(source: LiveBatches, count: int) -> list[torch.Tensor]:
    """The rows of the first epochs, cut where the pools say that they end."""
    parts: list[torch.Tensor] = []
    stream, have = source(0), 0

    def ends() -> list[int]:
        rows = Counter[int]()
        for pool in source.log.pools:
            rows[pool.epoch] += pool.rows
        return [int(end) for end in np.cumsum([rows[epoch] for epoch in sorted(rows)])]

    while len(ends()) <= count or have < ends()[count - 1]:
        parts.append(next(stream))
        have += len(parts[-1])
    stream.close()  # type: ignore[attr-defined]
    rows_nd, bounds = torch.cat(parts), [0, *ends()[:count]]
    return [rows_nd[a:b] for a, b in pairwise(bounds)]


def test_every_kept_row_comes_once_an_epoch(model: ReportModel, studies: list[Study], store: ActivationStore) -> None:
    # one study a pass, here and there: no padding, so that rows are equal to the bit and can be counted
    alone = store.directory.parent / "alone"
    cache_activations(model, studies, [SITE], alone, roles="content", batch_size=1, max_new_tokens=5)
    source = LiveBatches(model, Given(studies), dataclasses.replace(PLAN, pass_size=1), BATCH)
    with ActivationStore(alone) as there:
        wanted = Counter(row.tobytes() for row in there.read(SITE, slice(None)))
    first, second = epochs(source, 2)
    assert Counter(row.tobytes() for row in first.numpy()) == wanted
    assert Counter(row.tobytes() for row in second.numpy()) == wanted
    assert not torch.equal(first, second)


def test_statistics_are_those_of_the_disk(model: ReportModel, studies: list[Study], store: ActivationStore) -> None:
    source = LiveBatches(model, Given(studies), PLAN, BATCH)
    (live_nd,) = epochs(source, 1)
    disk_nd = torch.from_numpy(store.read(SITE, slice(None)))
    assert live_nd.shape == disk_nd.shape
    assert live_nd.dtype == torch.float32
    for of in (lambda x: x.mean(0), lambda x: x.var(0), lambda x: x.norm(dim=1).quantile(torch.arange(11) / 10)):
        torch.testing.assert_close(of(live_nd), of(disk_nd), rtol=1e-3, atol=1e-3 * float(disk_nd.std()))
    shares: Counter[str] = Counter()
    for pool in source.log.pools:
        if pool.epoch == 0:
            shares.update(pool.rows_by_role)
    assert shares == Counter(Role(int(role)).name.lower() for role in store.column("role"))


def test_long_rows_are_left_out_as_from_the_disk(
    model: ReportModel, studies: list[Study], store: ActivationStore
) -> None:
    norms = store.norms(SITE)
    middle = np.sort(norms)[len(norms) // 4 : -len(norms) // 4]
    limit = float(middle[np.diff(middle).argmax()] + np.diff(middle).max() / 2)  # far from all rows
    source = LiveBatches(model, Given(studies), dataclasses.replace(PLAN, max_norm=limit), BATCH)
    (live_nd,) = epochs(source, 1)
    assert 0 < len(live_nd) == int((norms <= limit).sum()) < len(norms)
    assert sum(pool.left_by_norm for pool in source.log.pools if pool.epoch == 0) == int((norms > limit).sum())


@pytest.mark.parametrize("with_file", [True, False])
def test_a_restart_is_the_continuation(
    model: ReportModel, studies: list[Study], tmp_path: Path, with_file: bool
) -> None:
    whole_nd = taken(LiveBatches(model, Given(studies), PLAN, BATCH)(0), 30)
    log = tmp_path / "pools.jsonl" if with_file else None
    taken(LiveBatches(model, Given(studies), PLAN, BATCH, log=log)(0), 17)
    given = Given(studies)
    again = LiveBatches(model, given, PLAN, BATCH, log=log)
    torch.testing.assert_close(taken(again(17), 13), whole_nd[17 * BATCH :], rtol=0, atol=0)
    # pools that are known are not run again; without the file all are
    first = int(np.random.default_rng([PLAN.seed, 0]).permutation(len(studies))[0])
    assert (first in given.asked) == (not with_file)


def test_a_torn_log_costs_time_and_nothing_else(model: ReportModel, studies: list[Study], tmp_path: Path) -> None:
    log = tmp_path / "pools.jsonl"
    whole_nd = taken(LiveBatches(model, Given(studies), PLAN, BATCH, log=log)(0), 12)
    log.write_bytes(log.read_bytes()[:-30])
    torch.testing.assert_close(
        taken(LiveBatches(model, Given(studies), PLAN, BATCH, log=log)(8), 4), whole_nd[8 * BATCH :], rtol=0, atol=0
    )
    lines = log.read_text().splitlines()
    assert len(lines) == len(set(lines)) > 2


def test_the_order_follows_the_seed(model: ReportModel, studies: list[Study]) -> None:
    def rows(seed: int) -> torch.Tensor:
        return taken(LiveBatches(model, Given(studies), dataclasses.replace(PLAN, seed=seed), BATCH)(0), 4)

    assert torch.equal(rows(3), rows(3))
    assert not torch.equal(rows(3), rows(4))


def test_unusable_studies_are_left_out(model: ReportModel, studies: list[Study], store: ActivationStore) -> None:
    (live_nd,) = epochs(LiveBatches(model, Given(studies, broken=(1, 4)), PLAN, BATCH), 1)
    assert len(live_nd) == int((~np.isin(store.column("study"), (1, 4))).sum())


def test_a_log_of_other_studies_is_refused(model: ReportModel, studies: list[Study], tmp_path: Path) -> None:
    log = tmp_path / "pools.jsonl"
    taken(LiveBatches(model, Given(studies), PLAN, BATCH, log=log, study_key="a")(0), 1)
    with pytest.raises(InputError, match="not those that this training began with"):
        LiveBatches(model, Given(studies), PLAN, BATCH, log=log, study_key="b")


def test_a_study_that_is_lost_between_two_calls_is_told(
    model: ReportModel, studies: list[Study], tmp_path: Path
) -> None:
    log = tmp_path / "pools.jsonl"
    taken(LiveBatches(model, Given(studies), PLAN, BATCH, log=log)(0), 1)
    order = np.random.default_rng([PLAN.seed, 0]).permutation(len(studies))
    with pytest.raises(InputError, match="--no-resume"):
        taken(LiveBatches(model, Given(studies, broken=(int(order[0]),)), PLAN, BATCH, log=log)(0), 1)


def test_a_stream_without_rows_is_an_error(model: ReportModel, studies: list[Study]) -> None:
    with pytest.raises(InputError, match="no usable token"):
        next(LiveBatches(model, Given(studies), dataclasses.replace(PLAN, max_norm=0.0), BATCH)(0))
    with pytest.raises(InputError, match="gives none"):
        LiveBatches(model, Given([]), PLAN, BATCH)
