"""``studies.parquet`` and the parts it is joined from.

While a store is being filled, every shard has a part ``studies-RRRRR-NNNNN.parquet`` beside it with the rows of its
studies. When the last writer has finished, the parts are joined in the order of study numbers and removed.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from activations.files import publish, storage_errors, temporary_name
from activations.manifest import Manifest
from activations.roles import IMAGE_NAMES
from radiology.errors import InputError

FILE_NAME = "studies.parquet"
PREVIEWS = tuple(f"preview_{name}" for name in IMAGE_NAMES)
#: Columns that are looked at one study at a time; a frame of all studies does without them.
LARGE = (*PREVIEWS, "masks")
TEXT_SECTIONS = ("indication", "technique", "comparison", "prior_report")

SCHEMA = pa.schema(
    [
        pa.field("study", pa.int32(), nullable=False),
        pa.field("study_id", pa.string(), nullable=False),
        pa.field("patient_id", pa.string(), nullable=False),
        pa.field("source", pa.string()),
        pa.field("terms", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        *[pa.field(name, pa.string()) for name in TEXT_SECTIONS],
        pa.field("report", pa.string()),
        pa.field("report_source", pa.string()),
        pa.field("reference_report", pa.string()),
        pa.field("labels", pa.string()),
        pa.field("grounded", pa.string()),
        pa.field("metadata", pa.string()),
        pa.field("structured", pa.string()),
        pa.field("rows", pa.int32(), nullable=False),
        *[pa.field(name, pa.binary()) for name in PREVIEWS],
        pa.field("masks", pa.string()),
        pa.field("crops", pa.string()),
    ],
    metadata={"format": "interp-studies", "version": "1"},
)
#: Rows of one row group; small, because a preview of one study is read by reading its row group.
ROW_GROUP = 64


def part_name(writer: int, number: int) -> str:
    """The part that belongs to shard ``number`` of a writer."""
    return f"studies-{writer:05d}-{number:05d}.parquet"


def write_part(directory: Path, writer: int, number: int, records: Sequence[Mapping[str, Any]]) -> None:
    """Write the study rows of one shard."""
    _write(directory / part_name(writer, number), iter(records))


def join_parts(directory: Path, manifest: Manifest) -> None:
    """Write ``studies.parquet`` beside the store from the parts of all writers, in the order of study numbers."""
    writers = range(manifest.config.writers)
    streams = [part_records(directory, manifest, writer, columns=None) for writer in writers]
    merged = heapq.merge(*streams, key=lambda record: record["study"])
    _write(directory.parent / FILE_NAME, _gapless(directory, merged))


def _gapless(directory: Path, records: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for number, record in enumerate(records):
        if record["study"] != number:
            raise InputError(
                f"{directory}: study number {number} is in no shard, but number {record['study']} is; the writers were "
                "given different studies. Remove the store and give all writers the same."
            )
        yield record


def remove_stale_table(directory: Path) -> None:
    """Remove the ``studies.parquet`` of a store that is gone: a new store begins here."""
    with storage_errors(directory):
        (directory.parent / FILE_NAME).unlink(missing_ok=True)


def part_records(
    directory: Path, manifest: Manifest, writer: int, columns: Sequence[str] | None
) -> Iterator[dict[str, Any]]:
    """Stream the finished study rows of one writer; ``columns`` None is all of them."""
    for number in range(len(manifest.shards_of(writer))):
        yield from read_records(directory / part_name(writer, number), columns)


def all_records(directory: Path, manifest: Manifest, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Stream the study rows of a store: of the joined table if it is complete, else of the parts so far."""
    if manifest.complete:
        yield from read_records(directory.parent / FILE_NAME, columns)
        return
    for writer in range(manifest.config.writers):
        yield from part_records(directory, manifest, writer, columns)


def read_records(path: Path, columns: Sequence[str] | None) -> Iterator[dict[str, Any]]:
    """Stream the rows of a study table."""
    with open_table(path) as file:
        for batch in file.iter_batches(batch_size=ROW_GROUP, columns=None if columns is None else list(columns)):
            yield from batch.to_pylist()


def open_table(path: Path) -> pq.ParquetFile:
    """Open a study table; InputError if it is missing or no such table."""
    if not path.is_file():
        raise InputError(f"{path}: no study index; it is written by `interp cache`")
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path}: damaged study index ({error}); cache anew") from error


def remove_parts(directory: Path) -> None:
    """Remove the parts of a complete store."""
    with storage_errors(directory):
        for path in directory.glob("studies-*-*.parquet"):
            path.unlink()


def _write(path: Path, records: Iterator[Mapping[str, Any]]) -> None:
    temporary = temporary_name(path)
    with storage_errors(path):
        try:
            with pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as file:
                while group := [dict(record) for _, record in zip(range(ROW_GROUP), records, strict=False)]:
                    file.write_table(pa.Table.from_pylist(group, schema=SCHEMA))
            publish(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
