"""Several processes cache together: what one would have stored, whatever happens to one of them, and one voice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.distributed import HashStore

from activations import ActivationStore, StudyIndex
from interp import cli
from interp.left_out import FILE_NAME, Entry, LeftOut, agree, read_sources
from interp.ranks import PeerError, Ranks
from interp.stages.cache import CacheConfig, open_sources
from radiology.errors import InputError
from radiology.sources.base import Skipped

SITES = ("language.1", "language.2")
#: The command as torchrun starts it, but with a shard for every two studies; process ``KILLED`` ends by SIGKILL once
#: the shard ``KILL_AFTER`` is there, and ``FULL`` cannot write more than 50 kB into a file, as if its disk were full.
COMMAND = """
import os, resource, signal, sys, threading, time
from pathlib import Path
from activations import writer
from interp import cli
writer.SHARD_STUDIES = 2

def kill_after(shard):
    while not shard.exists():
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGKILL)

if os.environ["RANK"] == os.environ.get("FULL"):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
if os.environ["RANK"] == os.environ.get("KILLED"):
    threading.Thread(target=kill_after, args=(Path(os.environ["KILL_AFTER"]),), daemon=True).start()
cli.main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures without reports, of which the third is broken."""
    scans = tmp_path_factory.mktemp("scans")
    for number in range(5):
        pixels = np.random.default_rng(number).integers(0, 255, (40, 44), dtype=np.uint8)
        Image.fromarray(pixels).save(scans / f"{number}.png")
    (scans / "2.png").write_bytes((scans / "2.png").read_bytes()[:90])
    return scans


def arguments(run: Path, folder: Path) -> list[str]:
    sites = [part for site in SITES for part in ("--site", site)]
    studies = ["--studies", f"folder:{folder}", "--studies", "phantom:n=8,seed=1"]
    fixed = ["--model", "phantom:random", "--batch-size", "1", "--max-new-tokens", "2"]
    return ["cache", "--run", str(run), *studies, *sites, *fixed]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[Path]:
    """The run of one process; on one thread, as torchrun gives it to each of several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run = tmp_path_factory.mktemp("alone") / "r"
    assert cli.run(arguments(run, folder)) == 0
    yield run
    torch.set_num_threads(threads)


def torchrun(tmp_path: Path, command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "command.py"
    script.write_text(COMMAND)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--"]
    everything = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd()), **environment}
    return subprocess.run(
        [*launcher, str(script), *command], capture_output=True, text=True, env=everything, timeout=300
    )


def rows(run: Path) -> list[tuple[int, ...]]:
    """Every row of a store with its values, sorted: a multiset."""
    with ActivationStore(run / "activations") as store:
        columns = [store.column(name) for name in ("study", "position", "token_id", "role", "image", "row", "col")]
        values = [store.read(site, slice(None)).view(np.int32) for site in SITES]
    together = np.hstack([np.stack(columns, axis=1).astype(np.int64), *[value.astype(np.int64) for value in values]])
    return sorted(map(tuple, together.tolist()))


def same(run: Path, alone: Path) -> None:
    assert rows(run) == rows(alone)
    pd.testing.assert_frame_equal(StudyIndex.read(run).frame, StudyIndex.read(alone).frame)
    assert (run / FILE_NAME).read_text() == (alone / FILE_NAME).read_text()
    summaries = [json.loads((one / "run.json").read_text())["stages"]["cache"]["summary"] for one in (run, alone)]
    for summary in summaries:
        del summary["bytes"]  # of two shards instead of one
    assert summaries[0] == summaries[1]


def test_two_processes_store_what_one_does_and_a_killed_one_is_continued(
    tmp_path: Path, folder: Path, alone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "r"
    shard = run / "activations" / "shard-00001-00001.h5"
    killed = torchrun(tmp_path, arguments(run, folder), KILLED="1", KILL_AFTER=str(shard))
    assert killed.returncode != 0
    assert shard.is_file()
    assert not (run / "studies.parquet").exists()
    assert (run / FILE_NAME).read_text() == (alone / FILE_NAME).read_text()  # known before the first shard
    capsys.readouterr()
    assert cli.run(arguments(run, folder)) == 2
    assert f"{run} was begun by 2 processes, and now there is 1 process" in capsys.readouterr().err
    whole = run / "activations" / "shard-00001-00000.h5"  # the manifest lists it; it may not list the other
    before = whole.stat().st_mtime_ns
    ended = torchrun(tmp_path, arguments(run, folder))
    assert ended.returncode == 0, ended.stderr
    assert whole.stat().st_mtime_ns == before
    assert ended.stdout.count("tokens of 12 studies") == ended.stdout.count("left out: ") == 1
    assert ended.stderr.count(": done in") == 1
    same(run, alone)
    assert cli.run(arguments(run, folder)) == 0  # done is done, for any number of processes


@pytest.mark.long
def test_a_full_disk_and_a_killed_first_process_lose_nothing(tmp_path: Path, folder: Path, alone: Path) -> None:
    run = tmp_path / "r"
    full = torchrun(tmp_path, arguments(run, folder), FULL="1")
    assert full.returncode != 0
    (message,) = [line for line in full.stderr.splitlines() if line.startswith(("Error: ", "Internal error"))]
    assert f"cannot write {run / 'activations'}" in message
    assert "run the same command again" in message
    killed = torchrun(
        tmp_path, arguments(run, folder), KILLED="0", KILL_AFTER=str(run / "activations" / "shard-00000-00002.h5")
    )
    assert killed.returncode != 0
    assert not (run / "studies.parquet").exists()
    ended = torchrun(tmp_path, arguments(run, folder))
    assert ended.returncode == 0, ended.stderr
    same(run, alone)


@pytest.mark.long
def test_what_one_process_cannot_use_ends_all_with_one_message(tmp_path: Path, folder: Path) -> None:
    start = time.monotonic()
    ended = torchrun(tmp_path, [*arguments(tmp_path / "r", folder), "--strict"])
    assert time.monotonic() - start < 60
    assert ended.returncode != 0
    (message,) = [line for line in ended.stderr.splitlines() if line.startswith(("Error: ", "Internal error"))]
    assert "2.png: is truncated" in message
    assert not ended.stdout


def agreed(tmp_path: Path, folder: Path, stored: frozenset[str], known: list[Entry]) -> list[Any]:
    """What two processes leave out of a folder, each by its own list; process 0 writes."""
    config = CacheConfig("phantom:random", (f"folder:{folder}",), SITES)

    def work(ranks: Ranks) -> list[tuple[str, ...]]:
        left_out = LeftOut(tmp_path / f"{ranks.rank}.csv", known)
        agree(open_sources(config), left_out, stored, ranks)
        given = [
            study.study_id for part in read_sources(open_sources(config), left_out, stored).values() for study in part
        ]
        return [*(entry.cells() for entry in left_out.entries), tuple(given)]

    return together(work, work)


def test_all_leave_out_the_same_studies_before_any_has_a_number(tmp_path: Path, folder: Path) -> None:
    both = agreed(tmp_path, folder, frozenset(), [])
    assert both[0] == both[1]
    (broken, given) = both[0]
    assert (broken[1], broken[-1], given) == ("2", "yes", ("0", "1", "3", "4"))
    mended = Entry(f"folder:{folder}", "3", Skipped(folder / "3.png", None, None, "was broken", lost=True))
    assert [one[-1] for one in agreed(tmp_path, folder, frozenset(), [mended])] == [("0", "1", "4")] * 2


def test_a_study_that_breaks_before_stored_ones_is_an_error_and_behind_them_is_left_out(
    tmp_path: Path, folder: Path
) -> None:
    for error in agreed(tmp_path, folder, frozenset({"0", "3"}), []):
        assert isinstance(error, InputError)
        assert "2.png: is truncated" in str(error)
        assert "Studies behind it are stored already; put the file back" in str(error)
    assert [one[-1] for one in agreed(tmp_path, folder, frozenset({"0", "1"}), [])] == [("0", "1", "3", "4")] * 2


# What they tell each other, in threads


def together(*work: Callable[[Ranks], Any], patience: float = 5.0) -> list[Any]:
    """Run as many ranks as there is work; what each gave or raised."""
    store, found = HashStore(), [None] * len(work)

    def one(rank: int) -> None:
        try:
            found[rank] = work[rank](Ranks(rank, len(work), rank, store, patience))
        except BaseException as error:
            found[rank] = error  # type: ignore[call-overload]

    threads = [threading.Thread(target=one, args=(rank,)) for rank in range(len(work))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_all_hear_what_each_says_in_order() -> None:
    def talk(ranks: Ranks) -> Any:
        first = ranks.from_first({"a": [1]} if ranks.leads else None)
        return first, ranks.gather(ranks.rank), ranks.gather(str(ranks.rank))

    assert together(talk, talk, talk) == [({"a": [1]}, [0, 1, 2], ["0", "1", "2"])] * 3
    assert talk(Ranks()) == ({"a": [1]}, [0], ["0"])


def test_the_first_waits_for_the_work_of_the_others() -> None:
    done: list[int] = []

    def work(ranks: Ranks) -> None:
        time.sleep(0.2)
        done.append(ranks.rank)
        ranks.leave()

    def lead(ranks: Ranks) -> list[int]:
        ranks.wait_for_others()
        return sorted(done)

    assert together(lead, work, work)[0] == [1, 2]


@pytest.mark.parametrize("failing", [0, 1])
def test_one_speaks_for_all(failing: int) -> None:
    def work(ranks: Ranks) -> None:
        with ranks.one_voice():
            if ranks.rank == failing:
                raise InputError("the cause")
            ranks.gather(None)

    found = together(work, work)
    assert isinstance(found[failing], InputError)
    assert isinstance(found[1 - failing], SystemExit)
    assert found[1 - failing].code == 2


def test_the_same_error_everywhere_is_said_once() -> None:
    def work(ranks: Ranks) -> None:
        with ranks.one_voice():
            raise OSError(28, "No space left on device")

    found = together(work, work, work)
    assert sorted(type(one).__name__ for one in found) == ["OSError", "SystemExit", "SystemExit"]


def test_who_gives_no_sign_of_life_is_not_waited_for() -> None:
    found = together(lambda ranks: ranks.gather(1), lambda ranks: None, patience=0.3)
    assert isinstance(found[0], InputError)
    assert "process 1 of 2 has given no sign of life" in str(found[0])


def test_who_works_long_is_waited_for() -> None:
    def work(ranks: Ranks) -> list[Any]:
        for _ in range(12):
            ranks.beat()
            time.sleep(0.2)
        return ranks.gather("late")

    assert together(lambda ranks: ranks.gather("early"), work, patience=1.5) == [["early", "late"]] * 2


def test_a_failure_is_noticed_at_work_and_named_for_the_record() -> None:
    noticed: list[BaseException] = []

    def work(ranks: Ranks) -> None:
        with ranks.one_voice():
            time.sleep(0.3)
            try:
                ranks.beat()
            except PeerError as error:
                noticed.append(error)
                raise

    def fail(ranks: Ranks) -> None:
        with ranks.one_voice():
            raise InputError("the cause")

    assert isinstance(together(work, fail)[0], SystemExit)
    assert [str(error) for error in noticed] == ["process 1: Error: the cause"]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [({}, (0, 1)), ({"WORLD_SIZE": "4"}, (0, 1)), ({"RANK": "0", "WORLD_SIZE": "1"}, (0, 1))],
)
def test_who_is_alone_waits_for_nobody(environment: dict[str, str], expected: tuple[int, int]) -> None:
    ranks = Ranks.here({"MASTER_ADDR": "localhost", "MASTER_PORT": "1", **environment})
    assert (ranks.rank, ranks.world) == expected
    ranks.wait_for_others()
    assert ranks.device("cuda") == "cuda"


def test_each_process_has_a_gpu_of_its_own() -> None:
    ranks = Ranks(5, 8, 1, HashStore())
    assert [ranks.device(name) for name in ("cuda", "cuda:3", "cpu")] == ["cuda:1", "cuda:3", "cpu"]
