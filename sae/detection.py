"""Detecting a label: the best single feature, and a linear probe on the activations as its yardstick.

What is chosen (a feature, a penalty) is chosen on one half of the rows and measured on the other; the same group
(patient) may not lie on both sides.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from sae.errors import SAEError
from sae.ranking import Bools, Floats, as_labels, as_scores, auroc, auroc_per_feature, bootstrap_auroc

PENALTIES = (0.001, 0.01, 0.1, 1.0)
_FOLDS = 3


@dataclass(frozen=True)
class Detector:
    """The best single feature for a label.

    Attributes:
        feature: its number.
        direction: always "higher": a higher score means that the label is present.
        auroc_select: area on the rows it was chosen on; optimistic.
        auroc: area on the report rows; NaN when a class is empty there.
        interval: 95 % bootstrap interval of `auroc` over groups; (NaN, NaN) without groups.
        n_select, n_report: rows of the two sides.
    """

    feature: int
    direction: str
    auroc_select: float
    auroc: float
    interval: tuple[float, float]
    n_select: int
    n_report: int


@dataclass(frozen=True)
class Probe:
    """A linear probe for a label; fields as in `Detector`.

    Attributes:
        C: inverse penalty of the logistic regression, chosen by grouped cross-validation on the select rows.
        auroc_select: mean area over those folds.
    """

    C: float
    auroc_select: float
    auroc: float
    interval: tuple[float, float]
    n_select: int
    n_report: int


def best_single_feature(
    scores_nf: ArrayLike,
    labels_n: ArrayLike,
    select_mask: ArrayLike,
    report_mask: ArrayLike,
    groups_n: ArrayLike | None = None,
    *,
    seed: int = 0,
) -> Detector:
    """The feature of the largest area on the select rows, measured on the report rows.

    Args:
        scores_nf: (n, F) score of each feature, for example its largest activation in a study.
        labels_n: (n,) 0 or 1.
        select_mask: (n,) bool rows to choose on.
        report_mask: (n,) bool rows to measure on; disjoint from them.
        groups_n: (n,) patient of each row, for the interval.

    Raises:
        SAEError: masks overlap or share a group, a side is empty, or the select rows lack a class.
    """
    labels = as_labels(labels_n)
    scores = as_scores(scores_nf, len(labels))
    select, report, groups = _sides(labels, select_mask, report_mask, groups_n)
    area_f = auroc_per_feature(scores[select], labels[select])
    feature = int(area_f.argmax())
    column_n = scores[report, feature]
    interval = (float("nan"), float("nan"))
    if groups is not None:
        interval = bootstrap_auroc(column_n, labels[report], groups[report], seed=seed)
    return Detector(
        feature=feature,
        direction="higher",
        auroc_select=float(area_f[feature]),
        auroc=auroc(column_n, labels[report]),
        interval=interval,
        n_select=int(select.sum()),
        n_report=int(report.sum()),
    )


def linear_probe_auroc(
    x_nd: ArrayLike,
    labels_n: ArrayLike,
    select_mask: ArrayLike,
    report_mask: ArrayLike,
    groups_n: ArrayLike | None = None,
    *,
    seed: int = 0,
) -> Probe:
    """Logistic regression on standardised columns, fitted on the select rows, measured on the report rows.

    The penalty is chosen among PENALTIES by cross-validation inside the select rows, folds by group. Arguments and
    errors as in `best_single_feature`; without groups every row is its own.
    """
    labels = as_labels(labels_n)
    x = as_scores(x_nd, len(labels))
    select, report, groups = _sides(labels, select_mask, report_mask, groups_n)
    fold_groups = np.arange(len(labels)) if groups is None else groups
    areas = [_fold_area(x[select], labels[select], fold_groups[select], C, seed) for C in PENALTIES]
    best = int(np.nanargmax(areas)) if not np.isnan(areas).all() else 0
    column_n = _fit(x[select], labels[select], PENALTIES[best]).decision_function(x[report])
    interval = (float("nan"), float("nan"))
    if groups is not None:
        interval = bootstrap_auroc(column_n, labels[report], groups[report], seed=seed)
    return Probe(
        C=PENALTIES[best],
        auroc_select=float(areas[best]),
        auroc=auroc(column_n, labels[report]),
        interval=interval,
        n_select=int(select.sum()),
        n_report=int(report.sum()),
    )


def _sides(
    labels: Bools, select_mask: ArrayLike, report_mask: ArrayLike, groups_n: ArrayLike | None
) -> tuple[Bools, Bools, NDArray[np.generic] | None]:
    select, report = np.asarray(select_mask), np.asarray(report_mask)
    for name, mask in (("select_mask", select), ("report_mask", report)):
        if mask.dtype != bool or mask.shape != labels.shape:
            raise SAEError(f"{name} is {mask.dtype} of shape {mask.shape}: must be bool of shape {labels.shape}")
        if not mask.any():
            raise SAEError(f"{name} chooses no row")
    if (select & report).any():
        raise SAEError(f"{int((select & report).sum())} rows are in select_mask and report_mask: they must be disjoint")
    if len(np.unique(labels[select])) < 2:
        raise SAEError("the select rows all have the same label: nothing can be chosen on them")
    if groups_n is None:
        return select, report, None
    groups = np.asarray(groups_n)
    if groups.shape != labels.shape:
        raise SAEError(f"groups of shape {groups.shape}: must be {labels.shape}")
    shared = np.intersect1d(groups[select], groups[report])
    if len(shared):
        raise SAEError(f"{len(shared)} groups lie on both sides: split by group, so that no patient is in both masks")
    return select, report, groups


def _fold_area(x: Floats, labels: Bools, groups: NDArray[np.generic], C: float, seed: int) -> float:
    """Mean area over the folds; NaN when the rows are too few to make them."""
    n_folds = min(_FOLDS, len(np.unique(groups[labels])), len(np.unique(groups[~labels])))
    if n_folds < 2:
        return float("nan")
    areas = []
    for fit, test in StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed).split(x, labels, groups):
        if len(np.unique(labels[fit])) == 2:
            areas.append(auroc(_fit(x[fit], labels[fit], C).decision_function(x[test]), labels[test]))
    known = [area for area in areas if not np.isnan(area)]
    return float(np.mean(known)) if known else float("nan")


def _fit(x: Floats, labels: Bools, C: float) -> Pipeline:
    model = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=1000))
    with warnings.catch_warnings():
        # A probe that has not quite converged ranks as well; the area is measured on other rows in any case.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(x, labels)
