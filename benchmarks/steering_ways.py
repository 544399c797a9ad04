"""The ways of steering that `benchmarks/steering.py` compares: each gives specs of strength 1, and strengths to try."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from radiology.phantom.factors import FIELD_OF_KEY, GRADED, ZONES
from radiology.phantom.grammar_sentences import (
    DEVICES,
    device_sentences,
    finding_sentences,
    negated_sentences,
    normal_heart_sentences,
)
from sae.model import MatryoshkaSAE
from steering import SteeringSpec
from steering.experiments.design import Goal
from steering.methods.cleaned import disturbed, push_pd, without
from steering.methods.contrast import Contrast
from steering.methods.features import (
    EVERYWHERE,
    FRONTAL,
    ablated,
    in_maps,
    raised_to_maps,
    reversed_where_active,
    uniform,
)
from steering.methods.fields import field_spec, mean_direction, over_sites

#: Ways that need an autoencoder and labels of studies, and no pairs.
OF_FEATURES = ("one feature, its map", "group, own maps", "group, difference maps", "group, gated", "group, cleaned")
WITH_GROUPS = ("one feature, its map", "group, own maps", "group, difference maps")
GROUPS = (5, 10, 20)
GATED = 10


@dataclass(frozen=True)
class Candidate:
    """One variant of a way.

    Attributes:
        way: row of the table.
        variant: what distinguishes it from other variants of the same way.
        spec: at strength 1; None for words in the prompt.
        strengths: to try.
        prompt: words for the indication.
    """

    way: str
    variant: str
    spec: SteeringSpec | None
    strengths: tuple[float, ...] = (1.0,)
    prompt: str | None = None


@dataclass(frozen=True)
class Ground:
    """What the ways are made from; nothing of it comes from studies that are reported on.

    Attributes:
        contrast: of the finding, on the select half.
        counterfactual_pd: mean residual difference of counterfactual pairs, (P, d).
        early_pd: site before ``site`` → difference of means there, (P, d).
        tops_f: largest activation of every feature, (F,).
        x_nd, patch_n: residuals of some frontal patches, and which patch each is.
    """

    site: str
    sae: MatryoshkaSAE
    contrast: Contrast
    counterfactual_pd: np.ndarray
    early_pd: Mapping[str, np.ndarray]
    tops_f: np.ndarray
    x_nd: np.ndarray
    patch_n: np.ndarray


def candidates(ground: Ground, goal: Goal) -> Iterator[Candidate]:
    """Every variant of every way."""
    contrast, site = ground.contrast, ground.site
    yield Candidate("prompt", "words", None, prompt=words(contrast.key, goal))
    yield from _uniform(ground, goal)
    single = in_maps(site, contrast.carriers(1), contrast.own_map, goal)
    yield Candidate("one feature, its map", "", single, (2.0, 4.0, 8.0))
    for n in GROUPS:
        group = contrast.carriers(n)
        if len(group) < n and n != GROUPS[0]:
            continue
        own, added = (in_maps(site, group, of, goal) for of in (contrast.own_map, contrast.difference_map))
        yield Candidate("group, own maps", f"{n}", own, (1.0, 2.0, 4.0))
        yield Candidate("group, difference maps", f"{n}", added, (1.0, 2.0, 4.0))
    yield from _gated(ground, goal)
    yield from _cleaned(ground, goal)
    yield from _fields(ground, goal)


def _uniform(ground: Ground, goal: Goal) -> Iterator[Candidate]:
    feature = ground.contrast.carriers(1)
    tops = [float(ground.tops_f[f]) for f in feature]
    for name, tokens, strengths in (
        ("one feature, all tokens", EVERYWHERE, (0.25, 0.5, 1.0)),
        ("one feature, image tokens", FRONTAL, (0.5, 1.0, 2.0)),
    ):
        yield Candidate(name, f"{feature[0]}", uniform(ground.site, feature, tops, goal, tokens), strengths, feature)


def _gated(ground: Ground, goal: Goal) -> Iterator[Candidate]:
    """Token by token by the features' own activation: raised to the maps, or reversed where active."""
    group = ground.contrast.carriers(GATED)
    if goal == "present":
        yield Candidate(
            "group, gated", "raised", raised_to_maps(ground.site, group, ground.contrast.own_map), (1.0, 2.0, 4.0)
        )
        return
    yield Candidate("group, gated", "ablated", ablated(ground.site, group))
    for factor in (-1.0, -3.0):
        yield Candidate("group, gated", f"times {factor:g}", reversed_where_active(ground.site, group, factor))


def _cleaned(ground: Ground, goal: Goal) -> Iterator[Candidate]:
    contrast = ground.contrast
    group = contrast.carriers(GATED)
    maps_pm = np.stack([contrast.difference_map(f).reshape(-1) for f in group], axis=1)
    push = push_pd(ground.sae, group, maps_pm)
    moved = disturbed(ground.sae, push * 2, group, ground.x_nd, ground.patch_n, 10)
    rows_md = ground.sae.W_dec[list(moved)].detach().float().cpu().numpy()
    spec = field_spec(ground.site, without(push, rows_md), contrast.grid, goal, name="cleaned")
    yield Candidate("group, cleaned", "", spec, (1.0, 2.0, 4.0))


def _fields(ground: Ground, goal: Goal) -> Iterator[Candidate]:
    contrast, site = ground.contrast, ground.site
    mean = mean_direction(site, contrast.field_pd, goal, name="difference of means")
    yield Candidate("difference of means", "", mean, (2.0, 4.0, 8.0))
    spec = field_spec(site, contrast.field_pd, contrast.grid, goal, name="difference of means")
    yield Candidate("difference of means, field", "", spec, (0.5, 1.0, 2.0))
    early = [field_spec(at, f, contrast.grid, goal, name=f"{at} means") for at, f in ground.early_pd.items()]
    yield Candidate("difference of means, three sites", "", over_sites([*early, spec]), (0.25, 0.5, 1.0))
    spec = field_spec(site, ground.counterfactual_pd, contrast.grid, goal, name="counterfactual")
    yield Candidate("counterfactual pairs, field", "", spec, (0.5, 1.0, 2.0))


def words(key: str, goal: Goal) -> str:
    """What a person would write into the indication: the finding in the phantom's own words, or its negation."""
    name = FIELD_OF_KEY[key]
    if goal == "present":
        value = _clear_value(name)
        if name in DEVICES:
            return device_sentences(name, value, None)[0]
        return finding_sentences(name, value, False, None)[0]
    if name in DEVICES:
        return "Before surgery."  # a device is never negated in the phantom's language
    return normal_heart_sentences()[0] if key == "cardiomegaly" else negated_sentences((key.partition(":")[0],))[0]


def _clear_value(name: str) -> Any:
    if name in GRADED:
        return GRADED[name][1]
    if name == "nasogastric_tube":
        return "placed"
    return ZONES[0] if name.startswith(("consolidation", "nodule")) else True
