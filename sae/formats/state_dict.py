"""Files of `torch.save` with a state dict in them, from anybody: opened without running what they hold."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from sae.errors import SAEError
from sae.formats.tensors import need_file


def save_state(state: dict[str, torch.Tensor], path: Path) -> None:
    """Write a state dict; the same tensors give the same bytes."""
    # Given a path, torch writes its name into the file, and a temporary name differs each time.
    with path.open("wb") as handle:
        torch.save(state, handle)


def load_state(path: Path) -> dict[str, Any]:
    """A state dict, by weights-only unpickling.

    Raises:
        SAEError: the file is missing or damaged, or holds more than tensors.
    """
    need_file(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise SAEError(
            f"{path} holds more than tensors, or is no torch file; it was not opened, because that could run its code"
        ) from error
    except Exception as error:
        # What a damaged file makes torch raise depends on where the damage is.
        raise SAEError(f"{path} is damaged ({error}); copy it again") from error
    if not isinstance(state, dict):
        raise SAEError(f"{path} holds a {type(state).__name__}, not a state dict")
    return state
