"""Checks and conversions that every file form shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from sae.config import DTYPES, SAEConfig
from sae.errors import SAEError
from sae.model import MatryoshkaSAE

# How far from 1 the norm of a stored decoder row may be: rounding to half precision, not a free decoder.
_UNIT_TOLERANCE = {torch.float32: 1e-4, torch.float16: 2e-3, torch.bfloat16: 1e-2}


@dataclass(frozen=True)
class RawSAE:
    """Tensors of one file in this room's orientation: W_enc and W_dec (F, d), threshold () or (F,)."""

    W_enc: torch.Tensor
    b_enc: torch.Tensor
    W_dec: torch.Tensor
    b_dec: torch.Tensor
    threshold: torch.Tensor


def load_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a safetensors file.

    Raises:
        SAEError: the file is missing or damaged.
    """
    if not path.exists():
        raise SAEError(f"{path} is missing")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise SAEError(f"{path} is not a whole safetensors file ({error}); copy or export it again") from error


def need(tensors: Mapping[str, Any], names: tuple[str, ...], source: Path) -> None:
    """Refuse a file without one of the named tensors."""
    for name in names:
        if not isinstance(tensors.get(name), torch.Tensor):
            found = ", ".join(sorted(map(str, tensors))) or "none"
            raise SAEError(f"{source} holds no tensor {name!r} (found: {found}); it cannot be used without")


def fill(config: SAEConfig, raw: RawSAE, extra: dict[str, Any], source: Path) -> MatryoshkaSAE:
    """A model with exactly these tensors.

    Raises:
        SAEError: shapes disagree with the configuration, a value is NaN or infinite, the threshold is negative,
            or decoder rows are not of norm 1.
    """
    width, n = config.d, config.n_features
    wanted = {"W_enc": (n, width), "b_enc": (n,), "W_dec": (n, width), "b_dec": (width,)}
    dtype = getattr(torch, config.dtype)
    for name, shape in wanted.items():
        tensor = getattr(raw, name)
        if tuple(tensor.shape) != shape:
            raise SAEError(f"{source}: {name} has shape {tuple(tensor.shape)}, the configuration says {shape}")
        if tensor.dtype != dtype:
            raise SAEError(f"{source}: {name} is {tensor.dtype}, the configuration says {dtype}")
    threshold = raw.threshold.to(torch.float32)
    if tuple(threshold.shape) not in ((), (n,)):
        raise SAEError(f"{source}: threshold has shape {tuple(threshold.shape)}, must be () or ({n},)")
    check_finite(raw, source)
    if bool((threshold < 0).any()):
        raise SAEError(
            f"{source}: threshold is {float(threshold.min()):g}: it was never set, so nothing can be encoded"
        )
    norms_f = raw.W_dec.float().norm(dim=1)
    off_f = (norms_f - 1).abs().where(norms_f > 0, torch.zeros(()))
    if float(off_f.max()) > _UNIT_TOLERANCE[dtype]:
        row = int(off_f.argmax())
        raise SAEError(f"{source}: W_dec row {row} has norm {float(norms_f[row]):.4g}; rows must have norm 1")

    sae = MatryoshkaSAE(config, extra=extra)
    with torch.no_grad():
        for name in wanted:
            getattr(sae, name).copy_(getattr(raw, name))
    sae.threshold = threshold.clone()
    return sae


def check_finite(raw: RawSAE, source: Path) -> None:
    """Refuse NaN and infinity, naming the tensor."""
    for name in ("W_enc", "b_enc", "W_dec", "b_dec", "threshold"):
        tensor = getattr(raw, name)
        bad = int((~torch.isfinite(tensor)).sum())
        if bad:
            raise SAEError(f"{source}: {name} holds {bad} NaN or infinite values of {tensor.numel()}; train it again")


def fold_decoder_norms(raw: RawSAE) -> RawSAE:
    """The same function with unit decoder rows; unchanged tensors where rows already have norm 1.

    Activations are multiplied by the norm of their row, and thresholds with them. Rows of norm 0 stay.
    """
    norms_f = raw.W_dec.float().norm(dim=1)
    norms_f = norms_f.where(norms_f > 0, torch.ones(()))
    if raw.W_dec.dtype in _UNIT_TOLERANCE and float((norms_f - 1).abs().max()) <= _UNIT_TOLERANCE[raw.W_dec.dtype]:
        return raw
    dtype = raw.W_dec.dtype
    return RawSAE(
        W_enc=(raw.W_enc.float() * norms_f[:, None]).to(dtype),
        b_enc=(raw.b_enc.float() * norms_f).to(dtype),
        W_dec=(raw.W_dec.float() / norms_f[:, None]).to(dtype),
        b_dec=raw.b_dec,
        threshold=raw.threshold.float() * norms_f,
    )


def dtype_name(tensor: torch.Tensor, source: Path) -> str:
    """'float32' and the like, for a type that the configuration allows."""
    name = str(tensor.dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise SAEError(f"{source}: weights are {name}, must be one of {', '.join(DTYPES)}")
    return name


def scalar_threshold(sae: MatryoshkaSAE, target: str) -> torch.Tensor:
    """The one threshold of `sae`, for a form that has room for one.

    Raises:
        SAEError: its features have different thresholds.
    """
    if sae.threshold.ndim == 0:
        return sae.threshold
    if bool((sae.threshold == sae.threshold[0]).all()):
        return sae.threshold[0]
    raise SAEError(f"{target} has one threshold for all features, this autoencoder has one for each; use SAELens' form")
