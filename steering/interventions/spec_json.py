"""Specs as JSON and back, without loss.

Version 2 adds interventions with site, tokens, gate and schedule of their own, text conditions and a grid a study. What
version 1 can say is written as version 1 (without the field ``version``), so that files written before stay equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields
from typing import Any

from steering.errors import SteeringError
from steering.interventions.gates import Gate
from steering.interventions.grids import StudyGrids
from steering.interventions.kinds import Ablate, Add, Clamp, Floor, Kind, Scale, kind_name
from steering.interventions.schedules import Schedule
from steering.interventions.spec import Direction, Intervention, Redirect, SteeringSpec
from steering.interventions.tokens import Tokens

VERSION = 2
KINDS: dict[str, type[Kind]] = {"add": Add, "clamp": Clamp, "floor": Floor, "scale": Scale, "ablate": Ablate}

_FIELDS = ("site", "interventions", "tokens", "gate", "schedule", "redirect")
_RECORDS: dict[str, type[Any]] = {"tokens": Tokens, "gate": Gate, "schedule": Schedule}
#: Per record, fields that version 1 does not know.
_NEW = {
    "interventions": ("site", "tokens", "gate", "schedule"),
    "tokens": ("pattern", "words"),
    "gate": ("topic", "pattern", "negate"),
    "redirect": ("vectors",),
}


def spec_to_json(spec: SteeringSpec) -> dict[str, Any]:
    """A dict of plain JSON values; what is not set is left out."""
    parts = [
        {"kind": kind_name(part.kind), **asdict(part.kind), **_present(part, skip=("kind",))}
        for part in spec.interventions
    ]
    out: dict[str, Any] = {"site": spec.site, "interventions": parts, "tokens": _present(spec.tokens)}
    for name in ("gate", "schedule", "redirect"):
        value = getattr(spec, name)
        if value is not None:
            out[name] = _plain(value)
    return {"version": VERSION, **out} if _is_new(out) else out


def spec_from_json(data: Mapping[str, Any]) -> SteeringSpec:
    """Read what :func:`spec_to_json` (or a person) wrote, of either version.

    Raises:
        SteeringError: an unknown or missing field, by its path (``interventions[1].gate.feature``), or a value that is
            out of range.
    """
    _check_fields("spec", data, ("version", *_FIELDS), ("interventions",))
    version = data.get("version", 1)
    if version not in (1, VERSION):
        raise SteeringError(f"version: {version!r}; this program reads 1 and {VERSION}")
    if not isinstance(data["interventions"], list):
        raise SteeringError("interventions: a list is needed")
    parts = []
    for number, part in enumerate(data["interventions"]):
        with _path("interventions", f"interventions[{number}]"):
            parts.append(_intervention(part))
    if "site" not in data and not all(part.site for part in parts):
        raise SteeringError("spec: the field 'site' is missing; or give each intervention its own")
    shared = {name: _record(name, kind, data[name]) for name, kind in _RECORDS.items() if data.get(name) is not None}
    redirect = _record("redirect", Redirect, data["redirect"]) if data.get("redirect") else None
    return SteeringSpec(str(data.get("site") or ""), tuple(parts), redirect=redirect, **shared)


def _intervention(data: Mapping[str, Any]) -> Intervention:
    if not isinstance(data, Mapping) or data.get("kind") not in KINDS:
        found = data.get("kind") if isinstance(data, Mapping) else data
        raise SteeringError(f"interventions.kind: {found!r} is not one of {list(KINDS)}")
    kind_type = KINDS[data["kind"]]
    of_kind = [field.name for field in fields(kind_type)]
    with _path(kind_type.__name__, "interventions"):
        kind = _record(f"interventions.{data['kind']}", kind_type, {k: v for k, v in data.items() if k in of_kind})
    rest = {k: v for k, v in data.items() if k not in of_kind and k != "kind"}
    if rest.get("direction"):
        rest["direction"] = _record("interventions.direction", Direction, rest["direction"])
    for name, record in _RECORDS.items():
        if rest.get(name) is not None:
            with _path(name, f"interventions.{name}"):
                rest[name] = _record(name, record, rest[name])
    return _record("interventions", Intervention, {"kind": kind, **rest})


def _record(name: str, kind: type[Any], data: Mapping[str, Any]) -> Any:
    names = [field.name for field in fields(kind)]
    _check_fields(name, data, names, ())
    try:
        return kind(**{key: _tuples(value) for key, value in data.items()})
    except (TypeError, ValueError) as error:
        if isinstance(error, SteeringError):
            raise
        raise SteeringError(f"{name}: {error}") from error


@contextmanager
def _path(short: str, path: str) -> Iterator[None]:
    """Errors that name the field ``short`` name it by its whole path."""
    try:
        yield
    except SteeringError as error:
        text = str(error)
        if text.startswith(short) and text[len(short) : len(short) + 1] in (".", ":"):
            text = path + text[len(short) :]
        raise SteeringError(text) from error


def _check_fields(name: str, data: Any, known: Any, needed: Any) -> None:
    if not isinstance(data, Mapping):
        raise SteeringError(f"{name}: an object with the fields {list(known)} is needed, not {type(data).__name__}")
    unknown = [key for key in data if key not in known]
    if unknown:
        raise SteeringError(f"{name}: unknown field {unknown[0]!r}; known are {list(known)}")
    missing = [key for key in needed if key not in data]
    if missing:
        raise SteeringError(f"{name}: the field {missing[0]!r} is missing")


def _present(record: Any, skip: tuple[str, ...] = ()) -> dict[str, Any]:
    """The fields of a record that are set, as JSON values."""
    values = {field.name: getattr(record, field.name) for field in fields(record) if field.name not in skip}
    return {name: _plain(value) for name, value in values.items() if value is not None and value != ()}


def _plain(value: Any) -> Any:
    if isinstance(value, (Gate, Schedule)):
        return value.to_json()
    if isinstance(value, Redirect):
        vectors = {"vectors": _plain(dict(value.vectors))} if value.vectors else {}
        return {"name": value.name, "vector": _plain(value.vector)} | vectors
    if isinstance(value, StudyGrids):
        return _plain(value.to_json())
    if isinstance(value, (Direction, Tokens)):
        return _present(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (tuple, list)) else value


def _is_new(out: Mapping[str, Any]) -> bool:
    """Whether a spec says anything that version 1 cannot."""
    parts = out["interventions"]
    grids = [out["tokens"].get("mask"), *(p.get("mask") for p in parts), *(g for p in parts for g in p.get("maps", ()))]
    fresh = any(
        name in record
        for key, names in _NEW.items()
        for record in (parts if key == "interventions" else [out.get(key) or {}])
        for name in names
    )
    return (
        fresh
        or "schedule" in out
        or out.get("gate", {}).get("feature") == "own"
        or any(isinstance(grid, dict) for grid in grids)
    )


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
