"""Configurations and summaries as plain JSON values, and a hash over them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import field, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

_Config = TypeVar("_Config")
_LATER = "later"


def later(default: Any) -> Any:
    """A field that a configuration got after runs had been written with it.

    It is no part of the JSON form while it has its default, so that the hashes of those runs stay what they were.
    """
    return field(default=default, metadata={_LATER: True})


def plain(value: Any) -> Any:
    """The JSON form of a value: dataclasses and mappings become dicts, numbers that are not finite become ``None``.

    Raises:
        TypeError: a value that has no JSON form.
    """
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, Path):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        pairs = [(one, getattr(value, one.name)) for one in fields(value)]
        return {one.name: plain(item) for one, item in pairs if not (_LATER in one.metadata and item == one.default)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(plain(item) for item in value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist") and callable(value.tolist):  # numpy and torch scalars and arrays
        return plain(value.tolist())
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    raise TypeError(f"{type(value).__name__} has no JSON form: {value!r}")


def restored(kind: type[_Config], settings: Mapping[str, Any]) -> _Config:
    """A frozen configuration from its JSON form: lists become tuples again."""
    return kind(**{key: tuple(item) if isinstance(item, list) else item for key, item in settings.items()})


def digest(value: Any) -> str:
    """Hash of the JSON form (16 hex digits); equal settings have equal hashes, whatever the order of keys."""
    text = json.dumps(plain(value), sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """``field: old → new`` for each field that differs, for messages."""
    found = []
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if before == after:
            continue
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += differences(before, after, f"{prefix}{key}.")
        else:
            found.append(f"{prefix}{key}: {before!r} → {after!r}")
    return found
