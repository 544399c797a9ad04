"""dictionary_learning's form: `ae.pt` (a state dict) and `config.json`, as microsoft/maira-2-sae has it.

`ae.pt` of a MatryoshkaBatchTopKSAE: W_enc (d, F), b_enc (F), W_dec (F, d), b_dec (d), k, threshold, group_sizes.
The order of `group_sizes` is the order of the prefixes, whether the smallest or the largest comes first.
The other classes that can be read are in `dictionary_classes`; `docs/sae-files.md` has the tensors of each.
`ae.pt` is read with weights-only unpickling, which runs no code of the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from sae.errors import SAEError
from sae.files import read_json, write_atomically, write_json
from sae.formats.dictionary_classes import (
    BATCH_TOP_K,
    CLASSES,
    JUMP_RELU,
    MATRYOSHKA,
    PLAIN,
    ROW_TOP_K,
    DictionaryClass,
)
from sae.formats.kept_bias import keep_bias, unshifted
from sae.formats.state_dict import load_state, save_state
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
    narrowed,
    one_threshold,
    only,
    shift,
    two_axes,
)
from sae.model import MatryoshkaSAE

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "ae.pt"
_EXTRA = "dictionary_learning"
# Our own fields in config.json, beside "trainer" and "buffer".
_OURS = "interp"


def read_dictionary_learning(folder: Path) -> MatryoshkaSAE:
    """Read a folder; `config.json` is kept in `extra["dictionary_learning"]`, so that writing gives it back.

    Raises:
        SAEError: the pickle holds more than tensors, another class, a missing, damaged or unknown tensor, or weights
            and configuration that disagree.
    """
    source, config_path = folder / WEIGHTS_FILE, folder / CONFIG_FILE
    settings = read_json(config_path) if config_path.exists() else {}
    ours = settings.pop(_OURS, None)
    state = load_state(source)
    name = _class_of(settings, state, config_path, source)
    only(state, CLASSES[name].names, source)
    raw = _raw(CLASSES[name], state, source)
    n_features, d = raw.W_enc.shape
    k, groups = _k_and_groups(state, n_features, source)
    _check_trainer(settings, {"activation_dim": d, "dict_size": n_features, "k": k}, groups, config_path, source)
    if isinstance(ours, dict) and isinstance(ours.get("sae"), dict):
        return _as_written(raw, CLASSES[name], k, groups, ours, config_path, source)
    notes: list[str] = []
    raw = one_threshold(fold_decoder_norms(raw, notes))
    if not CLASSES[name].subtracts_b_dec:
        raw = fold_input_bias(raw, notes)
    dtype = dtype_name(raw.W_enc, source)
    found = config_of(source, d=d, n_features=n_features, k=k, groups=groups or (n_features,), dtype=dtype)
    extra: dict[str, Any] = {_EXTRA: settings} if settings else {}
    if notes:
        extra["notes"] = notes
    return fill(found, raw, extra, source)


def write_dictionary_learning(sae: MatryoshkaSAE, folder: Path, **trainer_fields: Any) -> str:
    """Write a folder that dictionary_learning loads: the class it was read from, else the one that holds it all.

    That is MatryoshkaBatchTopKSAE for one threshold and a known k, JumpReluAutoEncoder otherwise. The latter does not
    subtract b_dec from its input, so b_enc is shifted to match, in float32; `kept_bias` brings it back exactly.

    Args:
        trainer_fields: fields to set in config.json's "trainer" (`layer`, `lm_name`, `submodule_name` …).

    Returns:
        The name of the class.
    """
    found = sae.extra.get(_EXTRA)
    settings: dict[str, Any] = found if isinstance(found, dict) else {"buffer": {}}
    before = str(_known_trainer(settings).get("dict_class"))
    name = _class_to_write(sae, before)
    trainer = {**(_known_trainer(settings) or _trainer_fields(sae, name)), **trainer_fields, "dict_class": name}
    settings = {**settings, "trainer": trainer}
    if name != before:
        settings[_OURS] = {
            "sae": sae.config.to_dict(),
            "train": sae.training_config,
            "extra": sae.extra,
            "threshold_per_feature": sae.threshold.ndim > 0,
        }
    check_json(settings, sae.extra)
    state = _state(sae, name)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / WEIGHTS_FILE, lambda path: save_state(state, path))
    keep_bias(folder, None if CLASSES[name].subtracts_b_dec else sae.b_enc)
    write_json(folder / CONFIG_FILE, settings)
    return name


def _class_of(settings: dict[str, Any], state: dict[str, Any], config_path: Path, source: Path) -> str:
    """The class that the configuration names, or the only one that has these tensors."""
    name = _known_trainer(settings).get("dict_class")
    if name is None:
        fitting = [known for known, form in CLASSES.items() if set(form.names) == set(state)]
        if fitting == [BATCH_TOP_K]:
            raise SAEError(
                f"{source} could be a {BATCH_TOP_K} or an {ROW_TOP_K}, which have the same tensors and different "
                f"features: put the {CONFIG_FILE} beside it that was saved with it"
            )
        # Without a class that fits, the message about missing tensors names what the usual one wants.
        return fitting[0] if fitting else MATRYOSHKA
    if name == ROW_TOP_K:
        raise SAEError(
            f"{config_path}: dict_class is {name!r}, which keeps the k largest activations of each token; the "
            "autoencoders here encode by a threshold, so its features would come out differently"
        )
    if name not in CLASSES:
        raise SAEError(f"{config_path}: dict_class is {name!r}; only {', '.join(CLASSES)} can be read")
    return str(name)


def _raw(form: DictionaryClass, state: dict[str, torch.Tensor], source: Path) -> RawSAE:
    encoder, b_enc, decoder, b_dec = (state[name] for name in form.weights)
    name = form.weights[0]
    if form.linear:
        n_features, d = two_axes(encoder, name, "(F, d)", source)
        two_axes(decoder, form.weights[2], "(d, F)", source)
        decoder = decoder.T.contiguous()
    else:
        d, n_features = two_axes(encoder, name, "(d, F)", source)
        encoder = encoder.T.contiguous()
    # A plain relu keeps what is above zero.
    raw = RawSAE(encoder, b_enc, decoder, b_dec, state.get("threshold", torch.zeros(())))
    check_dtypes(raw, source)
    check_shapes(raw, n_features, d, source)
    check_finite(raw, source)
    if bool((raw.threshold < 0).any()):
        raise SAEError(
            f"{source}: threshold is {float(raw.threshold.min()):g}: it was never set (training sets it after some "
            "steps), so nothing can be encoded"
        )
    return raw


def _k_and_groups(state: dict[str, torch.Tensor], n_features: int, source: Path) -> tuple[int | None, tuple[int, ...]]:
    """k and the group sizes of the state dict; None and () for a class without them."""
    if "k" in state:
        if state["k"].numel() != 1 or state["k"].is_floating_point():
            raise SAEError(
                f"{source}: k is {state['k'].dtype} of shape {tuple(state['k'].shape)}, must be a whole number"
            )
        k: int | None = int(state["k"])
    else:
        k = None
    sizes = state.get("group_sizes")
    if sizes is None:
        return k, ()
    if sizes.is_floating_point():
        raise SAEError(f"{source}: group_sizes are {sizes.dtype}, must be whole numbers")
    groups = tuple(int(size) for size in sizes.reshape(-1))
    if sum(groups) != n_features or min(groups, default=0) <= 0:
        raise SAEError(
            f"{source}: group_sizes are {list(groups)}: they must be positive and sum to its {n_features} features"
        )
    return k, groups


def _check_trainer(
    settings: dict[str, Any], found: dict[str, object], groups: tuple[int, ...], config_path: Path, source: Path
) -> None:
    trainer = _known_trainer(settings)
    for field, value in found.items():
        if value is not None:
            agree(config_path, field, trainer.get(field), value, source)
    if groups:
        agree(config_path, "group_sizes", trainer.get("group_sizes"), list(groups), source)


def _as_written(
    raw: RawSAE,
    form: DictionaryClass,
    k: int | None,
    groups: tuple[int, ...],
    ours: dict[str, Any],
    config_path: Path,
    source: Path,
) -> MatryoshkaSAE:
    """An autoencoder of ours that went out by `write_dictionary_learning`: it comes back with all it had."""
    field = f"{_OURS}.sae"
    config = config_from(config_path, field, ours["sae"])
    n_features, d = raw.W_enc.shape
    agree(config_path, f"{field}.d", config.d, d, source)
    agree(config_path, f"{field}.n_features", config.n_features, n_features, source)
    if k is not None:
        agree(config_path, f"{field}.k", config.k, k, source)
    if groups:
        agree(config_path, f"{field}.groups", list(config.groups), list(groups), source)
    if not ours.get("threshold_per_feature", False):
        raw = one_threshold(raw)
    if not form.subtracts_b_dec:
        raw = unshifted(raw, config.dtype, source)
    extra, train = ours.get("extra"), ours.get("train")
    raw = narrowed(raw, config.dtype, f"{config_path}: {field}.dtype", source)
    sae = fill(config, raw, extra if isinstance(extra, dict) else {}, source)
    sae.training_config = train if isinstance(train, dict) else None
    return sae


def _class_to_write(sae: MatryoshkaSAE, before: str) -> str:
    per_feature = sae.threshold.ndim > 0
    fits = {
        MATRYOSHKA: sae.k is not None and not per_feature,
        BATCH_TOP_K: sae.k is not None and not per_feature and len(sae.groups) == 1,
        "AutoEncoder": not per_feature and float(sae.threshold) == 0 and len(sae.groups) == 1,
        JUMP_RELU: True,
    }
    if fits.get(before, False):
        return before
    return MATRYOSHKA if fits[MATRYOSHKA] else JUMP_RELU


def _state(sae: MatryoshkaSAE, name: str) -> dict[str, torch.Tensor]:
    form = CLASSES[name]
    W_enc, b_enc, W_dec, b_dec = (getattr(sae, part).detach().cpu() for part in PLAIN)
    threshold = sae.threshold.detach().cpu()
    if not form.subtracts_b_dec:
        shifted = b_enc.double() - shift(W_enc, b_dec)
        W_enc, b_enc, W_dec, b_dec = (part.float() for part in (W_enc, shifted, W_dec, b_dec))
        threshold = threshold.expand(sae.n_features)
    ours = (W_enc, b_enc, W_dec.T, b_dec) if form.linear else (W_enc.T, b_enc, W_dec, b_dec)
    state = {key: tensor.contiguous().clone() for key, tensor in zip(form.weights, ours, strict=True)}
    more = {
        "k": torch.tensor(sae.k or 0, dtype=torch.int32),
        "threshold": threshold.clone(),
        "group_sizes": torch.tensor(sae.groups, dtype=torch.int64),
    }
    return {**state, **{key: more[key] for key in form.more}}


def _known_trainer(settings: dict[str, Any]) -> dict[str, Any]:
    trainer = settings.get("trainer")
    return trainer if isinstance(trainer, dict) else {}


def _trainer_fields(sae: MatryoshkaSAE, name: str) -> dict[str, Any]:
    trainer_class = {MATRYOSHKA: "MatryoshkaBatchTopKTrainer", JUMP_RELU: "JumpReluTrainer"}[name]
    fields: dict[str, Any] = {
        "trainer_class": trainer_class,
        "dict_class": name,
        "activation_dim": sae.d,
        "dict_size": sae.n_features,
        "layer": None,
        "lm_name": None,
        "submodule_name": None,
    }
    if name == MATRYOSHKA:
        fractions = [size / sae.n_features for size in sae.groups]
        fields |= {"k": sae.k, "group_sizes": list(sae.groups), "group_fractions": fractions}
    return fields
