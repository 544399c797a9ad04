"""The chosen contexts with all activations inside them, written as ``contexts.parquet``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from activations.roles import IMAGE_NAMES
from autointerp import schema
from autointerp.contexts import HARDNESSES, KINDS, SPLITS, Chosen
from autointerp.files import ROW_GROUP, table_writer
from autointerp.peaks import Peaks
from autointerp.pieces import Pieces
from autointerp.schema import CONTEXTS, Modality
from autointerp.segments import Entries
from autointerp.units import Units

if TYPE_CHECKING:
    from activations.store import ActivationStore

#: Activations of tokens and patches held at once, about 60 bytes each.
BLOCK_VALUES = 1 << 22


@dataclass(frozen=True)
class ContextSource:
    """What the table is made from, besides the choice: token columns, units, what fires in them, identifiers."""

    store: ActivationStore
    units: Units
    pieces: Pieces
    peaks: Peaks
    entries: Entries
    study_ids: np.ndarray
    patient_ids: np.ndarray
    grid: tuple[int, int]

    @cached_property
    def is_whole(self) -> np.ndarray:
        """(u,) bool: images all of whose patches were kept, row by row."""
        n_rows, n_cols = self.grid
        whole = self.units.is_image & (self.units.n_rows == n_rows * n_cols)
        row, col = self.store.column("row"), self.store.column("col")
        place = np.arange(n_rows * n_cols)
        for unit in np.flatnonzero(whole).tolist():
            first = self.units.first_row[unit]
            here = slice(first, first + len(place))
            whole[unit] = bool(((row[here] * n_cols + col[here]) == place).all())
        return whole


def write_contexts(path: Path, source: ContextSource, blocks: Iterable[Chosen]) -> tuple[int, int]:
    """Write the chosen contexts as a table; gives the number of contexts and of features that have some.

    A second thread makes and writes the tables while the next contexts are chosen.

    Args:
        blocks: contexts of some features each, features rising.
    """
    n_contexts = n_features = 0
    with table_writer(path) as writer, ThreadPoolExecutor(1) as thread:
        pending: Future[None] | None = None
        for chosen in blocks:
            if pending is not None:
                pending.result()
            pending = thread.submit(_write, writer, source, chosen, n_contexts)
            n_contexts += len(chosen)
            n_features += len(np.unique(chosen.feature))
        if pending is not None:
            pending.result()
        if n_contexts == 0:
            writer.write_table(CONTEXTS.empty_table())
    return n_contexts, n_features


def _write(writer: pq.ParquetWriter, source: ContextSource, chosen: Chosen, first: int) -> None:
    for block in _blocks(source.units.n_rows[chosen.unit]):
        part = chosen[block]
        table = _table(source, part, first + block.start, _activations(source, part))
        writer.write_table(table, row_group_size=ROW_GROUP)


def _blocks(n_values_c: np.ndarray) -> Iterator[slice]:
    """Consecutive contexts of at most BLOCK_VALUES activations in all (at least one context)."""
    ends = np.cumsum(n_values_c)
    start = 0
    while start < len(ends):
        before = ends[start - 1] if start else 0
        stop = max(int(np.searchsorted(ends, before + BLOCK_VALUES, side="right")), start + 1)
        yield slice(start, stop)
        start = stop


def _activations(source: ContextSource, part: Chosen) -> np.ndarray:
    """Activations of the contexts' features in all rows of their units, one context after the other."""
    lengths = source.units.n_rows[part.unit]
    offsets = np.cumsum(lengths) - lengths
    values = np.zeros(int(lengths.sum()), dtype=np.float32)
    starts = np.flatnonzero(np.diff(part.feature, prepend=-1))
    found = []
    for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(part)], strict=True):
        which, first, count = source.peaks.segments(int(part.feature[start]), part.unit[start:stop])
        found.append((which + start, first, count))
    if found:
        which, first, count = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
        entries = source.entries.take(first, count)
        values[np.repeat(offsets[which], count) + entries["row"]] = entries["value"]
    return values


def _peaks(values: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest of each context's values, and its place among them; the first of equal ones."""
    offsets = np.cumsum(lengths) - lengths
    if len(lengths) == 0:
        return np.empty(0, dtype=np.float32), np.empty(0, dtype=np.int64)
    largest = np.maximum.reduceat(values, offsets)
    place = np.arange(len(values)) - np.repeat(offsets, lengths)
    place[values != np.repeat(largest, lengths)] = len(values)
    return largest, np.minimum.reduceat(place, offsets)


def _table(source: ContextSource, part: Chosen, first: int, values: np.ndarray) -> pa.Table:
    units, store = source.units, source.store
    unit = part.unit.astype(np.int64)
    is_image = units.is_image[unit]
    start, study = units.first_row[unit], units.study[unit].astype(np.int64)
    largest, place = _peaks(values, units.n_rows[unit])
    peak = start + place
    silent = is_image & (largest == 0)
    documents = units.documents
    image_names = np.array([*IMAGE_NAMES, None], dtype=object)  # −1 is the last
    role_names = np.array(schema.ROLE_NAMES, dtype=object)
    modality = np.array([Modality.TEXT.value, Modality.IMAGE.value], dtype=object)
    tokens, activations = _sentences(source, unit, is_image, values)
    columns = {
        "context": pa.array(np.arange(first, first + len(part))),
        "feature": pa.array(part.feature),
        "kind": _words(KINDS, part.kind),
        "hardness": _words(HARDNESSES, part.hardness),
        "split": _words(SPLITS, part.split),
        "study": pa.array(study),
        "study_id": pa.array(source.study_ids[study], pa.string()),
        "patient_id": pa.array(source.patient_ids[study], pa.string()),
        "modality": pa.array(modality[is_image.astype(int)], pa.string()),
        "role": pa.array(role_names[units.role[unit]], pa.string()),
        "image": pa.array(image_names[units.image[unit]], pa.string()),
        "row": pa.array(store.column("row")[peak], pa.int16(), mask=~is_image | silent),
        "col": pa.array(store.column("col")[peak], pa.int16(), mask=~is_image | silent),
        "box": _boxes(source, peak, is_image & ~silent),
        "map": _maps(source, unit, is_image, values),
        "map_rows": pa.array(np.full(len(part), source.grid[0]), pa.int16(), mask=~is_image),
        "map_cols": pa.array(np.full(len(part), source.grid[1]), pa.int16(), mask=~is_image),
        "position": pa.array(store.column("position")[peak]),
        "token_start": pa.array(store.column("position")[start]),
        "tokens": tokens,
        "activations": activations,
        "sentence": pa.array(documents.sentences, pa.string()).take(pa.array(units.document[unit])),
        "activation": pa.array(largest),
        "findings": pa.array(documents.findings, pa.list_(pa.string())).take(pa.array(units.document[unit])),
    }
    return pa.table([columns[field.name].cast(field.type) for field in CONTEXTS], schema=CONTEXTS)


def _words(words: Sequence[StrEnum], code_c: np.ndarray) -> pa.Array:
    """The word of each code, null where it is negative."""
    return pa.array([word.value for word in words], pa.string()).take(pa.array(code_c, mask=code_c < 0))


def _sentences(
    source: ContextSource, unit: np.ndarray, is_image: np.ndarray, values: np.ndarray
) -> tuple[pa.Array, pa.Array]:
    """The columns ``tokens`` and ``activations``: lists for sentences, null for images."""
    lengths = source.units.n_rows[unit]
    text = np.repeat(~is_image, lengths)
    offsets = _offsets(np.where(is_image, 0, lengths))
    codes = source.pieces.code_n[_rows_of(source, unit)][text]
    strings = pa.array(source.pieces.strings, pa.string()).take(pa.array(codes))
    mask = pa.array(is_image)
    return (
        pa.ListArray.from_arrays(offsets, strings, mask=mask),
        pa.ListArray.from_arrays(offsets, pa.array(values[text]), mask=mask),
    )


def _maps(source: ContextSource, unit: np.ndarray, is_image: np.ndarray, values: np.ndarray) -> pa.Array:
    """The column ``map``: all patches of an image row by row (0 where a patch was not kept), null for sentences."""
    n_rows, n_cols = source.grid
    size = n_rows * n_cols
    lengths = source.units.n_rows[unit]
    image = np.repeat(is_image, lengths)
    offsets, mask = _offsets(np.where(is_image, size, 0)), pa.array(~is_image)
    if source.is_whole[unit[is_image]].all():
        return pa.ListArray.from_arrays(offsets, pa.array(values[image]), mask=mask)
    rows = _rows_of(source, unit)[image]
    patch = source.store.column("row")[rows].astype(np.int64) * n_cols + source.store.column("col")[rows]
    which = np.repeat(np.arange(is_image.sum()), lengths[is_image])
    maps = np.zeros(int(is_image.sum()) * size, dtype=np.float32)
    maps[which * size + patch] = values[image]
    return pa.ListArray.from_arrays(offsets, pa.array(maps), mask=mask)


def _boxes(source: ContextSource, row_c: np.ndarray, has_c: np.ndarray) -> pa.Array:
    """The column ``box``: the patch of each store row as x0, y0, x1, y1 in [0, 1]; null where there is none."""
    n_rows, n_cols = source.grid
    row, col = (source.store.column(name)[row_c[has_c]].astype(np.float64) for name in ("row", "col"))
    sides = [col / max(n_cols, 1), row / max(n_rows, 1), (col + 1) / max(n_cols, 1), (row + 1) / max(n_rows, 1)]
    corners = np.stack(sides, axis=1).astype(np.float32)
    return pa.ListArray.from_arrays(
        _offsets(np.where(has_c, 4, 0)), pa.array(corners.reshape(-1)), mask=pa.array(~has_c)
    )


def _rows_of(source: ContextSource, unit: np.ndarray) -> np.ndarray:
    """Rows of the store of all units, one unit after the other."""
    lengths = source.units.n_rows[unit]
    starts = source.units.first_row[unit] - (np.cumsum(lengths) - lengths)
    return np.repeat(starts, lengths) + np.arange(int(lengths.sum()))


def _offsets(lengths: np.ndarray) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
