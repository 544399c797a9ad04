"""Joining complete stores into one: the studies of the first input, then those of the second, and so on.

The result is a store with one writer. Studies get new numbers without gaps; their rows are copied as stored, bit for
bit. :func:`activations.merge_plan.plan` looks at everything first, :func:`merge` then copies; stopped or killed, the
same call goes on after the last finished shard. What is being merged is noted in ``merge.json`` beside
``studies.parquet``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from activations.compression import NONE
from activations.copying import StudyReader
from activations.estimate import shard_bytes
from activations.files import make_folder, storage_errors, write_atomically
from activations.manifest import Manifest, read_manifest
from activations.merge_plan import NOTE, MergePlan, Part
from activations.room import require_room
from activations.studies_files import FILE_NAME, LARGE, SCHEMA
from activations.summary import StoreSummary, summarize
from activations.write_behind import WriteBehind
from activations.writer import DEFAULT_SHARD_ROWS, StoreWriter
from radiology.errors import InputError

Progress = Callable[[int, int], None]
#: What tells whether the studies of an interrupted merge are those that are given now.
_COMPARED = tuple(name for name in SCHEMA.names if name not in LARGE)


def merge(
    plan: MergePlan,
    out: Path,
    *,
    shard_rows: int = DEFAULT_SHARD_ROWS,
    progress: Progress = lambda done, total: None,
) -> StoreSummary:
    """Copy what is planned into ``out/activations`` and ``out/studies.parquet``.

    In memory are the token columns of one shard for each writer of an input, and about six studies on their way to the
    disk. Every shard that is read is compared with its checksum.

    Args:
        out: run directory; it must hold nothing of a store, or this merge, begun before.
        progress: called with rows copied and rows in all.

    Raises:
        InputError: something else is in ``out``, the disk has too little room, or an input is damaged.
        OSError: the disk refuses; finished shards stay and the same call goes on.
    """
    directory = out / "activations"
    begun = plan.require_place(out)
    there = read_manifest(directory) if begun else None
    _require_room(plan, out, there, shard_rows)
    if not begun:
        with storage_errors(out):
            make_folder(out)
        write_atomically(out / NOTE, (json.dumps(plan.note(), indent=1) + "\n").encode())
    with StoreWriter(directory, plan.config, shard_rows=shard_rows) as writer:
        written, waited = _copy(plan, writer, progress)
    return summarize(directory, written_now=written, waited=waited)


def _copy(plan: MergePlan, writer: StoreWriter, progress: Progress) -> tuple[int, float]:
    """Gives the number of studies that were not there, and the seconds for which their reading waited for the disk."""
    stored = writer.stored_records(_COMPARED) if writer.studies_done else iter(())
    number = done = written = 0
    with ExitStack() as stack:
        behind = None if writer.complete else stack.enter_context(WriteBehind(writer))
        for part in plan.parts:
            for reader, record in _kept(part):
                renumbered = {**record, "study": number}
                if (before := next(stored, None)) is not None:
                    _require_same(before, renumbered, writer.directory)
                    reader.skip(record)
                elif behind is None:
                    raise InputError(f"{writer.directory}: holds fewer studies than are given; merge into a new folder")
                else:
                    behind.add([replace(reader.rows_of(record), record=renumbered)])
                    written += 1
                number, done = number + 1, done + record["rows"]
                progress(done, plan.rows)
        if behind is not None:
            behind.finish()
    return written, behind.waited if behind is not None else 0.0


def _kept(part: Part) -> Iterator[tuple[StudyReader, dict[str, Any]]]:
    """The studies of an input that are merged; each must be read or skipped before the next."""
    left_out = {duplicate.study for duplicate in part.left_out}
    with StudyReader(part.directory) as reader:
        for record in reader.records():
            if record["study"] in left_out:
                reader.skip(record)
            else:
                yield reader, record


def _require_same(stored: dict[str, Any], given: dict[str, Any], directory: Path) -> None:
    for name in _COMPARED:
        if stored.get(name) != given.get(name):  # a table from before a column was there has none
            raise InputError(
                f"{directory}: {name} of study number {stored['study']} is not as stored; the inputs have changed. "
                "Merge into a new folder"
            )


def _require_room(plan: MergePlan, out: Path, there: Manifest | None, shard_rows: int) -> None:
    if there is not None and there.complete:
        return
    rows = plan.rows - (there.rows if there else 0)
    studies = plan.studies - (there.n_studies if there else 0)
    needed = shard_bytes(plan.config, rows, studies, shard_rows)
    if plan.config.compression != NONE:  # as well as it compressed before
        needed = sum(shard.bytes for part in plan.parts for shard in part.manifest.shards)
        needed = round(needed * rows / max(sum(part.manifest.rows for part in plan.parts), 1))
    tables = sum((part.directory.parent / FILE_NAME).stat().st_size for part in plan.parts)
    parts = tables * studies / max(plan.studies, 1)
    require_room(out, round(needed + parts + tables), f"the merge of {rows:,} rows of {studies:,} studies")
