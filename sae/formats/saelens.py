"""SAELens' form: `cfg.json` and `sae_weights.safetensors`.

An inference folder, which is what is written, is a JumpReLU autoencoder: W_enc (d, F), b_enc (F), W_dec (F, d),
b_dec (d), threshold (F). SAELens has no inference class with Matryoshka groups; k, groups and our `extra` ride in
`metadata`, which it keeps. Of what SAELens saves, plain (standard), JumpReLU, BatchTopK and Matryoshka BatchTopK
autoencoders can be read, from inference folders and from training checkpoints; see `docs/sae-files.md`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from sae.errors import SAEError
from sae.files import read_json, write_atomically, write_json
from sae.formats.tensors import (
    RawSAE,
    agree,
    check_dtypes,
    check_finite,
    check_json,
    check_shapes,
    config_from,
    config_of,
    dtype_name,
    fill,
    fold_decoder_norms,
    fold_input_bias,
    load_safetensors,
    need,
    one_threshold,
    only,
    two_axes,
    widened,
)
from sae.model import MatryoshkaSAE

CONFIG_FILE = "cfg.json"
WEIGHTS_FILE = "sae_weights.safetensors"
SCALER_FILE = "activation_scaler.json"
# The release whose layout is written; SAELens upgrades anything below 6.0 by guesses.
SAELENS_VERSION = "6.54.12"
_METADATA = "matryoshka"
_WEIGHTS = ("W_enc", "b_enc", "W_dec", "b_dec")
# The threshold of each architecture: one a feature, one for all, or none (a plain relu keeps what is above zero).
_THRESHOLDS = {
    "standard": (),
    "jumprelu": ("threshold", "log_threshold"),
    "batchtopk": ("topk_threshold",),
    "matryoshka_batchtopk": ("topk_threshold",),
}
# Fields of a configuration from before SAELens 6 that belong to the metadata.
_OLD_METADATA = (
    "model_name",
    "hook_name",
    "hook_point",
    "hook_layer",
    "hook_point_layer",
    "context_size",
    "prepend_bos",
)


def write_saelens(
    sae: MatryoshkaSAE, folder: Path, *, model_name: str | None = None, hook_name: str | None = None
) -> str:
    """Write a folder that `sae_lens.SAE.load_from_disk` opens, with the same activations; gives its architecture.

    Args:
        model_name: name of the model whose activations it reads, for SAELens' metadata.
        hook_name: TransformerLens name of the place, such as `blocks.15.hook_resid_post`.
    """
    tensors = {
        "W_enc": sae.W_enc.detach().cpu().T.contiguous(),
        "b_enc": sae.b_enc.detach().cpu().contiguous(),
        "W_dec": sae.W_dec.detach().cpu().contiguous(),
        "b_dec": sae.b_dec.detach().cpu().contiguous(),
        "threshold": sae.threshold.detach().cpu().expand(sae.n_features).contiguous(),
    }
    ours = {"sae": sae.config.to_dict(), "train": sae.training_config, "extra": sae.extra}
    # What SAELens itself notes about an autoencoder that was trained with groups and is saved for inference.
    details = {"k": sae.k, "matryoshka_widths": torch.tensor(sae.groups).cumsum(0).tolist()}
    settings = {
        "architecture": "jumprelu",
        "d_in": sae.d,
        "d_sae": sae.n_features,
        "dtype": sae.config.dtype,
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {
            **_foreign_metadata(sae),
            "sae_lens_version": SAELENS_VERSION,
            "sae_lens_training_version": None,
            "training_architecture_details": details,
            **{key: value for key, value in (("model_name", model_name), ("hook_name", hook_name)) if value},
            _METADATA: {**ours, "one_threshold": sae.threshold.ndim == 0},
        },
    }
    check_json(settings, sae.extra)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / WEIGHTS_FILE, lambda path: save_file(tensors, path))
    write_json(folder / CONFIG_FILE, settings)
    return str(settings["architecture"])


def read_saelens(folder: Path) -> MatryoshkaSAE:
    """Read an autoencoder that SAELens saved, for inference or as a checkpoint of its training.

    Free decoder norms, a b_dec that is not applied to the input and a known scale of the input are folded into the
    weights, so the reconstruction is the same; `extra["notes"]` says so. `metadata` of a foreign file is kept in
    `extra["saelens"]`.

    Raises:
        SAEError: another architecture, activations normalised or reshaped at run time, no threshold, a damaged or
            unknown tensor, or weights and configuration that disagree.
    """
    path, source = folder / CONFIG_FILE, folder / WEIGHTS_FILE
    settings = _upgraded(read_json(path))
    _check_settings(settings, path)
    tensors = load_safetensors(source)
    need(tensors, _WEIGHTS, source)
    d, n_features = two_axes(tensors["W_enc"], "W_enc", "(d, F)", source)
    for field, size in (("d_in", d), ("d_sae", n_features)):
        agree(path, field, settings.get(field), size, source)
    raw = _raw(settings["architecture"], tensors, source)
    check_shapes(raw, n_features, d, source)
    check_dtypes(raw, source)
    agree(path, "dtype", _plain_dtype(settings), dtype_name(raw.W_enc, source), source)
    check_finite(raw, source)

    notes: list[str] = []
    raw = _folded(settings, raw, notes, folder)
    metadata, dtype = settings["metadata"], dtype_name(raw.W_enc, source)
    ours = metadata.get(_METADATA)
    if isinstance(ours, dict) and isinstance(ours.get("sae"), dict):
        config = replace(config_from(path, f"metadata.{_METADATA}.sae", ours["sae"]), dtype=dtype)
        for field, value in (("d", d), ("n_features", n_features)):
            agree(path, f"metadata.{_METADATA}.sae.{field}", getattr(config, field), value, source)
        extra, train = dict(ours.get("extra") or {}), ours.get("train")
    else:
        groups = _groups(settings, n_features, path, source)
        k = _whole_k(settings, notes)
        config = config_of(source, d=d, n_features=n_features, k=k, groups=groups, dtype=dtype)
        ours, extra, train = {}, {"saelens": metadata}, None
    if ours.get("one_threshold", True):
        raw = one_threshold(raw)
    sae = fill(config, raw, {**extra, **({"notes": notes} if notes else {})}, source)
    sae.training_config = train
    return sae


def _upgraded(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings with defaults of SAELens filled in; before its version 6 all fields lay side by side."""
    metadata = settings.get("metadata")
    if not isinstance(metadata, dict):
        metadata = {name: settings[name] for name in _OLD_METADATA if name in settings}
        plain = settings.get("activation_fn_str", settings.get("activation_fn", "relu")) == "relu"
        settings = {**({"architecture": "standard"} if plain else {}), **settings}
    normalise = settings.get("normalize_activations") or "none"
    if normalise is True:
        normalise = "expected_average_only_in"
    return {**settings, "metadata": metadata, "normalize_activations": normalise}


def _check_settings(settings: dict[str, Any], path: Path) -> None:
    architecture = settings.get("architecture")
    if architecture == "topk":
        raise SAEError(
            f"{path}: architecture is 'topk', which keeps the k largest activations of each token; the autoencoders "
            "here encode by a threshold, so its features would come out differently"
        )
    if architecture not in _THRESHOLDS:
        raise SAEError(f"{path}: architecture is {architecture!r}; only {', '.join(_THRESHOLDS)} can be read")
    normalise = settings["normalize_activations"]
    if normalise in ("layer_norm", "constant_norm_rescale"):
        raise SAEError(
            f"{path}: normalize_activations is {normalise!r}: each token is normalised by its own norm, which "
            "weights cannot hold; it cannot be read"
        )
    if normalise not in ("none", "expected_average_only_in"):
        raise SAEError(
            f"{path}: normalize_activations is {normalise!r}; fold it into the weights in SAELens "
            "(its trainer does so at the end), then save again"
        )
    reshape = settings.get("reshape_activations", "none")
    if reshape not in ("none", None):
        raise SAEError(f"{path}: reshape_activations is {reshape!r}; only activations of one axis can be read")
    if settings.get("finetuning_scaling_factor"):
        raise SAEError(
            f"{path}: finetuning_scaling_factor is set; fold it into the weights in SAELens, then save again"
        )


def _plain_dtype(settings: dict[str, Any]) -> str | None:
    dtype = settings.get("dtype")
    return None if dtype is None else str(dtype).removeprefix("torch.")


def _raw(architecture: str, tensors: dict[str, torch.Tensor], source: Path) -> RawSAE:
    names = _THRESHOLDS[architecture]
    name = next((name for name in names if name in tensors), names[0] if names else None)
    only(tensors, (*_WEIGHTS, *(() if name is None else (name,))), source)
    threshold = torch.zeros(()) if name is None else tensors[name].float()
    if name == "log_threshold":
        threshold = threshold.exp()
    return RawSAE(tensors["W_enc"].T.contiguous(), tensors["b_enc"], tensors["W_dec"], tensors["b_dec"], threshold)


def _folded(settings: dict[str, Any], raw: RawSAE, notes: list[str], folder: Path) -> RawSAE:
    """The same function on raw activations, with unit decoder rows and b_dec subtracted from the input."""
    # Training checkpoints of the TopK family may rank and cut activations times the norm of their row.
    in_norm_units = bool(settings.get("rescale_acts_by_decoder_norm")) and "topk" in settings["architecture"]
    if settings["normalize_activations"] == "expected_average_only_in":
        scale = _input_scale(folder)
        notes.append(f"its input was multiplied by {scale:.6g}: this was folded into the weights")
        wide = widened(raw)
        raw = replace(wide, W_enc=wide.W_enc * scale, W_dec=wide.W_dec / scale, b_dec=wide.b_dec / scale)
        if in_norm_units:
            raw = replace(raw, threshold=raw.threshold / scale)
    raw = fold_decoder_norms(raw, notes, in_norm_units=in_norm_units)
    return raw if settings.get("apply_b_dec_to_input", True) else fold_input_bias(raw, notes)


def _input_scale(folder: Path) -> float:
    path = folder / SCALER_FILE
    wanted = (
        f"{folder / CONFIG_FILE}: normalize_activations is 'expected_average_only_in': its input was multiplied by a"
    )
    if not path.exists():
        raise SAEError(
            f"{wanted} factor that the folder does not hold; put {SCALER_FILE} of the same training beside it"
        )
    factor = read_json(path).get("scaling_factor")
    if not isinstance(factor, int | float) or isinstance(factor, bool) or not 0 < factor < float("inf"):
        raise SAEError(f"{path}: scaling_factor is {factor!r}, must be a positive number")
    return float(factor)


def _training_details(settings: dict[str, Any]) -> dict[str, Any]:
    """Fields of the training configuration: of a checkpoint itself, or noted in the metadata of an inference folder."""
    details = settings["metadata"].get("training_architecture_details")
    return {**(details if isinstance(details, dict) else {}), **settings}


def _whole_k(settings: dict[str, Any], notes: list[str]) -> int | None:
    k = _training_details(settings).get("k")
    if isinstance(k, bool) or not isinstance(k, int | float):
        return None
    if k != int(k):
        notes.append(f"k was {k:g}, which is no whole number: left out (it plays no part after training)")
        return None
    return int(k)


def _groups(settings: dict[str, Any], n_features: int, path: Path, source: Path) -> tuple[int, ...]:
    widths = _training_details(settings).get("matryoshka_widths")
    if not isinstance(widths, list) or not widths:
        return (n_features,)
    agree(path, "the last of matryoshka_widths", widths[-1], n_features, source)
    groups = tuple(int(end) - int(start) for start, end in zip([0, *widths[:-1]], widths, strict=True))
    if min(groups) <= 0:
        raise SAEError(f"{path}: matryoshka_widths are {widths}, must rise")
    return groups


def _foreign_metadata(sae: MatryoshkaSAE) -> dict[str, Any]:
    """What SAELens had noted about an autoencoder that was read from its form."""
    metadata = sae.extra.get("saelens")
    return metadata if isinstance(metadata, dict) else {}
