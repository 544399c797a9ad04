"""Steering features of an autoencoder: the same push everywhere, or each feature in its map, alone or in groups.

All give a spec of strength 1, to be multiplied by an experiment's strengths. ``goal`` ``absent`` takes away what
``present`` adds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from steering.errors import SteeringError
from steering.experiments.design import Goal
from steering.interventions.kinds import Ablate, Add, Floor, Scale
from steering.interventions.spec import Intervention, SteeringSpec, Tokens

#: Maps of a feature, (rows, columns): :meth:`Contrast.own_map` or :meth:`Contrast.difference_map`.
MapOf = Callable[[int], np.ndarray]

FRONTAL = Tokens(("prompt.image",), image="frontal")
EVERYWHERE = Tokens(("all",))


def sign_of(goal: Goal) -> float:
    return 1.0 if goal == "present" else -1.0


def uniform(
    site: str, features: Sequence[int], max_activations: Sequence[float], goal: Goal, tokens: Tokens = EVERYWHERE
) -> SteeringSpec:
    """Add strength × max activation × decoder row to all tokens in scope: the way of MAIRA-2-SAE, and the baseline."""
    kind = Add(sign_of(goal))
    return SteeringSpec(site, (Intervention(kind, tuple(features), max_activations=tuple(max_activations)),), tokens)


def in_maps(site: str, features: Sequence[int], map_of: MapOf, goal: Goal) -> SteeringSpec:
    """Add strength × map × decoder row to each patch of the frontal image, every feature in its own map.

    Raises:
        SteeringError: no feature has a map.
    """
    kept = [(feature, grid) for feature in features if (grid := map_of(feature)).any()]
    if not kept:
        raise SteeringError(f"features {list(features)}: none has a map; they fire on no patch of a frontal image")
    numbers, maps = zip(*kept, strict=True)
    return SteeringSpec(site, (Intervention(Add(sign_of(goal), shape="map"), numbers, maps=maps),), FRONTAL)


def raised_to_maps(site: str, features: Sequence[int], map_of: MapOf) -> SteeringSpec:
    """Raise each feature to strength × its map where it is below: gated token by token by its own activation."""
    spec = in_maps(site, features, map_of, "present")
    part = spec.interventions[0]
    return SteeringSpec(
        site, (Intervention(Floor(1.0, unit="max_activation", shape="map"), part.features, maps=part.maps),), FRONTAL
    )


def ablated(site: str, features: Sequence[int]) -> SteeringSpec:
    """Set the features to zero on the frontal image."""
    return SteeringSpec(site, (Intervention(Ablate(), tuple(features)),), FRONTAL)


def reversed_where_active(site: str, features: Sequence[int], factor: float) -> SteeringSpec:
    """Multiply the features by ``factor`` (below 0: beyond ablation), patch by patch where they are active."""
    return SteeringSpec(site, (Intervention(Scale(factor), tuple(features)),), FRONTAL)
