"""Features of an SAE whose meaning is known from truth; labels of explainers are held against them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from activations import StudyIndex
from interp.problems import Sides
from sae.ranking import auroc_per_label


def detectors(
    studies: StudyIndex, findings: Sequence[str], sides: Sides, *, seed: int = 0, min_auroc: float = 0.9
) -> list[dict[str, Any]]:
    """Features whose meaning is known: on frontal image tokens they tell one finding from its absence.

    For each feature the finding of largest area is chosen on the select half; kept are features whose area for it is at
    least ``min_auroc`` on both halves. Rows ``{feature, key, auroc}``, the area being that of the report half.
    """
    pooled = next(sides.pooled("image", findings[:1]), [None])[0]
    if pooled is None:
        return []
    scores_sf, present_s = pooled.features("max"), pooled.counts_s > 0
    labels_sk = studies.label_matrix(findings)
    areas = np.full((2, scores_sf.shape[1], len(findings)), np.nan)
    labelled_sk = ~np.isnan(labels_sk)
    for side, half in enumerate(studies.halves(seed)):
        for known_s in np.unique(labelled_sk, axis=1).T:
            columns = np.flatnonzero((labelled_sk == known_s[:, None]).all(axis=0))
            use = half & present_s & known_s
            if use.any():
                areas[side][:, columns] = auroc_per_label(scores_sf[use], labels_sk[np.ix_(use, columns)]).T
    filled = np.nan_to_num(areas, nan=0.0)
    best_f = filled[0].argmax(axis=1)
    rows = np.arange(scores_sf.shape[1])
    keep = np.flatnonzero(np.minimum(filled[0, rows, best_f], filled[1, rows, best_f]) >= min_auroc)
    return [
        {"feature": int(f), "key": findings[best_f[f]], "auroc": float(areas[1, f, best_f[f]])} for f in keep.tolist()
    ]
