"""Where the tables of a run lie, and reading and writing them whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from activations.files import publish, storage_errors, temporary_name
from autointerp import schema
from radiology.errors import InputError

_COMPRESSION = "zstd"
#: Rows of a row group of tables that are written at once; small, since a reader often wants a single feature.
ROW_GROUP = 2048
#: The same of the feature table, whose rows are large.
FEATURES_ROW_GROUP = 256


def features_folder(run_dir: str | Path, sae_name: str) -> Path:
    """``RUN/sae/NAME/features``."""
    return Path(run_dir) / "sae" / sae_name / schema.FEATURES_FOLDER


def labels_folder(run_dir: str | Path, sae_name: str) -> Path:
    """``RUN/sae/NAME/labels``."""
    return Path(run_dir) / "sae" / sae_name / schema.LABELS_FOLDER


@contextmanager
def table_writer(path: Path) -> Iterator[pq.ParquetWriter]:
    """A Parquet writer of one of :data:`autointerp.schema.TABLES`; the file appears when all of it is written."""
    temporary = temporary_name(path)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        columns = schema.TABLES[path.name]
        writer = pq.ParquetWriter(
            temporary, columns, compression=_COMPRESSION, use_dictionary=list(_repeating("", columns))
        )
    try:
        yield writer
    except BaseException:
        writer.close()
        temporary.unlink(missing_ok=True)
        raise
    with storage_errors(path):
        writer.close()
        publish(temporary, path)


def _repeating(front: str, columns: pa.Schema | pa.StructType) -> Iterator[str]:
    """Parquet columns whose values repeat: all but floats, for which looking for repetitions takes most of the time."""
    for field in columns:
        name, kind = front + field.name, field.type
        if pa.types.is_list(kind):
            name, kind = f"{name}.list.element", kind.value_type
        if pa.types.is_struct(kind):
            yield from _repeating(f"{name}.", kind)
        elif not pa.types.is_floating(kind):
            yield name


def write_table(path: Path, table: pa.Table) -> None:
    """Replace one table file in one step."""
    with table_writer(path) as writer:
        size = FEATURES_ROW_GROUP if path.name == schema.FEATURES_FILE else ROW_GROUP
        writer.write_table(table, row_group_size=size)


def write_frame(path: Path, frame: pd.DataFrame) -> None:
    """Replace one table file by the rows of a frame that has exactly the columns of its schema, in any order."""
    columns = schema.TABLES[path.name]
    write_table(path, pa.Table.from_pandas(frame[columns.names], schema=columns, preserve_index=False))


def read_frame(path: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """A table file as a frame.

    Raises:
        InputError: the file is missing, damaged, of a newer version, or lacks a column of the contract.
    """
    return read_table(path, columns).to_pandas()


def read_table(path: Path, columns: list[str] | None = None, filters: list[tuple] | None = None) -> pa.Table:
    """A table file as an Arrow table; errors as in :func:`read_frame`."""
    if not path.is_file():
        made_by = _MADE_BY.get(path.name, "interp index")
        raise InputError(f"{path} is missing; make it first with `{made_by}`")
    try:
        file = pq.ParquetFile(path)
        metadata = file.schema_arrow.metadata or {}
    except pa.ArrowException as error:
        raise InputError(f"{path}: damaged table ({error}); make it again with `{_MADE_BY[path.name]}`") from error
    version = metadata.get(schema.VERSION_KEY, b"").decode()
    if version != schema.VERSION:
        known = f"this program reads version {schema.VERSION}"
        raise InputError(f"{path}: feature table version {version or 'unknown'}; {known}")
    lacking = set(schema.TABLES[path.name].names) - set(file.schema_arrow.names)
    later = lacking & set(schema.LATER.get(path.name, ()))
    if lacking - later:
        missing = sorted(lacking - later)
        raise InputError(f"{path}: columns {missing} are missing; make it again with `{_MADE_BY[path.name]}`")
    if not later:
        return pq.read_table(path, columns=columns, filters=filters)
    own = None if columns is None else [name for name in columns if name not in later]
    return _with_nulls(pq.read_table(path, columns=own, filters=filters), schema.TABLES[path.name], columns)


def _with_nulls(table: pa.Table, whole: pa.Schema, columns: list[str] | None) -> pa.Table:
    """The asked columns in their order; those that the table lacks are null."""
    fields = [whole.field(name) for name in (whole.names if columns is None else columns)]
    there = set(table.column_names)
    return pa.table(
        [table[field.name] if field.name in there else pa.nulls(len(table), field.type) for field in fields],
        schema=pa.schema(fields, metadata=whole.metadata),
    )


def empty_frame(name: str) -> pd.DataFrame:
    """A frame with the columns of a table file and no rows."""
    return schema.TABLES[name].empty_table().to_pandas()


def upsert(path: Path, rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Put ``rows`` into a table file in place of those with equal ``keys``; gives the whole table, sorted by keys."""
    there = read_frame(path) if path.is_file() else empty_frame(path.name)
    if len(rows) and len(there):
        replaced = pd.MultiIndex.from_frame(rows[keys])
        there = there[~pd.MultiIndex.from_frame(there[keys]).isin(replaced)]
    parts = [part for part in (there, rows) if len(part)]
    whole = pd.concat(parts, ignore_index=True) if parts else there
    whole = whole.sort_values(keys, kind="stable", ignore_index=True)
    write_frame(path, whole)
    return whole


_MADE_BY: dict[str, str] = {
    schema.FEATURES_FILE: "interp index",
    schema.CONTEXTS_FILE: "interp index",
    schema.STUDY_ACTIVATIONS_FILE: "interp index",
    schema.EXPLANATIONS_FILE: "interp explain",
    schema.SCORES_FILE: "interp score",
}
