"""Writing files so that a reader never meets half of one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sae.errors import SAEError


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file beside `path`, flush it to the disk, then give it its name."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write `value` atomically; NaN and infinity are refused because JSON has no word for them."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(path, lambda temporary: _write_text(temporary, text))


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`.

    Raises:
        SAEError: the file is missing, is not JSON, or is not an object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SAEError(f"{path} is missing") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise SAEError(f"{path} is not valid JSON ({error}); copy or export it again") from error
    if not isinstance(value, dict):
        raise SAEError(f"{path} holds a JSON {type(value).__name__}, not an object")
    return value


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
