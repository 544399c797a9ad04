"""A writer that is killed, at any moment and as often as one likes, loses at most the shard in hand."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from activations import studies_files
from activations.manifest import read_manifest
from activations.shard import checksum
from activations.store import ActivationStore

SIGKILL = -9
STUDIES, SHARD_ROWS = 40, 150
#: A store for which every line can be tried: two shards.
FEW = {"studies": 5, "shard_rows": 60}
LOCK = re.compile(r"\.(manifest|writer-\d{5})\.lock")
SITES = ("language.0", "language.1")


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def killable() -> Iterator[Callable[..., dict[str, Any]]]:
    """``order(directory, …)`` has kill_writer.py fill a store and gives its answer."""
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("kill_writer.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
    )
    assert process.stdin
    assert process.stdout

    def order(directory: Path, **order: Any) -> dict[str, Any]:
        assert process.stdin
        assert process.stdout
        directory.parent.mkdir(exist_ok=True)
        order = {"studies": STUDIES, "shard_rows": SHARD_ROWS, **order, "directory": str(directory)}
        print(json.dumps(order), file=process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(process.stdout.readline())
        assert set(answer["status"]) <= {0, SIGKILL}
        return answer

    yield order
    process.stdin.close()
    assert process.wait(timeout=10) == 0
    process.stdout.close()


@pytest.fixture(scope="module")
def order() -> Iterator[Callable[..., dict[str, Any]]]:
    with killable() as order:
        yield order


@pytest.fixture(scope="module")
def uninterrupted(fill: Callable, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """``uninterrupted(studies, shard_rows, writers)``: that store, written by a process that nobody killed."""
    stores: dict[tuple[int, ...], Path] = {}

    def whole(studies: int = STUDIES, shard_rows: int = SHARD_ROWS, writers: int = 1) -> Path:
        key = (studies, shard_rows, writers)
        if key not in stores:
            directory = tmp_path_factory.mktemp("uninterrupted") / "activations"
            stores[key] = fill(directory, range(studies), shard_rows=shard_rows, writers=writers)
        return stores[key]

    return whole


def parts_of(directory: Path) -> dict[str, str]:
    """Checksums of everything that is part of a store."""
    return {path.name: checksum(path) for path in directory.iterdir() if not path.name.startswith(".")}


def require_whole_shards(directory: Path, uninterrupted: Path, make_rows: Callable) -> int:
    """What lies in a store while no writer is at work is whole and right; gives the number of its studies."""
    for path in directory.glob("shard-*.h5"):
        assert checksum(path) == checksum(uninterrupted / path.name), "a file with a shard's name is whole"
    manifest, whole = read_manifest(directory) if directory.exists() else None, read_manifest(uninterrupted)
    if manifest is None:
        return 0
    assert whole
    assert set(manifest.shards) <= set(whole.shards)
    with ActivationStore(directory, allow_incomplete=True) as store:
        store.verify()
        numbers = [
            number
            for shard in manifest.shards
            for number in range(shard.studies[0], shard.studies[1] + 1, manifest.config.writers)
        ]
        for site in SITES:
            rows = [make_rows(number, dict(manifest.config.sites)).rows[site] for number in numbers]
            expected_nd = torch.cat(rows).bfloat16().float().numpy() if rows else np.empty((0, store.width(site)))
            np.testing.assert_array_equal(store.read(site, slice(None)), expected_nd)
    listed = [record["study"] for record in studies_files.all_records(directory, manifest, ("study",))]
    assert sorted(listed) == sorted(numbers)
    return len(numbers)


def require_same(directory: Path, uninterrupted: Path) -> None:
    """The store has the bytes of the uninterrupted one, the table its rows, and nothing unfinished is left."""
    assert parts_of(directory) == parts_of(uninterrupted)
    ours, theirs = (pd.read_parquet(path.parent / "studies.parquet") for path in (directory, uninterrupted))
    pd.testing.assert_frame_equal(ours, theirs)
    hidden = [path.name for path in directory.parent.rglob(".*") if not LOCK.fullmatch(path.name)]
    assert hidden == []


def kill_at_random(
    order: Callable, whole: Path, folder: Path, kills: int, make_rows: Callable, **store: Any
) -> dict[str, int]:
    """Kill the writers of small stores ``kills`` times, one to three times each, at moments drawn over their run."""
    seed = int(os.environ.get("KILL_SEED", time.time_ns() % 2**32))
    print(f"KILL_SEED={seed}")  # pytest shows it when the test fails
    rng = random.Random(seed)
    writers = store.get("writers", 1)
    seconds = order(folder / "measured" / "activations", **store)["seconds"]
    killed, partly = 0, 0
    for run in itertools.count():
        directory = folder / str(run) / "activations"
        for _ in range(rng.randint(1, 3)):
            answer = order(directory, after=[rng.uniform(0, seconds) for _ in range(writers)], **store)
            killed += answer["status"].count(SIGKILL)
            partly += 0 < require_whole_shards(directory, whole, make_rows) < STUDIES
        order(directory, **store)
        require_same(directory, whole)
        shutil.rmtree(directory.parent)
        if killed >= kills:
            return {"kills": killed, "runs": run + 1, "with some shards finished": partly}
    raise AssertionError


def test_killed_at_random_moments(
    order: Callable, uninterrupted: Callable, tmp_path: Path, make_rows: Callable
) -> None:
    kill_at_random(order, uninterrupted(), tmp_path, 8, make_rows)


@pytest.mark.long
@pytest.mark.parametrize("behind", [True, False])
def test_killed_at_very_many_random_moments(
    order: Callable, uninterrupted: Callable, tmp_path: Path, make_rows: Callable, behind: bool
) -> None:
    told = kill_at_random(order, uninterrupted(), tmp_path, 150, make_rows, behind=behind)
    print(told)
    assert told["with some shards finished"] > 30


@pytest.mark.parametrize("kills", [6, pytest.param(100, marks=pytest.mark.long)])
def test_two_writers_killed_at_random_moments(
    order: Callable, uninterrupted: Callable, tmp_path: Path, make_rows: Callable, kills: int
) -> None:
    print(kill_at_random(order, uninterrupted(writers=2), tmp_path, kills, make_rows, writers=2))


def kill_at_lines(
    order: Callable, whole: Path, folder: Path, make_rows: Callable, wanted: Callable[[str], bool]
) -> int:
    """Kill a writer at every line of code whose function is wanted, in a store of its own each."""
    functions = order(folder / "watched" / "activations", watch=True, behind=False, **FEW)["said"][0]
    chosen = [(function, k) for function, n in Counter(functions).items() if wanted(function) for k in range(n)]
    for function, k in chosen:
        directory = folder / f"{function}-{k}" / "activations"
        answer = order(directory, line=[function, k], behind=False, **FEW)
        assert answer["status"] == [SIGKILL]
        require_whole_shards(directory, whole, make_rows)
        order(directory, behind=False, **FEW)
        require_same(directory, whole)
        shutil.rmtree(directory.parent)
    return len(chosen)


def test_killed_around_every_rename(
    order: Callable, uninterrupted: Callable, tmp_path: Path, make_rows: Callable
) -> None:
    """Before and after flushing a file, naming it and flushing the folder: of parts, shards, manifests, the table."""
    assert kill_at_lines(order, uninterrupted(**FEW), tmp_path, make_rows, lambda name: name == "files.publish") >= 24


@pytest.mark.long
def test_killed_at_every_line(order: Callable, uninterrupted: Callable, tmp_path: Path, make_rows: Callable) -> None:
    """Every line of the modules that touch the disk, so also between any two writes of HDF5."""
    computing = re.compile(r"writer\._columns|.*<\w+comp>")
    touching = kill_at_lines(
        order, uninterrupted(**FEW), tmp_path, make_rows, lambda name: not computing.fullmatch(name)
    )
    print(touching, "lines")


def test_a_power_cut_leaves_a_store_that_goes_on(
    order: Callable, uninterrupted: Callable, tmp_path: Path, make_rows: Callable
) -> None:
    """What was flushed at any time, and no more, is a store; no file has a name before its contents are flushed."""
    states = tmp_path / "states"
    states.mkdir()
    order(tmp_path / "run" / "activations", flushed=str(states), **FEW)
    done = []
    for state in sorted(states.iterdir()):
        directory = state / "activations"
        done.append(require_whole_shards(directory, uninterrupted(**FEW), make_rows))
        order(directory, **FEW)
        require_same(directory, uninterrupted(**FEW))
    assert done == sorted(done)
    assert set(done) >= {0, FEW["studies"]}
    assert len(set(done)) == len(list(uninterrupted(**FEW).glob("shard-*"))) + 1
