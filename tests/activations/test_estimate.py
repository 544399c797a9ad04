from __future__ import annotations

import dataclasses
import errno
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from activations.caching import cache_activations
from activations.estimate import Estimate, expect, shard_bytes
from activations.manifest import StoreConfig, read_manifest
from activations.models.base import ReportModel
from activations.roles import Role
from activations.store import ActivationStore
from activations.summary import StoreSummary
from activations.writer import StoreWriter
from radiology.study import Study

SITES = ["language.1", "language.3"]


def cache(model: ReportModel, studies: Any, run: Path, **options: Any) -> StoreSummary:
    settings: dict[str, Any] = {"roles": "content", "batch_size": 3, "shard_rows": 500, "max_new_tokens": 5} | options
    return cache_activations(model, studies, SITES, run / "activations", **settings)


@pytest.mark.parametrize(
    ("widths", "shard_rows", "max_tokens"),
    [({"language.0": 8, "language.1": 4}, 150, 40), ({"language.0": 2048}, 700, 300), ({"projector": 512}, 9000, 90)],
)
def test_bytes_are_those_of_the_shards(
    tmp_path: Path, fill: Callable, widths: dict[str, int], shard_rows: int, max_tokens: int
) -> None:
    store = ActivationStore(
        fill(tmp_path / "activations", range(100), widths=widths, shard_rows=shard_rows, max_tokens=max_tokens)
    )
    written = sum(shard.bytes for shard in store.manifest.shards)
    expected = shard_bytes(store.manifest.config, store.rows, store.n_studies, shard_rows)
    assert expected == pytest.approx(written, rel=0.1)


def test_the_first_batch_is_taken_for_all_studies(tmp_path: Path, make_rows: Callable) -> None:
    config = StoreConfig("none", "fingerprint", {"language.0": 8}, "float32", (Role.IMAGE, Role.REPORT))
    batch = [make_rows(number, dict(config.sites)) for number in (1, 2)]
    batch = [dataclasses.replace(one, record={**one.record, "preview_frontal": bytes(1000)}) for one in batch]
    rows = sum(len(one.positions) for one in batch)
    with StoreWriter(tmp_path, config, shard_rows=500) as writer:
        estimate = expect(batch, 3.0, 100, 20, writer)
    assert (estimate.studies, estimate.rows, estimate.seconds) == (100, rows * 50, 30.0)
    assert 100_000 < estimate.bytes - shard_bytes(config, rows * 50, 100, 500) < 110_000
    assert 100_000 < estimate.table_bytes < 110_000
    assert estimate.needed_bytes > 1.05 * (estimate.bytes + 100_000)
    assert estimate.free_bytes == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.1)


def test_a_disk_is_refused_when_less_is_free_than_expected_and_five_per_cent(tmp_path: Path) -> None:
    Estimate(3, 10, 1_000_000, 1.0, free_bytes=1_050_000).require_room(tmp_path)
    with pytest.raises(OSError, match="too little room") as caught:
        Estimate(3, 10, 1_000_000, 1.0, free_bytes=1_049_999).require_room(tmp_path)
    assert caught.value.errno == errno.ENOSPC
    for said in (str(tmp_path), "10 rows of 3 studies", "1.1 MB (1,050,000 bytes)", "1.0 MB (1,049,999 bytes)"):
        assert said in str(caught.value)


def test_it_is_told_once_before_anything_is_written(model: ReportModel, studies: list[Study], tmp_path: Path) -> None:
    told: list[Estimate] = []

    def announce(estimate: Estimate) -> None:
        assert not list(tmp_path.rglob("*.h5*"))
        told.append(estimate)

    summary = cache(model, studies, tmp_path, announce=announce)
    (estimate,) = told
    assert estimate.studies == len(studies)
    assert estimate.rows == pytest.approx(summary.rows, rel=0.5)
    assert estimate.bytes == pytest.approx(summary.bytes + (tmp_path / "studies.parquet").stat().st_size, rel=0.5)
    assert estimate.seconds > 0
    assert summary.waited >= 0
    cache(model, studies, tmp_path, announce=announce)  # it is complete: nothing is to come
    assert len(told) == 1


def test_a_resumed_run_and_other_writers_count_what_is_still_to_come(
    model: ReportModel, studies: list[Study], tmp_path: Path
) -> None:
    def stopping(count: int) -> Iterator[Study]:
        yield from studies[:count]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cache(model, stopping(9), tmp_path)
    manifest = read_manifest(tmp_path / "activations")
    assert manifest is not None
    told: list[Estimate] = []
    cache(model, studies, tmp_path, announce=told.append)
    assert [estimate.studies for estimate in told] == [len(studies) - manifest.n_studies]
    for rank in (0, 1):
        cache(model, studies, tmp_path / "two", announce=told.append, rank=rank, world=2)
    assert [estimate.studies for estimate in told[1:]] == [12, 6]


class Claiming(Sequence[Study]):
    """Studies of which there are said to be many more than there are."""

    def __init__(self, studies: list[Study], claimed: int) -> None:
        self._studies, self._claimed = studies, claimed

    def __len__(self) -> int:
        return self._claimed

    def __getitem__(self, index: Any) -> Any:
        return self._studies[index]


def test_a_disk_without_room_is_refused_and_nothing_is_left(
    model: ReportModel, studies: list[Study], tmp_path: Path
) -> None:
    told: list[Estimate] = []
    with pytest.raises(OSError, match="too little room") as caught:
        cache(model, Claiming(studies, 10**12), tmp_path, announce=told.append)
    assert caught.value.errno == errno.ENOSPC
    assert len(told) == 1  # what is expected is told before it is refused
    assert read_manifest(tmp_path / "activations") is None
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert cache(model, studies, tmp_path).complete


def test_a_source_of_unknown_length_is_cached_without_estimate(
    model: ReportModel, studies: list[Study], tmp_path: Path
) -> None:
    told: list[Estimate] = []
    assert cache(model, iter(studies[:3]), tmp_path, announce=told.append).studies == 3
    assert not told
