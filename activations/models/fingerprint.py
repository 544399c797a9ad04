"""One hash for what a model is: its configuration and its weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from typing import Any

import torch
import xxhash
from torch import nn

_CHUNK = 1 << 22
#: Fields of a configuration that say how it was saved, not what the model computes.
_INCIDENTAL = {"_name_or_path", "_model_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype"}


@torch.no_grad()
def fingerprint(module: nn.Module, config: Any) -> str:
    """xxh3_128 over configuration, names, number formats, shapes and values; equal models have equal ones.

    Weights are read in chunks of a few million numbers, wherever they lie; no second copy is made.
    """
    digest = xxhash.xxh3_128(json.dumps(_meaning(config.to_diff_dict()), sort_keys=True, default=str).encode())
    for name, value in _tensors(module):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        flat = value.detach().reshape(-1)
        for start in range(0, len(flat), _CHUNK):
            digest.update(flat[start : start + _CHUNK].cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _meaning(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _meaning(item) for key, item in value.items() if key not in _INCIDENTAL}
    return value


def _tensors(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Parameters and stored buffers by name; parts that accelerate keeps elsewhere are fetched one at a time."""
    from accelerate.utils import align_module_device

    for path, part in sorted(module.named_modules()):
        buffers = ((n, b) for n, b in part.named_buffers(recurse=False) if n not in part._non_persistent_buffers_set)
        own = sorted(chain(part.named_parameters(recurse=False), buffers))
        if own and any(value.is_meta for _, value in own):
            with align_module_device(part):
                yield from ((f"{path}.{name}", getattr(part, name)) for name, _ in own)
        else:
            yield from ((f"{path}.{name}", value) for name, value in own)
