"""What the frozen configurations are made of: checked fields, later fields, and the way to JSON and back."""

from __future__ import annotations

from dataclasses import asdict, field, fields
from typing import Any, TypeVar, cast

from sae.errors import SAEError

_Config = TypeVar("_Config")
_LATER = "later"


def later(default: Any) -> Any:
    """A field that came after files had been written: `to_json` leaves it out while it has its default.

    Files, checkpoints and hashes of runs that never heard of it stay what they were.
    """
    return field(default=default, metadata={_LATER: True})


def check(good: bool, field: str, value: object, want: str) -> None:
    """Refuse a value: SAEError names the field, the value and what is wanted."""
    if not good:
        raise SAEError(f"{field} = {value!r}: must be {want}")


def is_int(value: object) -> bool:
    """A whole number, and no bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_real(value: object) -> bool:
    """A number, and neither bool nor NaN."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def to_json(config: Any) -> dict[str, Any]:
    """The fields of a configuration as JSON values."""
    skipped = {
        one.name for one in fields(config) if _LATER in one.metadata and getattr(config, one.name) == one.default
    }
    values = {name: value for name, value in asdict(config).items() if name not in skipped}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def from_json(cls: type[_Config], values: dict[str, Any]) -> _Config:
    """A configuration of this class from `to_json`'s output; SAEError for a field that is unknown or missing."""
    known = {one.name for one in fields(cast(Any, cls))}
    unknown = sorted(set(values) - known)
    if unknown:
        raise SAEError(f"{cls.__name__}: unknown field {unknown[0]!r}; known fields are {', '.join(sorted(known))}")
    try:
        return cls(**values)
    except TypeError as error:
        raise SAEError(f"{cls.__name__}: {error}") from error
