"""The form of ``manifest.json``, field by field: the JSON Schema in ``docs/activation-store.md``, as code.

A test runs both over the same manifests. What follows from other fields (``config_hash``, sums) is not looked at here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from activations.compression import COMPRESSIONS
from activations.roles import Role

#: Raises ValueError that names the field if a value is not as it must be.
Check = Callable[[Any, str], None]


def _refuse(value: Any, path: str, wanted: str) -> None:
    told = repr(value)
    raise ValueError(f"{path} is {told if len(told) <= 60 else told[:57] + '...'}, not {wanted}")


def _whole(least: int) -> Check:
    def check(value: Any, path: str) -> None:
        if type(value) is not int or value < least:
            _refuse(value, path, f"a whole number from {least} on")

    return check


def _text(pattern: str, wanted: str) -> Check:
    def check(value: Any, path: str) -> None:
        if not isinstance(value, str) or not re.fullmatch(pattern, value, flags=re.DOTALL):
            _refuse(value, path, wanted)

    return check


def _one_of(*allowed: Any) -> Check:
    def check(value: Any, path: str) -> None:
        if not any(type(value) is type(one) and value == one for one in allowed):
            _refuse(value, path, f"one of {list(allowed)}")

    return check


def _maybe(inner: Check) -> Check:
    def check(value: Any, path: str) -> None:
        if value is not None:
            inner(value, path)

    return check


def _array(item: Check, least: int = 0, most: int | None = None, *, once: bool = False) -> Check:
    def check(value: Any, path: str) -> None:
        if not isinstance(value, list) or len(value) < least or (most is not None and len(value) > most):
            _refuse(value, path, f"an array of {least if least == most else f'at least {least}'} entries")
        for number, one in enumerate(value):
            item(one, f"{path}[{number}]")
            if once and one in value[:number]:
                _refuse(one, f"{path}[{number}]", "there only once")

    return check


def _object(required: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    def check(value: Any, path: str) -> None:
        if not isinstance(value, dict):
            _refuse(value, path, "an object")
        for name, inner in {**required, **(optional or {})}.items():
            if name in value:
                inner(value[name], f"{path}.{name}".removeprefix("."))
            elif name in required:
                raise ValueError(f"{f'{path}.{name}'.removeprefix('.')} is missing")

    return check


def _map(item: Check) -> Check:
    def check(value: Any, path: str) -> None:
        if not isinstance(value, dict):
            _refuse(value, path, "an object")
        for name, one in value.items():
            item(one, f"{path}.{name}")

    return check


_STRING = _text(r".*", "a string")
_DIGEST = _text(r"xxh3_128:[0-9a-f]{32}", "xxh3_128: and 32 hexadecimal digits")
_SHARD = _object(
    {
        "file": _text(r"shard-[0-9]{5}-[0-9]{5}\.h5", "shard-RRRRR-NNNNN.h5"),
        "rows": _whole(0),
        "bytes": _whole(1),
        "checksum": _DIGEST,
        "studies": _array(_whole(0), 2, 2),
        "n_studies": _whole(1),
    },
    {"datasets": _map(_DIGEST)},
)
#: Checks a manifest of version 1.
check_form: Check = _object(
    {
        "format": _one_of("activation-store"),
        "version": _one_of(1),
        "complete": _one_of(True, False),
        "model": _object(
            {"name": _STRING, "fingerprint": _STRING},
            {"grid": _maybe(_array(_whole(0), 2, 2))},
        ),
        "sites": _array(_object({"name": _text(r".+", "a name"), "width": _whole(1)}), 1),
        "dtype": _one_of("bfloat16", "float16", "float32"),
        "roles": _array(_one_of(*(role.name.lower() for role in Role)), 1, once=True),
        "mode": _one_of("teacher-forced", "generate"),
        "max_new_tokens": _maybe(_whole(0)),
        "config_hash": _text(r"[0-9a-f]{16}", "16 hexadecimal digits"),
        "writers": _whole(1),
        "finished_writers": _array(_whole(0), once=True),
        "studies": _whole(0),
        "rows": _whole(0),
        "shards": _array(_SHARD),
    },
    {"compression": _one_of(*COMPRESSIONS)},
)
