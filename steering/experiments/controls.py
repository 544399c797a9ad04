"""Controls: the same push in other directions.

All keep the spec's tokens, and token by token the length of its change: they differ from it in direction only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import Any

import numpy as np

from sae.model import MatryoshkaSAE
from steering.errors import SteeringError
from steering.interventions.directions import equal_rate_feature, group_direction, random_direction
from steering.interventions.spec import Redirect, SteeringSpec
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
    """

    random: int = 5
    wrong_sign: bool = True
    equal_rate: bool = True
    prompt_only: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.random < 1:
            raise SteeringError(
                f"controls.random: {self.random}; at least one random direction is needed to compare with"
            )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Controls:
        try:
            return Controls(**data)
        except TypeError as error:
            raise SteeringError(f"controls: {error}") from error


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
) -> list[ControlSpec]:
    """The steered controls of a condition. The random directions are the same at every strength.

    Raises:
        SteeringError: the control of equal firing rate is asked for and the rates are not given.
    """
    name_seed = int.from_bytes(sha256(name.encode()).digest()[:4], "big")
    out = [
        ControlSpec(
            "random", draw, replace(spec, redirect=_toward(random_direction(width, (controls.seed, name_seed, draw))))
        )
        for draw in range(controls.random)
    ]
    if controls.wrong_sign:
        out.append(ControlSpec("wrong_sign", 0, replace(spec, redirect=Redirect("wrong sign"))))
    features = [feature for intervention in spec.interventions for feature in intervention.features]
    if controls.equal_rate and features and sae is not None:
        redirect = _equal_rate(spec, features, sae, firing_rates_f)
        out.append(ControlSpec("equal_rate", 0, replace(spec, redirect=redirect)))
    return out


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
