"""32,768 features need far less than 4 GB, and ten times the tokens hardly more memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.long
def test_memory_is_bounded_and_flat(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "index.py"), "--what", "memory"]
    command += ["--sizes", "100000", "1000000", "--out", str(tmp_path / "memory.json")]
    everything = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, check=True, cwd=ROOT, env=everything, timeout=3000)
    (row,) = json.loads((tmp_path / "memory.json").read_text())
    small, large = row["sizes"]
    assert row["features"] == 32_768
    assert large["rows"] > 9 * small["rows"]
    assert large["peak_gb"] < 4
    per_row = (large["peak_gb"] - small["peak_gb"]) * 1e9 / (large["rows"] - small["rows"])
    assert small["peak_gb"] + per_row * 10e6 / 1e9 < 4  # carried on to ten million tokens
