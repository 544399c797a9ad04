"""Reading and writing the tables of steering: checked columns, whole files or none."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from steering.errors import SteeringError

#: Columns that a table got after files had been written: name → (type, value in those files).
Later = Mapping[str, tuple[str, Any]]


def table_of(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], later: Later | None = None) -> pd.DataFrame:
    """Rows → a table with exactly these columns and types, also without rows; ``later`` columns may be missing."""
    table = pd.DataFrame(list(rows), columns=[*columns, *(later or {})])
    return _typed(table, columns, later or {})


def _typed(table: pd.DataFrame, columns: Mapping[str, str], later: Later) -> pd.DataFrame:
    for name, (_, default) in later.items():
        if name not in table.columns:
            table[name] = default
        elif table[name].isna().any() and default == default:
            table[name] = table[name].astype(object).where(table[name].notna(), default)
    kinds = dict(columns) | {name: kind for name, (kind, _) in later.items()}
    return table[list(kinds)].astype(kinds)


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a parquet file under a temporary name and move it to its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    table.to_parquet(part, index=False)
    part.replace(path)


def read_table(path: Path, columns: Mapping[str, str], later: Later | None = None) -> pd.DataFrame:
    """Read a table and check its columns; what an older table lacks of ``later`` gets its default.

    Raises:
        SteeringError: the file is missing, broken, or has other columns.
    """
    if not path.is_file():
        raise SteeringError(f"{path}: there is no such file")
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise SteeringError(f"{path}: not a readable parquet file ({error}); delete it to start again") from error
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise SteeringError(f"{path}: the column {missing[0]!r} is missing; the file is of another version")
    return _typed(table, columns, later or {})


def write_json(value: Any, path: Path) -> None:
    """Write JSON under a temporary name and move it to its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(path)


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        SteeringError: the file is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SteeringError(f"{path}: there is no such file") from error
    except ValueError as error:
        raise SteeringError(f"{path}: not JSON ({error})") from error


def claim_json(path: Path, asked: Mapping[str, Any]) -> None:
    """Write settings, or make sure that those that are there say the same.

    Raises:
        SteeringError: they say something else; the message names the fields.
    """
    if not path.is_file():
        write_json(asked, path)
        return
    found = read_json(path)
    differing = [key for key in asked if found.get(key) != json.loads(json.dumps(asked[key]))]
    if differing:
        raise SteeringError(
            f"{path}: what lies here was made with other settings (its {', '.join(differing)} differ); delete it and "
            "the table beside it, or use another folder"
        )
