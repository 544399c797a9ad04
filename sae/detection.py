"""Detecting a label: the best single feature, and a linear probe on the activations as its yardstick.

What is chosen (a feature, a penalty) is chosen on one half of the rows and measured on the other; the same group
(patient) may not lie on both sides.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from sae.errors import SAEError
from sae.ranking import Bools, Floats, as_labels, as_scores, auroc, auroc_per_feature, bootstrap_auroc

PENALTIES = (0.001, 0.01, 0.1, 1.0)
_FOLDS = 3

Fold = tuple[NDArray[np.intp], NDArray[np.intp]]


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
        scores_n: (n_report,) what the area was measured on, in row order.
    """

    feature: int
    direction: str
    auroc_select: float
    auroc: float
    interval: tuple[float, float]
    n_select: int
    n_report: int
    scores_n: Floats = field(repr=False, compare=False)


@dataclass(frozen=True)
class Probe:
    """A linear probe for a label; fields as in `Detector`.

    Attributes:
        C: inverse penalty of the logistic regression, chosen by grouped cross-validation on the select rows.
        auroc_select: mean area over those folds.
        weights_d: (d,) direction of the probe in the space of the activations themselves (not standardised).
    """

    C: float
    auroc_select: float
    auroc: float
    interval: tuple[float, float]
    n_select: int
    n_report: int
    scores_n: Floats = field(repr=False, compare=False)
    weights_d: Floats = field(repr=False, compare=False)


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
    select, report, groups = sides(labels, select_mask, report_mask, groups_n)
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
        scores_n=column_n,
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
    select, report, groups = sides(labels, select_mask, report_mask, groups_n)
    fold_groups = np.arange(len(labels)) if groups is None else groups
    areas = _penalty_areas(x[select], labels[select], list(folds(labels[select], fold_groups[select], seed)))
    best = int(np.nanargmax(areas)) if not np.isnan(areas).all() else 0
    model = Logistic.fit(x[select], labels[select], PENALTIES[: best + 1])
    column_n = model.decisions(x[report])
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
        scores_n=column_n,
        weights_d=model.weights_d,
    )


def sides(
    labels: Bools, select_mask: ArrayLike, report_mask: ArrayLike, groups_n: ArrayLike | None
) -> tuple[Bools, Bools, NDArray[np.generic] | None]:
    """The two masks and the groups as arrays, checked.

    Raises:
        SAEError: masks overlap or share a group, a side is empty, or the select rows lack a class.
    """
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


def folds(labels: Bools, groups: NDArray[np.generic], seed: int, n_folds: int = _FOLDS) -> Iterator[Fold]:
    """(fit, test) row numbers, whole groups on one side; none when the groups of a class are too few.

    Groups with a positive row and groups without are shuffled and dealt out in turn, so that classes are spread evenly.
    """
    names, group_n = np.unique(groups, return_inverse=True)
    positive_g = np.bincount(group_n, labels, minlength=len(names)) > 0
    n_folds = min(n_folds, int(positive_g.sum()), len(np.unique(groups[~labels])))
    if n_folds < 2:
        return
    generator = np.random.default_rng(seed)
    fold_g = np.empty(len(names), dtype=np.intp)
    dealt = 0
    for kind in (positive_g, ~positive_g):
        members = generator.permutation(np.flatnonzero(kind))
        fold_g[members] = (dealt + np.arange(len(members))) % n_folds
        dealt += len(members)
    for fold in range(n_folds):
        test_n = fold_g[group_n] == fold
        if len(np.unique(labels[~test_n])) == 2:
            yield np.flatnonzero(~test_n), np.flatnonzero(test_n)


def _penalty_areas(x: Floats, labels: Bools, parts: Sequence[Fold]) -> NDArray[np.float64]:
    """Mean area over the folds of each of PENALTIES; NaN when the rows are too few to make them."""
    areas = np.full((len(parts), len(PENALTIES)), np.nan)
    for number, (fit, test) in enumerate(parts):
        for column, model in enumerate(Logistic.path(x[fit], labels[fit], PENALTIES)):
            areas[number, column] = auroc(model.decisions(x[test]), labels[test])
    known = ~np.isnan(areas)
    return np.where(known.any(axis=0), np.nansum(areas, axis=0) / np.maximum(known.sum(axis=0), 1), np.nan)


@dataclass(frozen=True)
class Logistic:
    """A logistic regression on standardised columns, as a direction and an offset for columns as they are.

    Attributes:
        weights_d: (d,) log-odds for one unit of each column; 0 for a column that does not vary.
        offset: log-odds where all columns are 0.
    """

    weights_d: Floats
    offset: float

    @staticmethod
    def path(x: Floats, labels: Bools, penalties: Sequence[float]) -> Iterator[Logistic]:
        """One fit for each inverse penalty, each starting from the one before."""
        scaler = StandardScaler().fit(x)
        scaled = scaler.transform(x)
        model = LogisticRegression(max_iter=1000, warm_start=True)
        for penalty in penalties:
            with warnings.catch_warnings():
                # A probe that has not quite converged ranks as well; the area is measured on other rows in any case.
                warnings.simplefilter("ignore", ConvergenceWarning)
                model.set_params(C=penalty).fit(scaled, labels)
            weights_d = model.coef_[0] / scaler.scale_
            yield Logistic(weights_d, float(model.intercept_[0] - weights_d @ scaler.mean_))

    @classmethod
    def fit(cls, x: Floats, labels: Bools, penalties: Sequence[float] = (1.0,)) -> Logistic:
        """The fit with the last of the inverse penalties."""
        *_, last = cls.path(x, labels, penalties)
        return last

    def decisions(self, x: Floats) -> Floats:
        """(n,) log-odds that the label is present."""
        return np.asarray(x @ self.weights_d + self.offset)
