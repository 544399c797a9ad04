"""Matryoshka sparse autoencoders: model, objective, trainer, evaluation and file formats.

This package knows an iterator of tensors; it knows no language model, no activation store and no radiology.
Names are loaded on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sae.codes import SparseCodes
    from sae.config import SAEConfig, TrainConfig
    from sae.errors import SAEError
    from sae.formats import open_sae
    from sae.model import MatryoshkaSAE
    from sae.trainer import train

_HOME = {
    "MatryoshkaSAE": "sae.model",
    "SAEConfig": "sae.config",
    "SAEError": "sae.errors",
    "SparseCodes": "sae.codes",
    "TrainConfig": "sae.config",
    "open_sae": "sae.formats",
    "train": "sae.trainer",
}

__all__ = ["MatryoshkaSAE", "SAEConfig", "SAEError", "SparseCodes", "TrainConfig", "open_sae", "train"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'sae' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
