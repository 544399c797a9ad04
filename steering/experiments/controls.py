"""Controls: the same push in other directions.

All keep the spec's tokens, and token by token the length of its change: they differ from it in direction only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import Any

import numpy as np
import torch

from sae.model import MatryoshkaSAE
from steering.errors import SteeringError
from steering.interventions.directions import PARALLEL, equal_rate_feature, group_direction, random_direction
from steering.interventions.spec import Intervention, Redirect, SteeringSpec, as_grid
from steering.schema import ControlKind


@dataclass(frozen=True)
class Controls:
    """Which controls an experiment runs, at every strength.

    Args:
        random: random directions of equal norm. Single ones are not always inert, so that fewer than three say little.
        wrong_sign: the change backwards.
        equal_rate: the direction of a feature that fires as often; needs firing rates.
        prompt_only: words put into the indication instead of steering, run once; ``None`` leaves this control out.
        seed: of the random directions.
        random_groups: groups of other features, as many as the condition steers, each in its own map (or with its own
            max activation) and scaled so that the whole change is as long as the condition's; needs a pool.
    """

    random: int = 5
    wrong_sign: bool = True
    equal_rate: bool = True
    prompt_only: str | None = None
    seed: int = 0
    random_groups: int = 0

    def __post_init__(self) -> None:
        if self.random < 1:
            raise SteeringError(
                f"controls.random: {self.random}; at least one random direction is needed to compare with"
            )
        if self.random_groups < 0:
            raise SteeringError(f"controls.random_groups: {self.random_groups} must not be negative")

    def to_json(self) -> dict[str, Any]:
        fields = asdict(self)
        return fields if self.random_groups else {k: v for k, v in fields.items() if k != "random_groups"}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Controls:
        try:
            return Controls(**data)
        except TypeError as error:
            raise SteeringError(f"controls: {error}") from error


@dataclass(frozen=True)
class FeaturePool:
    """Features that random groups are drawn from, with what steering needs to know of each.

    Attributes:
        max_activations: feature → largest activation; silent features are left out.
        maps: feature → (rows, columns) mean activation map on the frontal image, where it has one.
    """

    max_activations: Mapping[int, float]
    maps: Mapping[int, Any]


@dataclass(frozen=True)
class ControlSpec:
    """One control of a spec."""

    control: ControlKind
    draw: int
    spec: SteeringSpec


def control_specs(
    name: str,
    spec: SteeringSpec,
    controls: Controls,
    width: int,
    sae: MatryoshkaSAE | None,
    firing_rates_f: np.ndarray | None,
    pool: FeaturePool | None = None,
) -> list[ControlSpec]:
    """The steered controls of a condition. The random directions are the same at every strength.

    Raises:
        SteeringError: the control of equal firing rate or of random groups is asked for and what it needs is not given.
    """
    name_seed = int.from_bytes(sha256(name.encode()).digest()[:4], "big")
    out = [
        ControlSpec("random", draw, in_random_direction(spec, width, (controls.seed, name_seed, draw)))
        for draw in range(controls.random)
    ]
    for draw in range(controls.random_groups if _features(spec) and sae is not None else 0):
        out.append(
            ControlSpec("random_group", draw, random_group(spec, sae, pool, (controls.seed, name_seed, draw, 1)))
        )
    if controls.wrong_sign:
        out.append(ControlSpec("wrong_sign", 0, replace(spec, redirect=Redirect("wrong sign"))))
    features = _features(spec)
    if controls.equal_rate and features and sae is not None:
        redirect = _equal_rate(spec, features, sae, firing_rates_f)
        out.append(ControlSpec("equal_rate", 0, replace(spec, redirect=redirect)))
    return out


def in_random_direction(spec: SteeringSpec, width: int, seed: int | Sequence[int]) -> SteeringSpec:
    """The spec along a random direction: the same tokens, token by token a change of the same length.

    Args:
        width: of the residual at the spec's sites.
    """
    return replace(spec, redirect=_toward(random_direction(width, seed)))


def random_group(
    spec: SteeringSpec, sae: MatryoshkaSAE | None, pool: FeaturePool | None, seed: Sequence[int]
) -> SteeringSpec:
    """The spec with other features in place of its own, drawn from the pool, treated alike and of equal length.

    Left out are the spec's own features and those whose decoder row has a cosine of
    :data:`~steering.interventions.directions.PARALLEL` or more with any of them.

    Raises:
        SteeringError: no pool, or too few features in it.
    """
    if pool is None or sae is None:
        raise SteeringError(
            "pool: random groups need the features to draw from (steering.feature_pool(feature_table)); pass them, or "
            "switch the control off with Controls(random_groups=0)"
        )
    own = _features(spec)
    rows_fd = sae.W_dec.detach().float().cpu()
    near_f = (rows_fd @ rows_fd[own].T).abs().amax(dim=1).numpy() >= PARALLEL
    shaped = any(part.maps for part in spec.interventions)
    usable = [f for f in sorted(pool.maps if shaped else pool.max_activations) if not near_f[f]]
    if len(usable) < len(own):
        raise SteeringError(f"pool: {len(usable)} features are apart from the {len(own)} steered ones; too few to draw")
    drawn = iter(np.random.default_rng(seed).choice(usable, size=len(own), replace=False).tolist())
    parts = []
    for part in spec.interventions:
        features = tuple(next(drawn) for _ in part.features)
        tops = tuple(pool.max_activations[f] for f in features) if part.max_activations else ()
        maps = tuple(as_grid(pool.maps[f], "pool.maps") for f in features) if part.maps else ()
        other = replace(part, features=features, max_activations=tops, maps=maps)
        parts.append(_as_long(other, _length(part, rows_fd) / _length(other, rows_fd)))
    return replace(spec, interventions=tuple(parts))


def _features(spec: SteeringSpec) -> list[int]:
    return [feature for intervention in spec.interventions for feature in intervention.features]


def _length(part: Intervention, rows_fd: torch.Tensor) -> float:
    """L2 norm of the summed change at unit strength, over all patches where it has maps."""
    rows_md = rows_fd[list(part.features)].numpy()
    if part.maps:
        amounts_pm = np.stack([np.asarray(grid).reshape(-1) for grid in part.maps], axis=1)
    else:
        amounts_pm = np.array([part.max_activations or (1.0,) * len(part.features)])
    return float(np.linalg.norm(amounts_pm @ rows_md))


def _as_long(part: Intervention, factor: float) -> Intervention:
    return replace(
        part,
        max_activations=tuple(top * factor for top in part.max_activations),
        maps=tuple(as_grid(np.asarray(grid) * factor, "pool.maps") for grid in part.maps),
    )


def _toward(direction: Any) -> Redirect:
    return Redirect(direction.name, direction.vector)


def _equal_rate(
    spec: SteeringSpec, features: list[int], sae: MatryoshkaSAE, firing_rates_f: np.ndarray | None
) -> Redirect:
    """Each feature's decoder row replaced by its partner's, weighted alike."""
    if firing_rates_f is None:
        raise SteeringError(
            "firing_rates: the control of equal firing rate needs them (column firing_rate of the feature table); pass "
            "them, or switch it off with Controls(equal_rate=False)"
        )
    partners: list[int] = []
    for feature in features:
        partners.append(equal_rate_feature(sae, feature, firing_rates_f, [*features, *partners]))
    weights = [
        weight
        for intervention in spec.interventions
        for weight in (intervention.max_activations or (1.0,) * len(intervention.features))
    ]
    return _toward(group_direction(sae, partners, weights))
