"""Reading an experiment's ``spec.json``: which features a condition steers, and how, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SHAPES = {"uniform": "the same everywhere", "map": "in the shape of each feature’s mean map", "mask": "inside a mask"}


def _condition(spec: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    experiment = spec.get("experiment")
    conditions = experiment.get("conditions") if isinstance(experiment, Mapping) else None
    found = conditions.get(name) if isinstance(conditions, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _interventions(condition: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    parts = condition.get("interventions")
    return [part for part in parts if isinstance(part, Mapping)] if isinstance(parts, list) else []


def features_of(spec: Mapping[str, Any], condition: str) -> list[int]:
    """Features that a condition steers, in ascending order; none where it steers a bare direction."""
    parts = _interventions(_condition(spec, condition))
    return sorted({int(feature) for part in parts for feature in part.get("features") or []})


def how_of(spec: Mapping[str, Any], condition: str) -> str:
    """Kind, unit and shape of a condition's first intervention and where it acts, in a sentence; "" if not known."""
    described = _condition(spec, condition)
    parts = _interventions(described)
    if not parts:
        return ""
    first = parts[0]
    words = [str(first.get("kind"))]
    if "strength" in first:
        words[0] += f" {first['strength']:g} × {str(first.get('unit')).replace('_', ' ')}"
    if "factor" in first:
        words[0] += f" by {first['factor']:g}"
    words += [_SHAPES[first["shape"]]] if first.get("shape") in _SHAPES else []
    words.append(f"at {described.get('site')}")
    tokens = described.get("tokens")
    scopes = tokens.get("scopes") if isinstance(tokens, Mapping) else None
    if isinstance(scopes, list):
        image = tokens.get("image") if isinstance(tokens, Mapping) else None
        words.append(f"on {', '.join(map(str, scopes))}" + (f" ({image} only)" if image else ""))
    return f"At strength 1: {', '.join(words)}."
