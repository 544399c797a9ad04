"""What caching will take, told before the first shard is written: rows, bytes, time, and whether the disk has room."""

from __future__ import annotations

import errno
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from activations.encoding import block_rows
from activations.manifest import DTYPES, StoreConfig, read_manifest
from activations.room import size
from activations.shard import COLUMN_CHUNK, TOKEN_COLUMNS
from activations.writer import SHARD_STUDIES, StoreWriter, StudyRows

#: So much more than expected must be free: the studies to come are not quite like those of the first batch.
MARGIN = 1.05
#: What HDF5 writes besides the rows of a dataset: its header and the index of its chunks.
DATASET_BYTES = 2048


@dataclass(frozen=True)
class Estimate:
    """What is still to come, judged by the first batch.

    Attributes:
        studies: studies that are in no finished shard yet, those of all writers together.
        rows: their rows (kept tokens).
        bytes: their shards and study rows; what a compression will save is not known before and not counted.
        seconds: until this writer has done its share, of reading, running the model and handing over.
        free_bytes: room on the store's disk.
        table_bytes: of the whole ``studies.parquet``, which at the end lies for a moment beside the parts it is
            joined from.
    """

    studies: int
    rows: int
    bytes: int
    seconds: float
    free_bytes: int
    table_bytes: int = 0

    @property
    def needed_bytes(self) -> int:
        """Room that must be free: what is expected and 5 %."""
        return math.ceil((self.bytes + self.table_bytes) * MARGIN)

    def require_room(self, directory: Path) -> None:
        """Raise OSError (``ENOSPC``) if the disk of ``directory`` has less room than :attr:`needed_bytes`."""
        if self.free_bytes < self.needed_bytes:
            raise OSError(
                errno.ENOSPC,
                f"{directory}: the disk has too little room: {self.rows:,} rows of {self.studies:,} studies to come "
                f"need about {size(self.needed_bytes)} ({self.needed_bytes:,} bytes), {size(self.free_bytes)} "
                f"({self.free_bytes:,} bytes) are free. Free space and run the same command again, or choose another "
                "run directory, fewer studies, sites or roles",
            )


Announce = Callable[[Estimate], None]


def expect(batch: Sequence[StudyRows], seconds: float, studies: int, mine: int, writer: StoreWriter) -> Estimate:
    """Judge by a batch that has run what all studies that are left will take.

    Args:
        batch: the studies of that batch, at least one.
        seconds: what it took from reading its studies to its rows.
        studies: studies of the whole store, those of all writers.
        mine: studies that ``writer`` has still to write, this batch included.
        writer: has been entered; what other writers have finished is seen in the manifest beside it.
    """
    manifest = read_manifest(writer.directory)
    left = max(studies - (manifest.n_studies if manifest is not None else 0), mine)
    rows = round(sum(len(study.positions) for study in batch) * left / len(batch))
    table_bytes = sum(_record_bytes(study) for study in batch) / len(batch)
    return Estimate(
        studies=left,
        rows=rows,
        bytes=shard_bytes(writer.config, rows, left, writer.shard_rows) + round(table_bytes * left),
        seconds=seconds * mine / len(batch),
        free_bytes=shutil.disk_usage(writer.directory).free,
        table_bytes=round(table_bytes * studies),
    )


def wait_for_devices(batch: Sequence[StudyRows]) -> None:
    """A GPU works behind the back of Python: without waiting, the time of a batch would be that of asking for it."""
    for device in {tensor.device for study in batch for tensor in study.rows.values()}:
        if device.type == "cuda":
            torch.cuda.synchronize(device)


def shard_bytes(config: StoreConfig, rows: int, studies: int, shard_rows: int) -> int:
    """Bytes of the shards of so many rows, without compression: the last chunk of every dataset takes its full size."""
    shards = max(math.ceil(rows / shard_rows), math.ceil(studies / SHARD_STUDIES), 1)
    each = math.ceil(rows / shards)
    total = _rounded_up(each, COLUMN_CHUNK) * sum(dtype.itemsize for dtype in TOKEN_COLUMNS.values())
    for width in config.sites.values():
        total += _rounded_up(each, block_rows(width, config.dtype)) * width * DTYPES[config.dtype].itemsize
        total += _rounded_up(each, COLUMN_CHUNK) * 4  # the norms
    return shards * (total + DATASET_BYTES * (2 * len(config.sites) + len(TOKEN_COLUMNS)))


def _rounded_up(rows: int, chunk: int) -> int:
    return math.ceil(rows / chunk) * chunk


def _record_bytes(study: StudyRows) -> int:
    """Bytes of a row of the study table; its previews are most of it, and are compressed already."""
    return sum(len(value) for value in study.record.values() if isinstance(value, (bytes, str)))
