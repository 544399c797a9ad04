"""`interp cache` says what is to come before it writes, and refuses what has no room."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from activations import ActivationStore
from activations.estimate import Estimate
from interp import cli
from interp.stages.cache import CacheConfig, announced

SITE = "language.1"


def command(run: Path, *more: str) -> list[str]:
    studies = ("--studies", "phantom:n=3,seed=1", "--site", SITE)
    return ["cache", "--run", str(run), "--model", "phantom:random", *studies, *more]


def test_the_line_has_rows_bytes_time_and_room() -> None:
    config = CacheConfig("m", ("phantom:n=3",), ("language.15", "vision.2"), dtype="float16", compression="blosc2")
    line = announced(Estimate(1000, 230_000, 940_000_000, 725.0, 75_200_000_000), config)
    assert line.strip() == (
        "about 230,000 rows of 1,000 studies, 940 MB at language.15, vision.2 (float16) before blosc2, 12 min 05 s; "
        "75.2 GB free"
    )


def test_it_is_said_once_before_the_end_and_not_when_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(command(tmp_path / "r")) == 0
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith("  about 713 rows of 3 studies") for line in lines].index(True) < len(lines) - 1
    assert cli.run(command(tmp_path / "r")) == 0
    assert "about" not in capsys.readouterr().err


def test_too_little_room_is_one_message_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    assert cli.run(command(tmp_path / "r")) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith(f"Error: {tmp_path / 'r' / 'activations'}: the disk has too little room")
    assert not list((tmp_path / "r" / "activations").glob("*.h5"))
    monkeypatch.undo()
    assert cli.run(command(tmp_path / "r")) == 0  # goes on once there is room


def test_compression_changes_no_value_and_an_unknown_one_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(command(tmp_path / "plain")) == 0
    assert cli.run(command(tmp_path / "packed", "--compression", "blosc2")) == 0
    stores = [ActivationStore(tmp_path / name / "activations") for name in ("plain", "packed")]
    plain, packed = (store.read(SITE, slice(None)) for store in stores)
    np.testing.assert_array_equal(plain, packed)
    capsys.readouterr()
    assert cli.run(command(tmp_path / "other", "--compression", "zip")) == 2
    assert "compression: 'zip' is not one of" in capsys.readouterr().err
