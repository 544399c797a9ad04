"""Putting a finding into a picture so that its truth mask is exact.

A finding is drawn as a change of density. Where the change is too small to be seen it is taken back, so that outside
the mask the picture with the finding *is* the picture without it.
"""

from __future__ import annotations

import numpy as np

from radiology.phantom.canvas import Array, Window, box_mean

#: Mean change over 3 × 3 pixels below which nothing is drawn (about three grey values).
VISIBLE = 0.012


def apply_change(density: Array, change: Array) -> tuple[Array, Array]:
    """Add ``change`` in place where it can be seen.

    Returns the mask (bool), and how far the change was kept (0 … 1, float32), both (size, size).
    """
    kept = box_mean(np.abs(change))
    kept *= np.float32(1 / VISIBLE)
    kept -= np.float32(1)
    np.clip(kept, 0, 1, out=kept)
    change *= kept
    density += change
    return kept > 0, kept


def apply_local(density: Array, window: Window, change: Array) -> Array:
    """:func:`apply_change` within a part of the picture; returns the mask of the whole picture."""
    mask = np.zeros(density.shape, dtype=bool)
    mask[window], _ = apply_change(density[window], change)
    return mask
