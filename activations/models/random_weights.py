"""The random-weight twin of a model: same architecture, tokenizer and prompt, weights as at the start of training."""

from __future__ import annotations

from typing import Any

import torch
import xxhash
from torch import nn

from activations.models.base import ReportModel
from radiology.errors import InputError

SEED = 20250717
_STD = 0.02
_FLAG = "_is_hf_initialized"


def with_random_weights(model: ReportModel, seed: int = SEED) -> ReportModel:
    """Draw all weights of an opened model anew, in place, as its own classes initialise them.

    A control: what a probe or an autoencoder finds in such a model was not learned (arXiv 2603.23794). The model's name
    gets the suffix ``:random`` and its fingerprint changes.

    Raises:
        InputError: the module is no transformers model, so nobody says how it begins.
    """
    module: Any = model.module
    if not hasattr(module, "initialize_weights"):
        raise InputError(f"model {model.name!r}: {type(module).__name__} does not say how its weights begin")
    devices = sorted({p.device.index or 0 for p in module.parameters() if p.device.type == "cuda"})
    with torch.random.fork_rng(devices=devices), torch.no_grad():
        torch.manual_seed(seed)
        _forget_loading(module)
        module.initialize_weights()
        _draw_what_begins_at_zero(module)
    model.name = f"{model.name}:random"
    model.fingerprint = xxhash.xxh3_128(f"{model.fingerprint}:random:{seed}".encode()).hexdigest()
    return model


def _draw_what_begins_at_zero(module: nn.Module) -> None:
    """Some families begin a matrix at zero (Gemma 3 its projector): such a twin would be blind to the image."""
    for parameter in module.parameters():
        if parameter.dim() > 1 and not bool(parameter.any()):
            parameter.normal_(std=_STD)


def _forget_loading(module: nn.Module) -> None:
    """transformers passes over what is marked as loaded."""
    for part in (*module.modules(), *module.parameters(), *module.buffers()):
        if hasattr(part, _FLAG):
            delattr(part, _FLAG)
