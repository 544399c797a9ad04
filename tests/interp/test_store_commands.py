"""``interp store`` on a real run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from interp import cli
from interp.run import Run


def test_info_counts_what_is_there(tiny_run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["store", "info", "--run", str(tiny_run.path), "--batch-size", "256", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    with tiny_run.store as store:
        assert found["rows"] == store.rows == sum(found["roles"].values())
    (site,) = found["sites"]
    assert sum(role["rows"] for role in site["norms"].values()) == found["rows"]
    assert 0.9 < site["shuffle"] <= 1.05
    assert site["max_norm"] > max(of["median"] for role, of in site["norms"].items() if role != "special")
    assert cli.run(["store", "info", "--run", str(tiny_run.path / "activations")]) == 0
    assert "complete" in capsys.readouterr().out


def test_verify_ends_with_2_on_damage(tiny_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("activations", "studies.parquet"):
        source = tiny_run.path / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    assert cli.run(["store", "verify", "--run", str(tmp_path)]) == 0
    assert "sound" in capsys.readouterr().out
    shard = next((tmp_path / "activations").glob("shard-*.h5"))
    shard.write_bytes(shard.read_bytes()[:-3])
    assert cli.run(["store", "verify", "--run", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert shard.name in captured.out
    assert "Traceback" not in captured.err


def test_export_writes_what_numpy_reads(tiny_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    asked = ["store", "export", "--run", str(tiny_run.path), "--to", "npy", "--out", str(out)]
    assert cli.run([*asked, "--roles", "report", "--float32"]) == 0
    assert str(out) in capsys.readouterr().out
    with tiny_run.store as store:
        rows = np.flatnonzero(store.column("role") == 7)
        np.testing.assert_array_equal(np.load(out / "sites" / "language.2.npy"), store.read("language.2", rows))
    assert cli.run(asked) == 2
    assert "another export" in capsys.readouterr().err
