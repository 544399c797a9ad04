"""SAELens' form: `cfg.json` and `sae_weights.safetensors`, as a JumpReLU autoencoder.

`sae_weights.safetensors`: W_enc (d, F), b_enc (F), W_dec (F, d), b_dec (d), threshold (F).
SAELens has no inference class with Matryoshka groups; k, groups and our `extra` ride in `metadata`, which it keeps.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from sae.config import SAEConfig
from sae.errors import SAEError
from sae.files import read_json, write_atomically, write_json
from sae.formats.tensors import RawSAE, dtype_name, fill, fold_decoder_norms, load_safetensors, need
from sae.model import MatryoshkaSAE

CONFIG_FILE = "cfg.json"
WEIGHTS_FILE = "sae_weights.safetensors"
# The release whose layout is written; SAELens upgrades anything below 6.0 by guesses.
SAELENS_VERSION = "6.54.12"
_ARCHITECTURES = ("jumprelu", "standard")
_METADATA = "matryoshka"


def write_saelens(
    sae: MatryoshkaSAE, folder: Path, *, model_name: str | None = None, hook_name: str | None = None
) -> None:
    """Write a folder that `sae_lens.SAE.load_from_disk` opens, with the same activations.

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
            "sae_lens_version": SAELENS_VERSION,
            "sae_lens_training_version": None,
            "model_name": model_name,
            "hook_name": hook_name,
            _METADATA: {"k": sae.k, "groups": list(sae.groups), "train": sae.training_config, "extra": sae.extra},
        },
    }
    try:
        json.dumps(settings, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise SAEError(f"extra = {sae.extra!r}: must hold JSON values only ({error})") from error
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / WEIGHTS_FILE, lambda path: save_file(tensors, path))
    write_json(folder / CONFIG_FILE, settings)


def read_saelens(folder: Path) -> MatryoshkaSAE:
    """Read a JumpReLU or standard (ReLU) autoencoder of SAELens.

    Free decoder norms and a b_dec that is not applied to the input are folded into the weights, so the reconstruction
    is the same. `metadata` of a foreign file is kept in `extra["saelens"]`.

    Raises:
        SAEError: another architecture, activations normalised or reshaped at run time, no threshold, damaged tensors.
    """
    path, source = folder / CONFIG_FILE, folder / WEIGHTS_FILE
    settings = read_json(path)
    _check_settings(settings, path)
    tensors = load_safetensors(source)
    need(tensors, ("W_enc", "b_enc", "W_dec", "b_dec"), source)
    if settings["architecture"] == "standard":
        # Plain relu is a threshold of zero.
        tensors["threshold"] = torch.zeros(())
    need(tensors, ("threshold",), source)
    if tensors["W_enc"].ndim != 2:
        raise SAEError(f"{source}: W_enc has shape {tuple(tensors['W_enc'].shape)}, must be (d, F)")

    metadata = settings.get("metadata") or {}
    ours = metadata.get(_METADATA) or {"extra": {"saelens": metadata}}
    d, n_features = tensors["W_enc"].shape
    for field, found in (("d_in", d), ("d_sae", n_features)):
        if settings.get(field, found) != found:
            raise SAEError(f"{path}: {field} is {settings[field]}, but the weights in {source.name} have {found}")
    config = SAEConfig(
        d=d,
        n_features=n_features,
        k=ours.get("k"),
        groups=tuple(ours.get("groups", (n_features,))),
        dtype=dtype_name(tensors["W_enc"], source),
    )
    raw = _raw(tensors, bool(settings.get("apply_b_dec_to_input", True)))
    sae = fill(config, raw, ours.get("extra", {}), source)
    sae.training_config = ours.get("train")
    return sae


def _raw(tensors: dict[str, torch.Tensor], b_dec_applied: bool) -> RawSAE:
    W_enc, b_enc, b_dec = tensors["W_enc"].T.contiguous(), tensors["b_enc"], tensors["b_dec"]
    if not b_dec_applied:
        # W x + b = W (x − b_dec) + (b + W b_dec)
        b_enc = (b_enc.float() + W_enc.float() @ b_dec.float()).to(b_enc.dtype)
    threshold = tensors["threshold"]
    raw = fold_decoder_norms(RawSAE(W_enc, b_enc, tensors["W_dec"], b_dec, threshold))
    if raw.threshold.ndim and bool((raw.threshold == raw.threshold[0]).all()):
        raw = RawSAE(raw.W_enc, raw.b_enc, raw.W_dec, raw.b_dec, raw.threshold[0])
    return raw


def _check_settings(settings: dict[str, Any], path: Path) -> None:
    architecture = settings.get("architecture")
    if architecture not in _ARCHITECTURES:
        known = " and ".join(_ARCHITECTURES)
        raise SAEError(
            f"{path}: architecture is {architecture!r}; only {known} can be read (SAELens saves BatchTopK "
            "and Matryoshka autoencoders as jumprelu for inference)"
        )
    for field in ("normalize_activations", "reshape_activations"):
        value = settings.get(field, "none")
        if value != "none":
            raise SAEError(f"{path}: {field} is {value!r}; fold it into the weights in SAELens first, then save again")
