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


def auroc_per_label(scores_nf: ArrayLike, labels_nl: ArrayLike) -> NDArray[np.float64]:
    """(L, F) area of each of F columns for each of L labels over the same rows; NaN where a class is empty.

    The columns are ranked once for all labels, so that many labels cost little more than one.
    """
    labels_ln = np.stack([as_labels(labels_n) for labels_n in np.asarray(labels_nl).T])
    scores = as_scores(scores_nf, labels_ln.shape[1])
    n_positive_l1 = labels_ln.sum(axis=1, dtype=np.float64)[:, None]
    pairs_l1 = n_positive_l1 * (labels_ln.shape[1] - n_positive_l1)
    area_lf = np.empty((len(labels_ln), scores.shape[1]))
    step = max(1, _CHUNK_ENTRIES // max(1, labels_ln.shape[1]))
    for start in range(0, scores.shape[1], step):
        ranks_nf = rankdata(scores[:, start : start + step], axis=0)
        area_lf[:, start : start + step] = labels_ln.astype(np.float64) @ ranks_nf
    area_lf -= n_positive_l1 * (n_positive_l1 + 1) / 2
    return np.where(pairs_l1 > 0, area_lf / np.where(pairs_l1 > 0, pairs_l1, 1), np.nan)


def bootstrap_auroc(
    scores_n: ArrayLike, labels_n: ArrayLike, groups_n: ArrayLike, *, n_samples: int = 500, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile interval of the area, resampling whole groups (patients) with replacement.

    Samples in which a class is empty are left out; (NaN, NaN) when all are.
    """
    areas_bc = bootstrap_areas(np.asarray(scores_n)[:, None], labels_n, groups_n, n_samples=n_samples, seed=seed)
    return percentile_interval(areas_bc[:, 0])


def bootstrap_areas(
    scores_nc: ArrayLike, labels_n: ArrayLike, groups_n: ArrayLike, *, n_samples: int = 500, seed: int = 0
) -> NDArray[np.float64]:
    """(n_samples, C) areas of C score columns on the same resamples of whole groups; NaN where a class is empty.

    Differences between columns of a row are paired: both were measured on the same patients.
    """
    labels = as_labels(labels_n)
    scores = as_scores(scores_nc, len(labels))
    weight_bn = group_weights(groups_n, n_samples=n_samples, seed=seed)
    if weight_bn.shape[1] != len(labels):
        raise SAEError(f"{weight_bn.shape[1]} groups for {len(labels)} labels: each row needs its group")
    if not len(labels):
        return np.full((n_samples, scores.shape[1]), np.nan)
    return np.stack([weighted_areas(column_n, labels, weight_bn) for column_n in scores.T], axis=1)


def group_weights(groups_n: ArrayLike, *, n_samples: int = 500, seed: int = 0) -> NDArray[np.float64]:
    """(n_samples, n) how often each row counts in each resample of whole groups with replacement."""
    names, group_n = np.unique(np.asarray(groups_n), return_inverse=True)
    if not len(names):
        return np.zeros((n_samples, 0))
    drawn_bg = np.random.default_rng(seed).integers(len(names), size=(n_samples, len(names)))
    cell_bg = drawn_bg + np.arange(n_samples)[:, None] * len(names)
    count_bg = np.bincount(cell_bg.ravel(), minlength=n_samples * len(names)).reshape(n_samples, len(names))
    return count_bg[:, group_n].astype(np.float64)


def percentile_interval(values_b: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of bootstrap values; those that are NaN are left out, (NaN, NaN) when all are."""
    values = np.asarray(values_b, dtype=np.float64)
    kept = values[~np.isnan(values)]
    if not len(kept):
        return float("nan"), float("nan")
    low, high = np.percentile(kept, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)


def weighted_areas(scores_n: Floats, labels_n: Bools, weight_bn: Floats) -> NDArray[np.float64]:
    """(B,) area with each row counted as often as its weight, (B, n); NaN where a class has no weight."""
    order = np.argsort(scores_n, kind="stable")
    ordered = scores_n[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    weights = weight_bn[:, order]
    positive_bl = np.add.reduceat(weights * labels_n[order], starts, axis=1)
    negative_bl = np.add.reduceat(weights * ~labels_n[order], starts, axis=1)
    pairs_b = positive_bl.sum(axis=1) * negative_bl.sum(axis=1)
    below_bl = np.cumsum(negative_bl, axis=1) - negative_bl / 2
    area_b = (positive_bl * below_bl).sum(axis=1)
    return np.where(pairs_b > 0, area_b / np.where(pairs_b > 0, pairs_b, 1), np.nan)
