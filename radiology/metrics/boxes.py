"""How much of some boxes lies in others, on a pixel mask as RadFact counts it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from radiology.study import Box

#: Pixels a side of the mask (Bannur et al. 2024, arXiv 2406.04449).
MASK_SIZE = 224


def box_mask(boxes: Iterable[Box], size: int = MASK_SIZE) -> np.ndarray:
    """Union of boxes (x_min, y_min, x_max, y_max in [0, 1]) as a mask (size, size); corners are cut to whole pixels."""
    mask = np.zeros((size, size), dtype=bool)
    for box in boxes:
        x0, y0, x1, y1 = (int(corner * size) for corner in box)
        mask[y0:y1, x0:x1] = True
    return mask


def covered_share(own: Iterable[Box], others: Iterable[Box], size: int = MASK_SIZE) -> float:
    """|own ∩ others| / |own|; NaN if ``own`` is smaller than a pixel."""
    mask = box_mask(own, size)
    area = int(mask.sum())
    return float((mask & box_mask(others, size)).sum() / area) if area else float("nan")
