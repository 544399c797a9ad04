"""Weights & Biases, the real one, offline."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sae.errors import SAEError
from sae.wandb_log import WandbLog


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """wandb reads the environment once a process."""
    import wandb

    wandb.teardown()
    yield
    wandb.teardown()


def records(data: bytes) -> Iterator[bytes]:
    """Records of a LevelDB log that fits into one block: checksum (4 bytes), length (2), type (1), content."""
    assert len(data) < 1 << 15
    at = 7  # a header of W&B's own
    while at < len(data):
        (size,) = struct.unpack("<H", data[at + 4 : at + 6])
        yield data[at + 7 : at + 7 + size]
        at += 7 + size


def test_rows_and_configuration_are_in_its_file_and_nothing_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wandb.proto import wandb_internal_pb2

    monkeypatch.setenv("WANDB_MODE", "offline")
    log = WandbLog(tmp_path, "project", "main", {"sae": {"k": 3}})
    for step in (5, 10):
        log.add({"step": step, "loss": 1 / step, "l0": 3.0})
    log.close()
    known = json.loads((tmp_path / "wandb.json").read_text())
    (path,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    assert known["id"] in path.name
    rows, configured = [], {}
    for data in records(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.HasField("history"):
            found = {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
            rows.append((int(found["_step"]), float(found["loss"])))
        for update in record.run.config.update:
            configured[update.key] = update.value_json
        assert record.run.host in ("", "-")
    assert rows == [(5, 0.2), (10, 0.1)]
    assert json.loads(configured["sae"]) == {"k": 3}


def test_without_the_package_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(SAEError, match="pip install wandb, or train without it"):
        WandbLog(tmp_path, "project", "main", {})


def test_without_a_key_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    with pytest.raises(SAEError, match="WANDB_MODE=offline"):
        WandbLog(tmp_path, "project", "main", {})
