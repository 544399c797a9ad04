"""dictionary_learning's form: `ae.pt` (a state dict) and `config.json`, as microsoft/maira-2-sae has it.

`ae.pt` of a MatryoshkaBatchTopKSAE: W_enc (d, F), b_enc (F), W_dec (F, d), b_dec (d), k, threshold, group_sizes.
The order of `group_sizes` is the order of the prefixes, whether the smallest or the largest comes first.
`ae.pt` is read with weights-only unpickling, which runs no code of the file.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from sae.config import SAEConfig
from sae.errors import SAEError
from sae.files import read_json, write_atomically, write_json
from sae.formats.tensors import RawSAE, dtype_name, fill, fold_decoder_norms, need, scalar_threshold
from sae.model import MatryoshkaSAE

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "ae.pt"
DICT_CLASS = "MatryoshkaBatchTopKSAE"
_EXTRA = "dictionary_learning"


def read_dictionary_learning(folder: Path) -> MatryoshkaSAE:
    """Read a folder; `config.json` is kept in `extra["dictionary_learning"]`, so that writing gives it back.

    Raises:
        SAEError: the pickle holds more than tensors, another class, a missing or damaged tensor.
    """
    source = folder / WEIGHTS_FILE
    config_path = folder / CONFIG_FILE
    settings = read_json(config_path) if config_path.exists() else {}
    trainer = settings.get("trainer")
    dict_class = trainer.get("dict_class", DICT_CLASS) if isinstance(trainer, dict) else DICT_CLASS
    if dict_class != DICT_CLASS:
        raise SAEError(f"{config_path}: dict_class is {dict_class!r}; only {DICT_CLASS} can be read")
    state = _load_weights(source)
    need(state, ("W_enc", "b_enc", "W_dec", "b_dec", "k", "threshold", "group_sizes"), source)
    if state["W_enc"].ndim != 2:
        raise SAEError(f"{source}: W_enc has shape {tuple(state['W_enc'].shape)}, must be (d, F)")
    d, n_features = state["W_enc"].shape
    if state["k"].numel() != 1:
        raise SAEError(f"{source}: k has shape {tuple(state['k'].shape)}, must be one number")
    config = SAEConfig(
        d=d,
        n_features=n_features,
        k=int(state["k"]),
        groups=tuple(int(size) for size in state["group_sizes"].reshape(-1)),
        dtype=dtype_name(state["W_enc"], source),
    )
    W_enc = state["W_enc"].T.contiguous()
    raw = RawSAE(W_enc, state["b_enc"], state["W_dec"], state["b_dec"], state["threshold"])
    extra = {_EXTRA: settings} if settings else {}
    return fill(config, fold_decoder_norms(raw), extra, source)


def write_dictionary_learning(sae: MatryoshkaSAE, folder: Path, **trainer_fields: Any) -> None:
    """Write a folder that dictionary_learning loads.

    Args:
        trainer_fields: fields to set in config.json's "trainer" (`layer`, `lm_name`, `submodule_name` …).

    Raises:
        SAEError: the autoencoder has a threshold for each feature or no k.
    """
    if sae.k is None:
        raise SAEError("k is not known: dictionary_learning's form needs it; set it in the configuration")
    threshold = scalar_threshold(sae, "dictionary_learning")
    state = {
        "W_enc": sae.W_enc.detach().cpu().T.contiguous(),
        "b_enc": sae.b_enc.detach().cpu(),
        "W_dec": sae.W_dec.detach().cpu(),
        "b_dec": sae.b_dec.detach().cpu(),
        "k": torch.tensor(sae.k, dtype=torch.int32),
        "threshold": threshold.detach().cpu().clone(),
        "group_sizes": torch.tensor(sae.groups, dtype=torch.int64),
    }
    settings = sae.extra.get(_EXTRA) or {"trainer": _trainer_fields(sae), "buffer": {}}
    settings = {**settings, "trainer": {**settings.get("trainer", {}), **trainer_fields}}
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / WEIGHTS_FILE, lambda path: torch.save(state, path))
    write_json(folder / CONFIG_FILE, settings)


def _trainer_fields(sae: MatryoshkaSAE) -> dict[str, Any]:
    return {
        "trainer_class": "MatryoshkaBatchTopKTrainer",
        "dict_class": DICT_CLASS,
        "activation_dim": sae.d,
        "dict_size": sae.n_features,
        "k": sae.k,
        "group_sizes": list(sae.groups),
        "group_fractions": [size / sae.n_features for size in sae.groups],
        "layer": None,
        "lm_name": None,
        "submodule_name": None,
    }


def _load_weights(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise SAEError(f"{path} is missing")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise SAEError(
            f"{path} holds more than tensors, or is no torch file; it was not opened, because that could run its code"
        ) from error
    except (RuntimeError, EOFError, OSError) as error:
        raise SAEError(f"{path} is damaged ({error}); copy it again") from error
    if not isinstance(state, dict):
        raise SAEError(f"{path} holds a {type(state).__name__}, not a state dict")
    return state
