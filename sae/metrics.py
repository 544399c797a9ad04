"""The training log: metrics.parquet, one row every `log_every` steps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from sae.errors import SAEError
from sae.files import write_atomically

METRICS_FILE = "metrics.parquet"
SCHEMA = pa.schema(
    [
        ("step", pa.int64()),
        ("tokens", pa.int64()),
        ("loss", pa.float64()),
        ("variance_explained", pa.float64()),
        ("l0", pa.float64()),
        ("dead_share", pa.float64()),
        ("learning_rate", pa.float64()),
        ("tokens_per_s", pa.float64()),
        ("gradient_norm", pa.float64()),
    ]
)


class Tracker(Protocol):
    """Who else is told of every row of the log."""

    def add(self, row: Mapping[str, float]) -> None: ...
    def close(self) -> None: ...


class MetricsLog:
    """Rows of the training log, in memory until `write`.

    Columns: step and tokens done; loss in training units; variance_explained of the batch by all groups;
    l0, the features a token would have at the present threshold; dead_share of the features; learning_rate;
    tokens_per_s since the row before; gradient_norm before clipping, in training units (empty in older logs).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: list[dict[str, float]] = []

    @classmethod
    def up_to(cls, path: Path, step: int) -> MetricsLog:
        """The log on disk without what came after `step`; empty when there is none."""
        log = cls(path)
        if path.exists():
            try:
                rows = pq.read_table(path, schema=SCHEMA).to_pylist()
            except (pa.ArrowInvalid, OSError) as error:
                raise SAEError(
                    f"{path} cannot be read ({error}); delete it to go on without the earlier rows"
                ) from error
            log._rows = [row for row in rows if row["step"] <= step]
        return log

    @property
    def rows(self) -> list[dict[str, float]]:
        """All rows by column; what an older log did not have is None."""
        return list(self._rows)

    @property
    def last_step(self) -> int:
        """Step of the last row, 0 when there is none."""
        return int(self._rows[-1]["step"]) if self._rows else 0

    def add(self, row: Mapping[str, float]) -> None:
        """One row, all columns of the schema."""
        self._rows.append({name: row[name] for name in SCHEMA.names})

    def note(self) -> str:
        """The last row in a few words."""
        if not self._rows:
            return ""
        row = self._rows[-1]
        explained = row["variance_explained"]
        quality = "variance explained n/a" if math.isnan(explained) else f"variance explained {explained:.3f}"
        return f"loss {row['loss']:.4g}, {quality}, l0 {row['l0']:.1f}, dead {row['dead_share']:.1%}"

    def write(self) -> None:
        """Replace the file on disk by all rows."""
        table = pa.Table.from_pylist(self._rows, schema=SCHEMA)
        write_atomically(self.path, lambda temporary: pq.write_table(table, temporary))
