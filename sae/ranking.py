"""Area under the ROC curve from ranks, with ties and with a bootstrap over groups."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from sae.errors import SAEError

Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]

# Scores ranked at once; ranks take 8 bytes each.
_CHUNK_ENTRIES = 1 << 24


def as_labels(labels_n: ArrayLike) -> Bools:
    """Labels as booleans.

    Raises:
        SAEError: they are not one axis of 0 and 1.
    """
    labels = np.asarray(labels_n)
    if labels.ndim != 1 or not np.isin(labels, (0, 1)).all():
        raise SAEError(f"labels of shape {labels.shape}: must be one axis of 0 and 1 (drop uncertain rows first)")
    return labels.astype(bool)


def as_scores(scores_nf: ArrayLike, n_rows: int) -> Floats:
    """Scores as a (n, F) array of floats.

    Raises:
        SAEError: another shape, or NaN among them.
    """
    scores = np.asarray(scores_nf)
    if scores.ndim != 2 or len(scores) != n_rows:
        raise SAEError(f"scores of shape {scores.shape}: must be ({n_rows}, F), a row for each label")
    if not np.issubdtype(scores.dtype, np.floating):
        scores = scores.astype(np.float64)
    if np.isnan(scores).any():
        raise SAEError(f"{int(np.isnan(scores).sum())} scores are NaN: a row without a score cannot be ranked")
    return scores


def auroc(scores_n: ArrayLike, labels_n: ArrayLike) -> float:
    """Chance that a positive scores above a negative, a tie counting half; NaN when a class is empty."""
    scores = np.asarray(scores_n)
    if scores.ndim != 1:
        raise SAEError(f"scores of shape {scores.shape}: must have one axis; use auroc_per_feature for several")
    return float(auroc_per_feature(scores[:, None], labels_n)[0])


def auroc_per_feature(scores_nf: ArrayLike, labels_n: ArrayLike) -> NDArray[np.float64]:
    """(F,) area under the ROC curve of each column, by the Mann-Whitney rank sum; NaN when a class is empty."""
    labels = as_labels(labels_n)
    scores = as_scores(scores_nf, len(labels))
    n_positive = int(labels.sum())
    n_negative = len(labels) - n_positive
    n_features = scores.shape[1]
    if n_positive == 0 or n_negative == 0:
        return np.full(n_features, np.nan)
    area_f = np.empty(n_features)
    step = max(1, _CHUNK_ENTRIES // len(labels))
    for start in range(0, n_features, step):
        ranks = rankdata(scores[:, start : start + step], axis=0)
        rank_sum = ranks[labels].sum(axis=0)
        area_f[start : start + step] = rank_sum - n_positive * (n_positive + 1) / 2
    return area_f / (n_positive * n_negative)


def bootstrap_auroc(
    scores_n: ArrayLike, labels_n: ArrayLike, groups_n: ArrayLike, *, n_samples: int = 500, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile interval of the area, resampling whole groups (patients) with replacement.

    Samples in which a class is empty are left out; (NaN, NaN) when all are.
    """
    labels = as_labels(labels_n)
    scores = as_scores(np.asarray(scores_n)[:, None], len(labels))[:, 0]
    names, group_n = np.unique(np.asarray(groups_n), return_inverse=True)
    if len(group_n) != len(labels):
        raise SAEError(f"{len(group_n)} groups for {len(labels)} labels: each row needs its group")
    _, level_n = np.unique(scores, return_inverse=True)
    n_levels = int(level_n.max()) + 1 if len(level_n) else 0
    generator = np.random.default_rng(seed)
    areas = []
    for _ in range(n_samples):
        drawn = generator.integers(len(names), size=len(names))
        weight_n = np.bincount(drawn, minlength=len(names))[group_n].astype(float)
        areas.append(_weighted_area(level_n, labels, weight_n, n_levels))
    kept = np.array(areas)[~np.isnan(areas)]
    if not len(kept):
        return float("nan"), float("nan")
    low, high = np.percentile(kept, [2.5, 97.5])
    return float(low), float(high)


def _weighted_area(level_n: NDArray[np.intp], labels_n: Bools, weight_n: Floats, n_levels: int) -> float:
    positive = np.bincount(level_n[labels_n], weight_n[labels_n], minlength=n_levels)
    negative = np.bincount(level_n[~labels_n], weight_n[~labels_n], minlength=n_levels)
    pairs = positive.sum() * negative.sum()
    if pairs == 0:
        return float("nan")
    below = np.cumsum(negative) - negative
    return float((positive * (below + negative / 2)).sum() / pairs)
