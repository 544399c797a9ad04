from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sae.checkpoint import Checkpoint, delete_checkpoints, load_checkpoint, newest_checkpoint, save_checkpoint
from sae.errors import SAEError


def checkpoint(value: float = 1.0) -> Checkpoint:
    return Checkpoint({"a": torch.full((3, 2), value)}, {"step": 5, "scale": 0.1}, {"sae": {"k": 2}})


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    loaded = load_checkpoint(save_checkpoint(tmp_path, 5, checkpoint(), keep=2))
    assert torch.equal(loaded.tensors["a"], checkpoint().tensors["a"])
    assert loaded.numbers == {"step": 5, "scale": 0.1}
    assert loaded.config == {"sae": {"k": 2}}


def test_the_newest_are_kept_and_other_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for step in (5, 10, 15):
        save_checkpoint(tmp_path, step, checkpoint(step), keep=2)
    assert newest_checkpoint(tmp_path) == tmp_path / "step-000000015.safetensors"
    assert len(list(tmp_path.glob("step-*"))) == 2
    delete_checkpoints(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_half_written_file_is_never_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / ".step-000000020.safetensors.77.tmp").write_bytes(b"half")
    assert newest_checkpoint(tmp_path) is None
    assert newest_checkpoint(tmp_path / "missing") is None


def test_damage_and_newer_versions_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_checkpoint(tmp_path, 5, checkpoint(), keep=1)
    monkeypatch.setattr("sae.checkpoint.VERSION", 0)
    with pytest.raises(SAEError, match="version 1, this program knows 0"):
        load_checkpoint(path)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(SAEError, match="not a readable checkpoint"):
        load_checkpoint(path)
