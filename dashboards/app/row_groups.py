"""Rows of one key: out of a large Parquet file, of which only the row groups that can hold it are read, or out of a
table in memory.

The footer is read and the table sorted once. DuckDB would look at either again for every question, which takes longer
than the question.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dashboards.tables import UnreadableError


class RowsByKey(Protocol):
    """What is asked by the values of one integer column."""

    def of(self, value: int, columns: Sequence[str]) -> pa.Table:
        """Rows of a value of the key; asked columns that are not there are left out."""


class SortedRows:
    """A table in memory.

    Args:
        table: sorted by the key.
        key: the column; without nulls.
    """

    def __init__(self, table: pa.Table, key: str) -> None:
        self._table, self._keys = table.combine_chunks(), table[key].to_numpy()

    def of(self, value: int, columns: Sequence[str]) -> pa.Table:
        """Rows of a value of the key; asked columns that the table lacks are left out."""
        first, end = (int(np.searchsorted(self._keys, value, side)) for side in ("left", "right"))
        there = self._table.column_names
        return self._table.select([name for name in columns if name in there]).slice(first, end - first)


class RowGroups:
    """A Parquet file that is asked by the values of one integer column.

    Args:
        path: the file.
        key: the column; the file need not be sorted by it, and is read faster if it is.
    """

    def __init__(self, path: Path, key: str) -> None:
        self._path, self._key = path, key
        self._footer = pq.read_metadata(path)
        self._names = self._footer.schema.to_arrow_schema().names
        place = next(i for i in range(self._footer.num_columns) if self._footer.schema.column(i).path == key)
        lows, highs = [], []
        for group in range(self._footer.num_row_groups):
            found = self._footer.row_group(group).column(place).statistics
            known = found is not None and found.has_min_max
            lows.append(found.min if known else -np.inf)
            highs.append(found.max if known else np.inf)
        self._low, self._high = np.array(lows, dtype=float), np.array(highs, dtype=float)

    def of(self, value: int, columns: Sequence[str]) -> pa.Table:
        """Rows of a value of the key; asked columns that the file lacks are left out.

        Raises:
            UnreadableError: the file was damaged or replaced.
        """
        groups = np.flatnonzero((self._low <= value) & (value <= self._high)).tolist()
        names = [name for name in dict.fromkeys([self._key, *columns]) if name in self._names]
        try:
            with pq.ParquetFile(self._path, metadata=self._footer) as file:
                table = file.read_row_groups(groups, columns=names, use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise UnreadableError(f"{self._path.name} is damaged ({type(error).__name__})") from error
        return table.filter(pc.equal(table[self._key], value))
