"""Checks and conversions that every file form shares."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
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
# Rows of the encoder that are held in double precision at once.
_CHUNK_ROWS = 4096
_LFS_POINTER = b"version https://git-lfs"


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
    need_file(path)
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise SAEError(f"{path} is not a whole safetensors file ({error}); copy or export it again") from error


def need_file(path: Path) -> None:
    """Refuse a missing file, and one that only stands for the real one as Git LFS leaves it."""
    if not path.exists():
        raise SAEError(f"{path} is missing")
    with path.open("rb") as handle:
        if handle.read(len(_LFS_POINTER)) == _LFS_POINTER:
            raise SAEError(f"{path} is a Git LFS pointer, not the weights; fetch them with `git lfs pull`")


def need(tensors: Mapping[str, Any], names: tuple[str, ...], source: Path) -> None:
    """Refuse a file without one of the named tensors."""
    for name in names:
        if not isinstance(tensors.get(name), torch.Tensor):
            found = ", ".join(sorted(map(str, tensors))) or "none"
            raise SAEError(
                f"{source} holds no tensor {name!r} (found: {found}); it cannot be used without: save the whole "
                "autoencoder again"
            )


def only(tensors: Mapping[str, Any], names: tuple[str, ...], source: Path) -> None:
    """Refuse a file that holds anything but the named tensors: what is not understood may change the features."""
    need(tensors, names, source)
    strange = sorted(map(str, set(tensors) - set(names)))
    if strange:
        raise SAEError(
            f"{source} also holds {', '.join(map(repr, strange[:5]))}, which an autoencoder of this kind does not have "
            f"(wanted: {', '.join(names)}); it was not read, because leaving them out could change its features"
        )


def agree(path: Path, field: str, said: object, found: object, source: Path) -> None:
    """Refuse a configuration whose `field` says something else than the weights; None says nothing."""
    if said is not None and said != found:
        raise SAEError(
            f"{path}: {field} is {said}, but the weights in {source.name} have {found}; take both files from one export"
        )


def check_json(settings: dict[str, Any], extra: dict[str, Any]) -> None:
    """Refuse an `extra` that no configuration file can hold, before anything is written."""
    try:
        json.dumps(settings, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise SAEError(f"extra = {extra!r}: must hold JSON values only ({error})") from error


def two_axes(tensor: torch.Tensor, name: str, axes: str, source: Path) -> tuple[int, int]:
    """The two sizes of a weight matrix."""
    if tensor.ndim != 2:
        raise SAEError(f"{source}: {name} has shape {tuple(tensor.shape)}, must be {axes}")
    return tensor.shape[0], tensor.shape[1]


def fill(config: SAEConfig, raw: RawSAE, extra: dict[str, Any], source: Path) -> MatryoshkaSAE:
    """A model with exactly these tensors.

    Raises:
        SAEError: shapes disagree with the configuration, a value is NaN or infinite, the threshold is negative,
            or decoder rows are not of norm 1.
    """
    width, n = config.d, config.n_features
    wanted = {"W_enc": (n, width), "b_enc": (n,), "W_dec": (n, width), "b_dec": (width,)}
    dtype = getattr(torch, config.dtype)
    check_shapes(raw, n, width, source, "the configuration says")
    for name in wanted:
        if getattr(raw, name).dtype != dtype:
            raise SAEError(f"{source}: {name} is {getattr(raw, name).dtype}, the configuration says {dtype}")
    check_finite(raw, source)
    threshold = raw.threshold.to(torch.float32)
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


def check_shapes(raw: RawSAE, n_features: int, d: int, source: Path, why: str = "beside W_enc it must be") -> None:
    """Refuse tensors that are not those of F = n_features features of width d."""
    shapes = {"W_enc": (n_features, d), "b_enc": (n_features,), "W_dec": (n_features, d), "b_dec": (d,)}
    for name, shape in shapes.items():
        found = tuple(getattr(raw, name).shape)
        if found != shape:
            raise SAEError(f"{source}: {name} has shape {found}, {why} {shape}")
    if tuple(raw.threshold.shape) not in ((), (n_features,)):
        raise SAEError(f"{source}: threshold has shape {tuple(raw.threshold.shape)}, must be () or ({n_features},)")


def check_dtypes(raw: RawSAE, source: Path) -> None:
    """Refuse weights of an unknown type, or of several."""
    name = dtype_name(raw.W_enc, source)
    for other in ("b_enc", "W_dec", "b_dec"):
        if getattr(raw, other).dtype != raw.W_enc.dtype:
            raise SAEError(
                f"{source}: {other} is {getattr(raw, other).dtype}, but W_enc is {name}; save them as one type"
            )
    if not raw.threshold.is_floating_point():
        raise SAEError(f"{source}: threshold is {raw.threshold.dtype}, must be a floating type")


def check_finite(raw: RawSAE, source: Path) -> None:
    """Refuse NaN and infinity, naming the tensor."""
    for name in ("W_enc", "b_enc", "W_dec", "b_dec", "threshold"):
        tensor = getattr(raw, name)
        bad = int((~torch.isfinite(tensor)).sum())
        if bad:
            raise SAEError(f"{source}: {name} holds {bad} NaN or infinite values of {tensor.numel()}; train it again")


def fold_decoder_norms(raw: RawSAE, notes: list[str], *, in_norm_units: bool = False) -> RawSAE:
    """The same reconstruction with unit decoder rows; unchanged tensors where rows already have norm 1.

    The activation of a feature is multiplied by the norm n_f of its row, and the row divided by it. Rows of norm 0
    stay. Weights in half precision become float32, so that nothing is rounded twice.

    Args:
        notes: gets a sentence when something was changed.
        in_norm_units: activations and the threshold of the file are already multiplied by n_f, although its weights are
            not (SAELens' rescale_acts_by_decoder_norm). Otherwise thresholds are multiplied as well.
    """
    norms_f = raw.W_dec.float().norm(dim=1)
    norms_f = norms_f.where(norms_f > 0, torch.ones(()))
    tolerance = 0.0 if in_norm_units else _UNIT_TOLERANCE.get(raw.W_dec.dtype, 0.0)
    if float((norms_f - 1).abs().max()) <= tolerance:
        return raw
    if in_norm_units:
        notes.append("decoder rows were scaled to norm 1, as its activations were already")
    else:
        notes.append(
            f"decoder rows had norms from {float(norms_f.min()):.3g} to {float(norms_f.max()):.3g}: they are scaled to "
            "norm 1 and each feature's activations by the norm, so reconstructions are the same"
        )
    wide = widened(raw)
    return RawSAE(
        W_enc=wide.W_enc * norms_f[:, None],
        b_enc=wide.b_enc * norms_f,
        W_dec=wide.W_dec / norms_f[:, None],
        b_dec=wide.b_dec,
        threshold=wide.threshold if in_norm_units else wide.threshold * norms_f,
    )


def fold_input_bias(raw: RawSAE, notes: list[str]) -> RawSAE:
    """The same function for weights whose encoder does not subtract b_dec: W x + b = W (x − b_dec) + (b + W b_dec)."""
    if not bool(raw.b_dec.any()):
        return raw
    notes.append("its encoder does not subtract b_dec: b_enc was shifted to match, equal to rounding")
    wide = widened(raw)
    return replace(wide, b_enc=(wide.b_enc.double() + shift(wide.W_enc, wide.b_dec)).float())


def shift(W_enc: torch.Tensor, b_dec: torch.Tensor) -> torch.Tensor:
    """(F,) W_enc b_dec in double precision, a chunk of rows at a time."""
    return torch.cat([chunk_fd.double() @ b_dec.double() for chunk_fd in W_enc.split(_CHUNK_ROWS)])


def widened(raw: RawSAE) -> RawSAE:
    """The weights in float32; the threshold is float32 in any case."""
    return converted(raw, torch.float32)


def converted(raw: RawSAE, dtype: torch.dtype) -> RawSAE:
    """The weights in another type; the threshold in float32."""
    return RawSAE(
        W_enc=raw.W_enc.to(dtype),
        b_enc=raw.b_enc.to(dtype),
        W_dec=raw.W_dec.to(dtype),
        b_dec=raw.b_dec.to(dtype),
        threshold=raw.threshold.float(),
    )


def narrowed(raw: RawSAE, dtype: str, field: str, source: Path) -> RawSAE:
    """The weights in the type that they had before they were written in a wider one; never rounded."""
    narrow = converted(raw, getattr(torch, dtype))
    for name in ("W_enc", "b_enc", "W_dec", "b_dec"):
        if not torch.equal(getattr(narrow, name).float(), getattr(raw, name).float()):
            raise SAEError(
                f"{field} is {dtype}, but {name} in {source.name} does not fit into it; take both files from one export"
            )
    return narrow


def config_of(source: Path, **fields: Any) -> SAEConfig:
    """A configuration of what was found in a file; an error names the file."""
    try:
        return SAEConfig(**fields)
    except SAEError as error:
        raise SAEError(f"{source}: {error}") from error


def config_from(path: Path, field: str, values: dict[str, Any]) -> SAEConfig:
    """Our own configuration, kept in `field` of a file; an error names both."""
    try:
        return SAEConfig.from_dict(values)
    except SAEError as error:
        raise SAEError(f"{path}: {field}: {error}") from error


def one_threshold(raw: RawSAE) -> RawSAE:
    """A threshold that is the same for every feature becomes one number."""
    threshold = raw.threshold
    if threshold.ndim and len(threshold) and bool((threshold == threshold[0]).all()):
        return replace(raw, threshold=threshold[0].clone())
    return raw


def dtype_name(tensor: torch.Tensor, source: Path) -> str:
    """'float32' and the like, for a type that the configuration allows."""
    name = str(tensor.dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise SAEError(
            f"{source}: weights are {name}, must be one of {', '.join(DTYPES)}; convert them, then save again"
        )
    return name
