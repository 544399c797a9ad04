"""Masks of findings as text: COCO's run-length encoding, which ``pycocotools.mask`` reads and writes.

A mask is cut into runs of equal pixels down the columns, left to right, beginning with a run of pixels outside (which
may be of length 0). The lengths are written as numbers of 5 bits a character, each from the fourth on as its difference
to the length two before it (``rleToString`` of the COCO API, Lin and others 2014).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from radiology.errors import InputError

#: A side of a mask that is read; what claims more is no mask of a preview.
MAX_SIDE = 4096


def encode_mask(mask_hw: np.ndarray) -> dict[str, Any]:
    """(height, width) bool → ``{"size": [height, width], "counts": text}``."""
    height, width = mask_hw.shape
    flat = np.concatenate([[False], mask_hw.ravel(order="F"), [not mask_hw[-1, -1]]])
    turns = np.flatnonzero(flat[1:] != flat[:-1])
    runs = np.diff(turns, prepend=0).tolist()
    return {"size": [height, width], "counts": "".join(_write(runs))}


def decode_mask(encoded: Mapping[str, Any]) -> np.ndarray:
    """The inverse of :func:`encode_mask`: (height, width) bool.

    Raises:
        InputError: not of that form, or the runs do not fill the picture.
    """
    height, width = _size(encoded.get("size"))
    runs = _read(encoded.get("counts"))
    if min(runs, default=-1) < 0 or sum(runs) != height * width:
        raise InputError(f"mask: its runs do not fill its {height} × {width} pixels")
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, runs).reshape((height, width), order="F")


def patch_coverage(mask_hw: np.ndarray, rows: int, cols: int) -> np.ndarray:
    """Share of each patch of a (rows, cols) grid that a mask covers, float64; pixels across a border count in part."""
    height, width = mask_hw.shape
    coverage: np.ndarray = _overlap(rows, height) @ mask_hw.astype(np.float64) @ _overlap(cols, width).T
    return coverage


def _overlap(parts: int, pixels: int) -> np.ndarray:
    """(parts, pixels) share of each of equal parts of a line that lies in each pixel of it."""
    edges, pixel = np.arange(parts + 1) * pixels / parts, np.arange(pixels)
    upper = np.minimum(edges[1:, None], pixel[None] + 1)
    lower = np.maximum(edges[:-1, None], pixel[None])
    shares: np.ndarray = np.maximum(upper - lower, 0) * parts / pixels
    return shares


def _write(runs: list[int]) -> Iterator[str]:
    for place, run in enumerate(runs):
        value, more = run - (runs[place - 2] if place > 2 else 0), True
        while more:
            low, value = value & 31, value >> 5
            more = value != (-1 if low & 16 else 0)
            yield chr(48 + (low | (32 if more else 0)))


def _read(counts: Any) -> list[int]:
    if not isinstance(counts, str) or not all("0" <= one <= "o" for one in counts):
        raise InputError("mask: its counts are no run lengths of COCO")
    runs: list[int] = []
    value = shift = 0
    for code in map(ord, counts):
        low = code - 48
        value |= (low & 31) << shift
        shift += 5
        if low & 32:
            continue
        if low & 16:
            value |= -1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise InputError("mask: its counts end in the middle of a number")
    return runs


def _size(size: Any) -> tuple[int, int]:
    if (
        not isinstance(size, list)
        or len(size) != 2
        or not all(type(one) is int and 0 < one <= MAX_SIDE for one in size)
    ):
        raise InputError(f"mask: its size is no [height, width] of 1 to {MAX_SIDE} pixels")
    return size[0], size[1]
