"""k-sparse probes: how many features it takes to tell a label (arXiv 2305.01610).

The k features are those whose mean differs most between the classes, in units of the activations themselves (arXiv
2503.09532 chooses alike); a logistic regression on their standardised scores weighs them. Features and weights come
from one half of the rows, areas and F1 from the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sae.detection import Logistic, folds, sides
from sae.errors import SAEError
from sae.ranking import Bools, Floats, as_labels, as_scores, auroc, bootstrap_auroc

KS = (1, 2, 5, 10)


@dataclass(frozen=True)
class SparseProbe:
    """A probe on k features.

    Attributes:
        k: features asked for; fewer were used when fewer differ between the classes.
        features: those that were used, by falling difference of means.
        auroc, interval: area on the report rows and its 95 % bootstrap interval over groups.
        f1: on the report rows, at log-odds 0.
        scores_n: (n_report,) log-odds of the report rows.
    """

    k: int
    features: tuple[int, ...]
    auroc: float
    interval: tuple[float, float]
    f1: float
    scores_n: Floats = field(repr=False, compare=False)


def sparse_probes(
    scores_nf: ArrayLike,
    labels_n: ArrayLike,
    select_mask: ArrayLike,
    report_mask: ArrayLike,
    groups_n: ArrayLike | None = None,
    *,
    ks: Sequence[int] = KS,
    seed: int = 0,
) -> list[SparseProbe]:
    """One probe for each k, chosen and fitted on the select rows and measured on the report rows.

    Arguments and errors as in :func:`sae.detection.best_single_feature`; without groups there is no interval.
    """
    if not ks or min(ks) < 1:
        raise SAEError(f"ks = {tuple(ks)}: must be numbers of features, 1 or more")
    labels = as_labels(labels_n)
    scores = as_scores(scores_nf, len(labels))
    select, report, groups = sides(labels, select_mask, report_mask, groups_n)
    ranked = by_mean_difference(scores[select], labels[select])
    probes = []
    for k in ks:
        chosen = ranked[:k]
        column_n: Floats = np.zeros(int(report.sum()))
        if len(chosen):
            model = Logistic.fit(scores[np.ix_(select, chosen)], labels[select])
            column_n = model.decisions(scores[np.ix_(report, chosen)])
        interval = (float("nan"), float("nan"))
        if groups is not None:
            interval = bootstrap_auroc(column_n, labels[report], groups[report], seed=seed)
        area, f1 = auroc(column_n, labels[report]), f1_score(column_n > 0, labels[report])
        probes.append(SparseProbe(k, tuple(chosen.tolist()), area, interval, f1, column_n))
    return probes


def by_mean_difference(scores_nf: Floats, labels_n: Bools, *, higher: bool = False) -> NDArray[np.intp]:
    """Features by falling difference of their means between the classes; those without a difference are left out.

    Args:
        higher: only features that are higher where the label is present, instead of both signs.
    """
    difference_f = scores_nf[labels_n].mean(axis=0, dtype=np.float64) - scores_nf[~labels_n].mean(
        axis=0, dtype=np.float64
    )
    size_f = difference_f if higher else np.abs(difference_f)
    order = np.argsort(-size_f, kind="stable")
    return order[size_f[order] > 0]


def f1_score(said_n: Bools, labels_n: Bools) -> float:
    """2 · hits / (said + positives); NaN where there are no positives."""
    if not labels_n.any():
        return float("nan")
    return float(2 * (said_n & labels_n).sum() / (said_n.sum() + labels_n.sum()))


def f1_by_k(
    scores_nf: Floats, labels_n: Bools, groups_n: NDArray[np.generic], ranked: NDArray[np.intp], seed: int
) -> list[float]:
    """Cross-validated F1 of the first 1, 2, … of the ranked features; empty when the rows are too few for folds."""
    parts = list(folds(labels_n, groups_n, seed))
    curve = []
    for k in range(1, len(ranked) + 1 if parts else 1):
        columns_nk = scores_nf[:, ranked[:k]]
        said_n = np.zeros(len(labels_n), dtype=bool)
        for fit, test in parts:
            said_n[test] = Logistic.fit(columns_nk[fit], labels_n[fit]).decisions(columns_nk[test]) > 0
        curve.append(f1_score(said_n, labels_n))
    return curve
