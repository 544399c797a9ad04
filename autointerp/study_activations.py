"""How strongly each feature fires in each image and sentence, and on which patches: ``study_activations.parquet``.

Contexts are a choice; this table has every image and sentence that contexts could be chosen from, so that a feature can
be held against the findings of studies, and a study can be asked for its features. It is made from what the pass over
the store has put aside, without another look at the store.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from activations.roles import IMAGE_NAMES
from autointerp import schema
from autointerp.extract import ContextSource
from autointerp.files import table_writer
from autointerp.schema import STUDY_ACTIVATIONS, Modality

#: Patches that are kept of an image, the strongest ones.
MAX_PATCHES = 24
#: Activations held at once.
BLOCK_VALUES = 1 << 21
#: Rows of a row group; small, since a reader wants a few features or one study.
ROW_GROUP = 1 << 14


def write_study_activations(path: Path, source: ContextSource, n_features: int) -> int:
    """Write the table by feature, then unit; gives its number of rows."""
    n_written = 0
    with table_writer(path) as writer:
        for first, last in _blocks(source, n_features):
            table = _table(source, first, last)
            writer.write_table(table, row_group_size=ROW_GROUP)
            n_written += len(table)
    return n_written


def _blocks(source: ContextSource, n_features: int) -> Iterator[tuple[int, int]]:
    """Ranges of features with at most BLOCK_VALUES activations in all (at least one feature)."""
    ends = np.cumsum(source.peaks.entries_per_feature())
    first = 0
    while first < n_features:
        before = int(ends[first - 1]) if first else 0
        last = max(int(np.searchsorted(ends, before + BLOCK_VALUES, side="right")), first + 1)
        yield first, min(last, n_features)
        first = last


def _table(source: ContextSource, first: int, last: int) -> pa.Table:
    feature_s, unit_s, start_s, count_s = source.peaks.all_segments(first, last)
    new_s = (np.diff(feature_s, prepend=-1) != 0) | (np.diff(unit_s, prepend=-1) != 0)
    begin_g = np.flatnonzero(new_s)  # a unit that lies in two chunks has two segments
    unit_g = unit_s[begin_g].astype(np.int64)
    entries = source.entries.take(start_s, count_s)
    group_m = np.repeat(np.cumsum(new_s) - 1, count_s)
    order = np.lexsort((-entries["value"], group_m))  # strongest first; of equal ones the first
    size_g = np.bincount(group_m, minlength=len(begin_g))
    start_g = np.cumsum(size_g) - size_g
    peak_g = entries["value"][order[start_g]] if len(begin_g) else np.empty(0, np.float32)
    units = source.units
    role_names, image_names = np.array(schema.ROLE_NAMES, object), np.array([*IMAGE_NAMES, None], object)
    is_image = units.is_image[unit_g]
    sentences = np.array([*units.documents.sentences, None], dtype=object)[units.document[unit_g]]
    rank_m = np.arange(len(order)) - np.repeat(start_g, size_g)
    kept = order[(rank_m < MAX_PATCHES) & is_image[group_m[order]]]
    patches, weights = _patches(source, unit_g, group_m[kept], entries[kept], peak_g, is_image)
    columns = {
        "feature": pa.array(feature_s[begin_g], pa.int32()),
        "study": pa.array(units.study[unit_g], pa.int32()),
        "modality": pa.array(np.where(is_image, Modality.IMAGE.value, Modality.TEXT.value).astype(object), pa.string()),
        "role": pa.array(role_names[units.role[unit_g]], pa.string()),
        "image": pa.array(image_names[units.image[unit_g]], pa.string()),
        "sentence": pa.array(sentences, pa.string()),
        "activation": pa.array(peak_g, pa.float32()),
        "n_tokens": pa.array(size_g, pa.int32()),
        "patches": patches,
        "weights": weights,
    }
    return pa.table([columns[field.name] for field in STUDY_ACTIVATIONS], schema=STUDY_ACTIVATIONS)


def _patches(
    source: ContextSource,
    unit_g: np.ndarray,
    group_k: np.ndarray,
    entries_k: np.ndarray,
    peak_g: np.ndarray,
    is_image_g: np.ndarray,
) -> tuple[pa.Array, pa.Array]:
    """The columns ``patches`` and ``weights`` from the kept entries, which are in the order of their groups."""
    row_k = source.units.first_row[unit_g[group_k]] + entries_k["row"]
    row, col = (source.store.column(name)[row_k].astype(np.int64) for name in ("row", "col"))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(group_k, minlength=len(unit_g)))]).astype(np.int32)
    shares = entries_k["value"] / peak_g[group_k]
    lists = [
        (row * source.grid[1] + col, pa.int32()),
        (np.clip(np.rint(255 * shares), 0, 255).astype(np.uint8), pa.uint8()),
    ]
    missing = pa.array(~is_image_g)
    patches, weights = (
        pa.ListArray.from_arrays(pa.array(offsets), pa.array(values, kind), mask=missing) for values, kind in lists
    )
    return patches, weights
