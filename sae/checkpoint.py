"""Checkpoints: one safetensors file a checkpoint, with the state's numbers and the configuration in its header.

A file appears under its name only when it is whole, so the newest one is always usable. Nothing is pickled.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from sae.errors import SAEError
from sae.files import write_atomically

VERSION = 1
_NAME = re.compile(r"step-(\d{9})\.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """What training needs to go on as if it had never stopped.

    Attributes:
        tensors: weights, optimizer moments, threshold, firing record.
        numbers: step, tokens, input scale and the like; JSON values.
        config: `{"sae": …, "train": …}` as dictionaries.
    """

    tensors: dict[str, torch.Tensor]
    numbers: dict[str, Any]
    config: dict[str, Any]


def save_checkpoint(directory: Path, step: int, checkpoint: Checkpoint, keep: int) -> Path:
    """Write a checkpoint, then delete all but the newest `keep`."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"step-{step:09d}.safetensors"
    header = {
        "version": str(VERSION),
        "numbers": json.dumps(checkpoint.numbers),
        "config": json.dumps(checkpoint.config),
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
    write_atomically(path, lambda temporary: save_file(tensors, temporary, metadata=header))
    for old in _paths(directory)[:-keep]:
        old.unlink()
    return path


def newest_checkpoint(directory: Path) -> Path | None:
    """The checkpoint of the highest step, or None."""
    paths = _paths(directory)
    return paths[-1] if paths else None


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        SAEError: the file is damaged or from a newer version.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        version = int(header["version"])
        numbers, config = json.loads(header["numbers"]), json.loads(header["config"])
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise SAEError(
            f"{path} is not a readable checkpoint ({error}); delete it to go on from the one before"
        ) from error
    if version > VERSION:
        raise SAEError(f"{path} has checkpoint version {version}, this program knows {VERSION}; update the program")
    return Checkpoint(tensors, numbers, config)


def delete_checkpoints(directory: Path) -> None:
    """Delete every checkpoint of a run that starts anew."""
    for path in _paths(directory):
        path.unlink()


def _paths(directory: Path) -> list[Path]:
    if not directory.is_dir():
        return []
    return sorted(path for path in directory.iterdir() if _NAME.fullmatch(path.name))
