"""Ctrl-C: one word, a run that is whole, and the same command goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ARGUMENTS = ("cache", "--model", "phantom:random", "--studies", "phantom:n=30,seed=2", "--site", "language.1")


def start(run: Path) -> subprocess.Popen[str]:
    # A shell may start background jobs with SIGINT ignored, and children inherit that.
    return subprocess.Popen(
        [sys.executable, "-m", "interp", *ARGUMENTS, "--batch-size", "2", "--run", str(run)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def test_ctrl_c_leaves_a_run_that_goes_on(tmp_path: Path) -> None:
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

    process = start(run)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "of 30 studies" in out
    assert json.loads((run / "run.json").read_text())["stages"]["cache"]["state"] == "done"
