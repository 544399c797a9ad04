"""Ctrl-C: one word, a run that is whole, and the same command goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from interp import cli

ARGUMENTS = ("cache", "--model", "phantom:random", "--studies", "phantom:n=16,seed=2", "--site", "language.1")


def arguments(run: Path) -> list[str]:
    return [*ARGUMENTS, "--batch-size", "2", "--run", str(run)]


def start(run: Path) -> subprocess.Popen[str]:
    # A shell may start background jobs with SIGINT ignored, and children inherit that.
    return subprocess.Popen(
        [sys.executable, "-m", "interp", *arguments(run)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def test_ctrl_c_leaves_a_run_that_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "r"
    process = start(run)
    deadline = time.monotonic() + 60
    while not list(run.glob("activations/*")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.splitlines()[-1] == "Stopped; run the same command to go on."
    assert "Traceback" not in err
    assert not out
    stage = json.loads((run / "run.json").read_text())["stages"]["cache"]
    assert (stage["state"], stage["error"]) == ("pending", "stopped")

    assert cli.run(arguments(run)) == 0
    assert "of 16 studies" in capsys.readouterr().out
    assert json.loads((run / "run.json").read_text())["stages"]["cache"]["state"] == "done"
