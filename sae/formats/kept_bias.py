"""The exact encoder bias, beside a form whose encoder does not subtract b_dec.

Such a form holds b_enc − W_enc b_dec, rounded, and the way back rounds again. So that an autoencoder of ours comes back
bit for bit, its own b_enc lies in `interp.safetensors` in the same folder. Other tools do not look at it; without it,
the bias comes back equal to rounding.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from sae.errors import SAEError
from sae.files import write_atomically
from sae.formats.tensors import RawSAE, fold_input_bias, load_safetensors, only

FILE = "interp.safetensors"
# Two roundings to float32 of b_enc and of the shifted bias, with room for another order of summation.
_ROUNDING = 1e-6


def keep_bias(folder: Path, b_enc: torch.Tensor | None) -> None:
    """Write the bias; None takes away one that an earlier export left."""
    path = folder / FILE
    if b_enc is None:
        path.unlink(missing_ok=True)
        return
    tensors = {"b_enc": b_enc.detach().cpu().contiguous()}
    write_atomically(path, lambda temporary: save_file(tensors, temporary))


def unshifted(raw: RawSAE, dtype: str, source: Path) -> RawSAE:
    """`raw`, whose encoder does not subtract b_dec, for one that does: with the kept bias where there is one,
    else with one rounded to `dtype`.

    Raises:
        SAEError: the kept bias is not that of these weights.
    """
    folded, path = fold_input_bias(raw, []), source.parent / FILE
    if not path.exists():
        return replace(folded, b_enc=folded.b_enc.to(getattr(torch, dtype)))
    tensors = load_safetensors(path)
    only(tensors, ("b_enc",), path)
    kept_f, folded_f = tensors["b_enc"], folded.b_enc.double()
    near_f = _ROUNDING * (raw.b_enc.double().abs() + folded_f.abs())
    if kept_f.shape != folded_f.shape or bool(((kept_f.double() - folded_f).abs() > near_f).any()):
        raise SAEError(f"{path} is not of the weights in {source.name}; take all files from one export, or delete it")
    return replace(folded, b_enc=kept_f)
