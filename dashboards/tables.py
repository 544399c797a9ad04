"""Reading the tables of a run directory: each is whole, missing, or damaged, and the reader says which."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq


class UnreadableError(Exception):
    """A file of the run is there but cannot be used; the message says why, without its path."""


def read_table(
    path: Path, columns: Sequence[str], filters: list[Any] | None = None, optional: Sequence[str] = ()
) -> pa.Table | None:
    """Columns of a Parquet file, or None where there is no such file.

    Args:
        columns: needed columns; others are not read.
        filters: as of ``pyarrow.parquet.read_table``; row groups that cannot match are skipped.
        optional: columns that are read where they are there.

    Raises:
        UnreadableError: damaged, or a needed column is missing.
    """
    if not path.is_file():
        return None
    try:
        names = pq.read_schema(path).names
        lacking = [name for name in columns if name not in names]
        if lacking:
            raise UnreadableError(f"lacks the columns {', '.join(lacking)}")
        wanted = [*columns, *(name for name in optional if name in names)]
        return pq.read_table(path, columns=wanted, filters=filters)
    except (pa.ArrowException, OSError) as error:
        raise UnreadableError(f"is damaged ({type(error).__name__})") from error


def check_table(path: Path, columns: Sequence[str], version: tuple[bytes, str] | None = None) -> bool | None:
    """True if a Parquet file can be used, None where there is no such file; of its content only the footer is read.

    Args:
        columns: needed columns.
        version: key in the file's metadata, and the value that it must have.

    Raises:
        UnreadableError: damaged, of another version, or a needed column is missing.
    """
    if not path.is_file():
        return None
    try:
        there = pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise UnreadableError(f"is damaged ({type(error).__name__})") from error
    if version is not None:
        found = (there.metadata or {}).get(version[0], version[1].encode()).decode(errors="replace")
        if found != version[1]:
            raise UnreadableError(f"is of version {found}, and this program reads version {version[1]}")
    lacking = [name for name in columns if name not in there.names]
    if lacking:
        raise UnreadableError(f"lacks the columns {', '.join(lacking)}")
    return True


def read_frame(path: Path, columns: Sequence[str], later: Mapping[str, Any] | None = None) -> pd.DataFrame | None:
    """:func:`read_table` as a frame.

    Args:
        later: columns that tables got later, with what they hold in older ones.

    Raises:
        UnreadableError: damaged, or a needed column is missing.
    """
    later = later or {}
    table = read_table(path, columns, optional=tuple(later))
    if table is None:
        return None
    lacking = {name: value for name, value in later.items() if name not in table.column_names}
    return table.to_pandas().assign(**lacking)


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object of a file, or None where there is no such file.

    Raises:
        UnreadableError: not JSON, or not an object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UnreadableError(f"is damaged ({type(error).__name__})") from error
    if not isinstance(content, dict):
        raise UnreadableError("is damaged (not an object)")
    return content
