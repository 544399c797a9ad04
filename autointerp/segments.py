"""Where features fire within units, written aside while the store streams by.

The contexts that are shown are chosen when everything has been seen, and by then the residuals are gone. So the
activations inside units are kept in files, in an order in which each context can be read by itself: a *segment* is what
one feature does in one unit (in one chunk), and its *entries* are the tokens of it. Two files a part of the store:

``part-NNNNN.segments.npy``  feature, unit, count, peak; 16 bytes a segment, by chunk, feature, unit
``part-NNNNN.entries.npy``   row within the unit, value; 8 bytes an entry, in the order of the segments
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from activations.files import publish, storage_errors, temporary_name
from autointerp.firing import Firing

SEGMENT = np.dtype([("feature", "<i4"), ("unit", "<i4"), ("count", "<i4"), ("peak", "<f4")])
ENTRY = np.dtype([("row", "<i4"), ("value", "<f4")])


def cut_segments(firing: Firing, unit_n: np.ndarray, place_n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Segments and entries of a chunk.

    Args:
        firing: activations of n tokens whose units rise with their rows.
        unit_n: (n,) unit of each token, −1 for none.
        place_n: (n,) row of each token within its unit.
    """
    unit_m = unit_n[firing.row_m]
    inside = np.flatnonzero(unit_m >= 0)
    feature_m, unit_m, value_m = firing.feature_m[inside], unit_m[inside], firing.value_m[inside]
    entries = np.empty(len(inside), dtype=ENTRY)
    entries["row"], entries["value"] = place_n[firing.row_m[inside]], value_m
    new = (np.diff(feature_m, prepend=-1) != 0) | (np.diff(unit_m, prepend=-1) != 0)
    starts = np.flatnonzero(new)
    segments = np.empty(len(starts), dtype=SEGMENT)
    segments["feature"], segments["unit"] = feature_m[starts], unit_m[starts]
    segments["count"] = np.diff(starts, append=len(inside))
    segments["peak"] = np.maximum.reduceat(value_m, starts) if len(starts) else 0
    return segments, entries


def part_files(folder: Path, part: int) -> tuple[Path, Path]:
    """The files of segments and of entries of a part."""
    return folder / f"part-{part:05d}.segments.npy", folder / f"part-{part:05d}.entries.npy"


def write_part(folder: Path, part: int, chunks: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
    """Write what :func:`cut_segments` gave for the chunks of a part; a file that is there is whole."""
    segments, entries = zip(*chunks, strict=True)
    for path, arrays in zip(part_files(folder, part), (segments, entries), strict=True):
        temporary = temporary_name(path)
        with storage_errors(path):
            with temporary.open("wb") as file:
                np.save(file, np.concatenate(arrays))
            publish(temporary, path)


class Entries:
    """The entries of all parts as if they lay in one file, read where they are asked for.

    Args:
        folder, parts: where they were written; in the order in which segments are numbered.
    """

    def __init__(self, folder: Path, parts: Iterable[int]) -> None:
        self._arrays = [np.load(part_files(folder, part)[1], mmap_mode="r") for part in parts]
        self._starts = np.cumsum([0] + [len(array) for array in self._arrays])

    def take(self, start_s: np.ndarray, count_s: np.ndarray) -> np.ndarray:
        """The entries of s segments, one after the other, of type :data:`ENTRY`."""
        found = np.empty(int(count_s.sum()), dtype=ENTRY)
        to_s = np.cumsum(count_s) - count_s
        part_s = np.searchsorted(self._starts, start_s, side="right") - 1
        for part in np.unique(part_s).tolist():
            here = np.flatnonzero(part_s == part)
            inside = _ranges(count_s[here])
            source = np.repeat(start_s[here] - self._starts[part], count_s[here]) + inside
            found[np.repeat(to_s[here], count_s[here]) + inside] = self._arrays[part][source]
        return found


def _ranges(count_s: np.ndarray) -> np.ndarray:
    """0 … count − 1 for each count, one after the other."""
    return np.arange(int(count_s.sum())) - np.repeat(np.cumsum(count_s) - count_s, count_s)
