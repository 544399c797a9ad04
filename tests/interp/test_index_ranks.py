"""Several processes index together, one of them is killed, and one process alone ends it: the tables are the same."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch

from autointerp import index
from interp import cli
from interp.run import Run

#: The command as torchrun starts it, but with many parts; process ``KILLED`` ends by SIGKILL when its third is written.
COMMAND = """
import os, signal, sys
from autointerp import index, streaming
from interp import cli
index.CHUNK_ROWS, index.CHUNKS_PER_PART, streaming.SECONDS_BETWEEN_STATES = 512, 1, 0.0
written, write_part = [], index.write_part

def write_or_die(folder, part, chunks):
    write_part(folder, part, chunks)
    written.append(part)
    if os.environ["RANK"] == os.environ.get("KILLED") and len(written) == 3:
        os.kill(os.getpid(), signal.SIGKILL)

index.write_part = write_or_die
cli.main(sys.argv[1:])
"""


def torchrun(tmp_path: Path, run: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "command.py"
    script.write_text(COMMAND)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--"]
    everything = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd()), **environment}
    return subprocess.run(
        [*launcher, str(script), *arguments(run)], capture_output=True, text=True, env=everything, timeout=300
    )


def arguments(run: Path) -> list[str]:
    return ["index", "--run", str(run), "--contexts", "2"]


@pytest.fixture(scope="module")
def alone(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What one process writes: on one thread, as torchrun gives it to each of several, and in the same parts.

    This process goes on with both while the tests run.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "CHUNK_ROWS", 512)
        patch.setattr(index, "CHUNKS_PER_PART", 1)
        run = copied(tiny_run, tmp_path_factory.mktemp("alone") / "r")
        assert cli.run(arguments(run)) == 0
        yield run
    torch.set_num_threads(threads)


def copied(run: Run, to: Path) -> Path:
    shutil.copytree(run.path, to, ignore=shutil.ignore_patterns("control", "*.html", "steering"))
    return to


def same(run: Path, alone: Path) -> None:
    for name in ("features.parquet", "contexts.parquet"):
        tables = [pd.read_parquet(one / "sae" / "main" / "features" / name) for one in (run, alone)]
        pd.testing.assert_frame_equal(*tables, check_exact=True)
    stages = [json.loads((one / "run.json").read_text())["stages"]["index:main"] for one in (run, alone)]
    assert stages[0]["summary"] == stages[1]["summary"]
    assert [stage["state"] for stage in stages] == ["done", "done"]
    assert not (run / "sae" / "main" / "features" / "unfinished").exists()


def test_two_processes_write_the_tables_of_one_whoever_is_killed(tiny_run: Run, tmp_path: Path, alone: Path) -> None:
    run = copied(tiny_run, tmp_path / "r")
    killed = torchrun(tmp_path, run, KILLED="1")
    assert killed.returncode != 0
    unfinished = run / "sae" / "main" / "features" / "unfinished"
    assert len(list(unfinished.glob("part-*.entries.npy"))) >= 3
    assert not (unfinished.parent / "features.parquet").exists()
    ended = torchrun(tmp_path, run)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("contexts in") == ended.stderr.count(": done in") == 1  # one speaks
    same(run, alone)
    assert cli.run(arguments(run)) == 0  # done is done, for any number of processes


def test_a_killed_process_alone_goes_on(tiny_run: Run, tmp_path: Path, alone: Path) -> None:
    run = copied(tiny_run, tmp_path / "r")
    everything = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd()), "RANK": "0", "KILLED": "0"}
    killed = subprocess.run([sys.executable, "-c", COMMAND, *arguments(run)], env=everything, capture_output=True)
    assert killed.returncode == -9
    assert len(list((run / "sae" / "main" / "features" / "unfinished").glob("state-*.npz"))) == 1
    assert cli.run(arguments(run)) == 0
    same(run, alone)
