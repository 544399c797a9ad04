"""The tables of a run behind DuckDB: one connection in memory, views on the Parquet files, a cursor for each question.

Nothing of the run is copied but one row a feature (:mod:`dashboards.app.listing`) and one a study; contexts and
activations stay in their files, and a question reads the row groups that it needs. Once the views are made, the
connection may open no other file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from autointerp import schema
from dashboards.app.row_groups import RowGroups, RowsByKey, SortedRows
from dashboards.data import RunData
from dashboards.privacy import Shown

MEMORY_LIMIT = "600MB"
THREADS = 2


class RunTables:
    """DuckDB over a run.

    Attributes:
        by_feature: rows of one feature, of those of ``features``, ``contexts`` and ``activity`` that are there, and of
            the tables of :meth:`keep_by_feature`.
        there: which of ``features``, ``contexts``, ``activity`` and ``studies`` can be asked.

    Args:
        data: the run; tables that are missing are noted there.
        shown: which studies may be shown; the table ``studies`` has those only.
        steering: columns ``feature``, ``steers``; one row a feature that was steered.
    """

    def __init__(self, data: RunData, shown: Shown, steering: pd.DataFrame) -> None:
        self._run_dir = data.run_dir.resolve()
        self._connection = duckdb.connect(":memory:")
        for setting in (f"memory_limit='{MEMORY_LIMIT}'", f"threads={THREADS}", "parquet_metadata_cache=true"):
            self._connection.execute(f"SET {setting}")
        self.there: set[str] = set()
        self.by_feature: dict[str, RowsByKey] = {}
        folder = data.sae_dir / schema.FEATURES_FOLDER
        needs = {
            "features": (schema.FEATURES_FILE, "features", "The feature table"),
            "contexts": (schema.CONTEXTS_FILE, "contexts", "The table of contexts"),
            "activity": (schema.STUDY_ACTIVATIONS_FILE, "activity", "The table of what fires in each study"),
        }
        for view, (name, where, what) in needs.items():
            verb = "index --redo" if view == "activity" and "features" in self.there else "index"
            if data.has_table(name, where, what, verb):
                self.by_feature[view] = RowGroups(folder / name, "feature")
                self.view(view, folder / name, schema.TABLES[name].names)
        self._studies(data, shown)
        self.frame("steered", steering)

    def lock(self) -> None:
        """From now on only files of the run can be opened, and no setting can be changed."""
        self._connection.execute(f"SET allowed_directories=[{_quoted(self._run_dir)}]")
        self._connection.execute("SET enable_external_access=false; SET lock_configuration=true")

    def close(self) -> None:
        """Free what it holds; questions fail from now on."""
        self._connection.close()

    def frame(self, name: str, frame: pd.DataFrame) -> None:
        """Keep a frame as the table ``name``."""
        self._connection.register("given", frame)
        self._connection.execute(f'CREATE OR REPLACE TABLE "{name}" AS SELECT * FROM given')
        self._connection.unregister("given")

    def make(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        """Run a statement of the program's own."""
        self._connection.execute(sql, list(parameters))

    def ask(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[dict[str, Any]]:
        """Rows of a question; values from outside go in as parameters only."""
        cursor = self._connection.cursor()
        try:
            cursor.execute(sql, parameters if isinstance(parameters, Mapping) else list(parameters))
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        finally:
            cursor.close()

    def ask_frame(self, sql: str, parameters: Sequence[Any] = ()) -> pd.DataFrame:
        """:meth:`ask` as a frame."""
        cursor = self._connection.cursor()
        try:
            return cursor.execute(sql, list(parameters)).df()
        finally:
            cursor.close()

    def load(self, name: str, path: Path, columns: Sequence[str]) -> None:
        """Keep a small table file as the table ``name``; columns that it lacks are null."""
        self.view(f"file_{name}", path, columns)
        self._connection.execute(f'CREATE TABLE "{name}" AS SELECT * FROM "file_{name}"')

    def keep_by_feature(self, name: str, order: str) -> None:
        """Let the rows of one feature of the table ``name`` be asked of :attr:`by_feature`, in an order."""
        rows = self._connection.sql(f'SELECT * FROM "{name}" WHERE feature IS NOT NULL ORDER BY feature, {order}')
        self.by_feature[name] = SortedRows(rows.to_arrow_table(), "feature")

    def view(self, view: str, path: Path, columns: Sequence[str]) -> None:
        """Make a view on a table file; columns that it lacks are null. Only before anything is asked from outside."""
        source = f"read_parquet({_quoted(path.resolve())})"
        described = self._connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
        names = {row[0] for row in described}
        chosen = ", ".join(f'"{name}"' if name in names else f'NULL AS "{name}"' for name in columns)
        self._connection.execute(f"CREATE VIEW {view} AS SELECT {chosen} FROM {source}")
        self.there.add(view)

    def _studies(self, data: RunData, shown: Shown) -> None:
        """Table ``studies`` of those that may be shown, and the view ``pictures`` on their previews."""
        frame = data.studies
        if frame is None:
            return
        path = data.run_dir / "studies.parquet"
        self.view("pictures", path, ("study", "preview_frontal", "preview_lateral", "preview_prior_frontal"))
        self.view("study_details", path, ("study", "grounded", "metadata", "masks", "crops"))
        columns = ["study", "study_id", "patient_id", "source", "terms", "split", "labels", "report_source"]
        open_ones = frame[frame["study"].isin(list(shown.numbers))]
        self.frame("studies", open_ones[columns].reset_index(drop=True).astype({"study": "int64"}))
        self.there.add("studies")


def _quoted(path: Path) -> str:
    """A path as a string of SQL."""
    return "'" + str(path).replace("'", "''") + "'"
