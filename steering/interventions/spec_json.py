"""Specs as JSON and back, without loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from steering.errors import SteeringError
from steering.interventions.kinds import Ablate, Add, Clamp, Floor, Kind, Scale, kind_name
from steering.interventions.spec import Direction, Gate, Intervention, Redirect, SteeringSpec, Tokens

KINDS: dict[str, type[Kind]] = {"add": Add, "clamp": Clamp, "floor": Floor, "scale": Scale, "ablate": Ablate}


def spec_to_json(spec: SteeringSpec) -> dict[str, Any]:
    """A dict of plain JSON values; what is not set is left out."""
    parts = []
    for intervention in spec.interventions:
        part = _present(asdict(intervention), skip=("kind",))
        parts.append({"kind": kind_name(intervention.kind), **asdict(intervention.kind), **part})
    out: dict[str, Any] = {"site": spec.site, "interventions": parts, "tokens": _present(asdict(spec.tokens))}
    if spec.gate is not None:
        out["gate"] = asdict(spec.gate)
    if spec.redirect is not None:
        out["redirect"] = asdict(spec.redirect)
    return _lists(out)


def spec_from_json(data: Mapping[str, Any]) -> SteeringSpec:
    """Read what :func:`spec_to_json` (or a person) wrote.

    Raises:
        SteeringError: an unknown or missing field, by name; or a value that is out of range.
    """
    _check_fields("spec", data, ("site", "interventions", "tokens", "gate", "redirect"), ("site", "interventions"))
    if not isinstance(data["interventions"], list):
        raise SteeringError("interventions: a list is needed")
    return SteeringSpec(
        site=str(data["site"]),
        interventions=tuple(_intervention(part) for part in data["interventions"]),
        tokens=_record("tokens", Tokens, data.get("tokens", {})),
        gate=_record("gate", Gate, data["gate"]) if data.get("gate") else None,
        redirect=_record("redirect", Redirect, data["redirect"]) if data.get("redirect") else None,
    )


def _intervention(data: Mapping[str, Any]) -> Intervention:
    if not isinstance(data, Mapping) or data.get("kind") not in KINDS:
        found = data.get("kind") if isinstance(data, Mapping) else data
        raise SteeringError(f"interventions.kind: {found!r} is not one of {list(KINDS)}")
    kind_type = KINDS[data["kind"]]
    of_kind = [field.name for field in fields(kind_type)]
    kind = _record(f"interventions.{data['kind']}", kind_type, {k: v for k, v in data.items() if k in of_kind})
    rest = {k: v for k, v in data.items() if k not in of_kind and k != "kind"}
    if rest.get("direction"):
        rest["direction"] = _record("interventions.direction", Direction, rest["direction"])
    return _record("interventions", Intervention, {"kind": kind, **rest})


def _record(name: str, kind: type[Any], data: Mapping[str, Any]) -> Any:
    names = [field.name for field in fields(kind)]
    _check_fields(name, data, names, ())
    try:
        return kind(**{key: _tuples(value) for key, value in data.items()})
    except TypeError as error:
        raise SteeringError(f"{name}: {error}") from error


def _check_fields(name: str, data: Any, known: Any, needed: Any) -> None:
    if not isinstance(data, Mapping):
        raise SteeringError(f"{name}: an object with the fields {list(known)} is needed, not {type(data).__name__}")
    unknown = [key for key in data if key not in known]
    if unknown:
        raise SteeringError(f"{name}: unknown field {unknown[0]!r}; known are {list(known)}")
    missing = [key for key in needed if key not in data]
    if missing:
        raise SteeringError(f"{name}: the field {missing[0]!r} is missing")


def _present(data: Mapping[str, Any], skip: tuple[str, ...] = ()) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key not in skip and value not in (None, ())}


def _lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lists(item) for key, item in value.items()}
    return [_lists(item) for item in value] if isinstance(value, (tuple, list)) else value


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
