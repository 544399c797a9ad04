"""From what a person writes, ``{feature: Clamp(2.0)}``, to a :class:`SteeringSpec`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from steering.errors import SteeringError
from steering.interventions.autoencoders import Autoencoders
from steering.interventions.kinds import Kind
from steering.interventions.schedules import Schedule
from steering.interventions.spec import Direction, Gate, Intervention, SteeringSpec, Tokens


def build_spec(
    changes: Mapping[Any, Kind] | Sequence[tuple[Any, Kind]],
    sae: Autoencoders,
    *,
    site: str | None = None,
    tokens: Tokens | str | Sequence[str] | None = None,
    maps: Mapping[int, Any] | None = None,
    max_activations: Mapping[int, float] | None = None,
    gate: Gate | None = None,
    schedule: Schedule | None = None,
) -> SteeringSpec:
    """Collect what a spec needs about each target.

    Args:
        changes: target → what to do, or pairs of them. A target is a feature number, a tuple of them (a group), a
            :class:`Direction`, or a record of the feature table (anything with the attribute ``feature``, and, where
            needed, ``max_activation``, ``mean_map``, ``map_rows``, ``map_cols``).
        site: where; by default where the SAE was trained.
        tokens: which tokens; by default the image, and of it the frontal where a map or mask is used.
        maps: feature → mean map (rows, columns), for features given as numbers; or, feature → study id → map.
        max_activations: feature → max activation, for features given as numbers.

    Raises:
        SteeringError: something needed is missing, or a value is out of range.
    """
    pairs = changes.items() if isinstance(changes, Mapping) else changes
    interventions = tuple(_intervention(target, kind, maps or {}, max_activations or {}) for target, kind in pairs)
    if site is None:
        site = _trained_at(sae)
    if not isinstance(tokens, Tokens):
        shaped = any(intervention.shaped for intervention in interventions)
        scopes = ("prompt.image",) if tokens is None else (tokens,) if isinstance(tokens, str) else tuple(tokens)
        tokens = Tokens(scopes, image="frontal" if shaped else None)
    return SteeringSpec(site, interventions, tokens, gate, schedule=schedule)


def combine(*specs: SteeringSpec) -> SteeringSpec:
    """Several specs as one: each intervention keeps the site, tokens, gate and schedule of the spec it comes from.

    Raises:
        SteeringError: no spec, or one with a ``redirect``, which is of a whole spec.
    """
    if not specs or any(spec.redirect is not None for spec in specs):
        raise SteeringError("combine: at least one spec is needed, and none with a redirect; redirect what comes out")
    return SteeringSpec(specs[0].site, tuple(part for spec in specs for part in spec.resolved), specs[0].tokens)


def _trained_at(sae: Autoencoders) -> str:
    """The one site that the autoencoders were trained at; empty if it is not known.

    Raises:
        SteeringError: autoencoders of several sites.
    """
    if not isinstance(sae, Mapping):
        return str((sae.extra if sae is not None else {}).get("site") or "")
    if len(sae) != 1:
        raise SteeringError(f"site: autoencoders of {sorted(sae)}; name the site, and combine specs of several sites")
    return next(iter(sae))


def _intervention(target: Any, kind: Kind, maps: Mapping[int, Any], tops: Mapping[int, float]) -> Intervention:
    if isinstance(target, Direction):
        return Intervention(kind, direction=target)
    members = target if isinstance(target, (tuple, list, frozenset)) else (target,)
    features = tuple(_number(member) for member in members)
    known_tops = [_top(member, number, tops) for member, number in zip(members, features, strict=True)]
    shape, unit = getattr(kind, "shape", "uniform"), getattr(kind, "unit", None)
    if unit == "max_activation" and shape != "map":
        silent = [number for number, top in zip(features, known_tops, strict=True) if top is None]
        if silent:
            raise SteeringError(
                f"max_activations: not known for feature {silent[0]}; pass max_activations={{{silent[0]}: …}}, a "
                "record of the feature table instead of the number, or another unit"
            )
    return Intervention(
        kind,
        features,
        max_activations=tuple(top for top in known_tops if top is not None) if None not in known_tops else (),
        maps=tuple(_map(m, n, maps) for m, n in zip(members, features, strict=True)) if shape == "map" else (),
    )


def _number(member: Any) -> int:
    value = member if isinstance(member, (int, np.integer)) else getattr(member, "feature", None)
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise SteeringError(
            f"target {member!r}: neither a feature number, a record of the feature table, nor a Direction"
        )
    return int(value)


def _top(member: Any, number: int, tops: Mapping[int, float]) -> float | None:
    value = tops[number] if number in tops else getattr(member, "max_activation", None)
    return None if value is None else float(value)


def _map(member: Any, number: int, maps: Mapping[int, Any]) -> Any:
    values = maps[number] if number in maps else getattr(member, "mean_map", None)
    if isinstance(values, Mapping):
        return values
    if values is None or np.ndim(values) == 0:  # a table gives NaN for what is missing
        raise SteeringError(
            f"maps: no mean map for feature {number}; it fires on no image token, or pass maps={{{number}: …}}"
        )
    values = np.asarray(values, dtype=np.float64)
    if values.ndim == 1 and getattr(member, "map_rows", None):
        values = values.reshape(int(member.map_rows), int(member.map_cols))
    return values
