"""Stability across seeds: whether the features of an SAE are found again by SAEs that differ in the seed alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.run import Run
from radiology.errors import InputError

if TYPE_CHECKING:
    from activations import ActivationStore
    from interp.evaluation.quality import Sample
    from sae.matching import Stability

TRAIN = "train-sae"
#: What may differ between SAEs that are compared: their names, and what a seed decides.
_FREE = frozenset({"name", "seed"})


def other_seeds(run: Run, name: str) -> tuple[str, ...]:
    """Finished SAEs of the run with the settings of this one and another seed, by name."""
    own = run.config_of(f"{TRAIN}:{name}")
    found = []
    for stage in run.record.stages:
        kind, _, other = stage.partition(":")
        if kind == TRAIN and other != name and run.is_done(stage):
            config = run.config_of(stage)
            if not differing(own, config) and config.get("seed") != own.get("seed"):
                found.append(other)
    return tuple(sorted(found))


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Settings, seed and name aside, in which two trainings differ."""
    return sorted(key for key in {*one, *other} - _FREE if one.get(key) != other.get(key))


def require_comparable(run: Run, name: str, others: Sequence[str]) -> None:
    """
    Raises:
        InputError: an SAE is missing, is this one, or reads another site.
    """
    site = run.config_of(f"{TRAIN}:{name}")["site"]
    for other in others:
        if other == name:
            raise InputError(f"--seeds-of {other!r}: is the SAE itself; name SAEs that were trained with other seeds")
        theirs = run.config_of(f"{TRAIN}:{other}")["site"]
        if theirs != site:
            raise InputError(f"--seeds-of {other!r}: reads {theirs}, not {site}; their directions cannot be compared")


def stability_of(
    run: Run, name: str, others: Sequence[str], store: ActivationStore, site: str, sample: Sample, seed: int
) -> dict[str, Any]:
    """The section ``stability`` of ``docs/evaluation.md`` but for the control.

    Only features that fire on the sample are matched: dead ones keep the directions they started with.
    """
    from interp.evaluation.quality import live_features
    from sae.matching import SAME, stability

    sae = run.sae_named(name)
    live_f = live_features(store, site, sae, sample)
    rows_fd = sae.W_dec.detach().float()[live_f]
    pairs: list[dict[str, Any]] = []
    cosine_pn = []
    for other in others:
        partner = run.sae_named(other)
        theirs_gd = partner.W_dec.detach().float()[live_features(store, site, partner, sample)]
        found = stability(rows_fd, theirs_gd, seed=seed)
        cosine_pn.append(found.cosine_n)
        settings = (run.config_of(f"{TRAIN}:{one}") for one in (name, other))
        pairs.append({"sae": other, "differs_in": differing(*settings), **_figures(found)})
    cosine_f = np.full(sae.n_features, np.nan)
    cosine_f[live_f] = np.mean(cosine_pn, axis=0)
    return {
        "saes": list(others),
        **_over_pairs(np.array(cosine_pn), pairs, seed),
        "same_from": SAME,
        "by_group": _by_group(cosine_f, sae.groups),
        "pairs": pairs,
        "cosine_by_feature": [None if np.isnan(value) else round(float(value), 4) for value in cosine_f],
    }


def _figures(found: Stability) -> dict[str, Any]:
    names = ("features", "cosine", "low", "high", "same", "nearest", "chance", "chance_same", "exact")
    return {name: getattr(found, name) for name in names}


def _over_pairs(cosine_pn: np.ndarray, pairs: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    """Means over pairs; the interval resamples features, each with all its partners."""
    from sae.ranking import group_weights, percentile_interval

    mean_n = cosine_pn.mean(axis=0)
    low, high = percentile_interval(group_weights(np.arange(len(mean_n)), seed=seed) @ mean_n / len(mean_n))
    means = {name: float(np.mean([pair[name] for pair in pairs])) for name in ("same", "chance", "chance_same")}
    return {"features": len(mean_n), "cosine": float(mean_n.mean()), "low": low, "high": high, **means}


def _by_group(cosine_f: np.ndarray, groups: Sequence[int]) -> list[dict[str, Any]]:
    """The live features of each Matryoshka group by itself."""
    rows = []
    for start, end in pairwise([0, *np.cumsum(groups).tolist()]):
        known = cosine_f[start:end][~np.isnan(cosine_f[start:end])]
        mean = float(known.mean()) if len(known) else float("nan")
        rows.append({"from": start, "to": end, "features": len(known), "cosine": mean})
    return rows


def seeds_command(run_path: str, name: str) -> str:
    """The commands that train a second seed and compare."""
    other = f"{name}-s1"
    train = f"interp train-sae --run {run_path} --sae {other} --seed 1 (and the settings of {name})"
    return f"{train}; interp eval-sae --run {run_path} --sae {name} --seeds-of {other}"
