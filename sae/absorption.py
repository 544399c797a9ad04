"""Splitting and absorption: whether one feature stands for a label, or a sub-form's feature swallows part of it.

After Chanin et al. (arXiv 2409.14507), adapted from tokens and words to rows (studies) and sub-forms of a label (side,
severity, zone). A label is **split** over the features that it takes until F1 stops rising. It is **absorbed** in a
row where all of these are silent although a probe on the activations finds the label there, and instead a feature of
the row's sub-form fires that writes along the probe's direction. Features, thresholds and probe come from the select
rows, rates from the report rows. ``docs/evaluation.md`` states the formulas.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sae.detection import linear_probe_auroc, sides
from sae.errors import SAEError
from sae.probing import by_mean_difference, f1_by_k
from sae.ranking import Bools, Floats, as_labels, as_scores, auroc_per_label, group_weights, percentile_interval

MIN_GAIN = 0.03
"""A further feature belongs to a label when it raises F1 by more than this (tau_fs of the paper)."""

MAX_SPLIT = 10
"""Features tried for one label."""

MIN_OF_FORM = 4
"""Select rows of the label with and without a sub-form that its feature is chosen on; with fewer it is left out."""


@dataclass(frozen=True)
class FormFeature:
    """The feature of a sub-form.

    Attributes:
        form: name of the sub-form.
        feature: of largest area for it on the select rows, the label's own features left out. It is the smaller area of
            two: against all rows without the sub-form, and against those of them that have the label.
        auroc_select: that area.
        threshold: it fires where its score is above.
        cosine: between its decoder row and the probe's direction.
        aligned: whether the cosine is large enough for an absorption.
        n: report rows with this sub-form that the probe finds.
        absorbed: of these, rows in which it fires while the label's own features are silent.
    """

    form: str
    feature: int
    auroc_select: float
    threshold: float
    cosine: float
    aligned: bool
    n: int = 0
    absorbed: int = 0


@dataclass(frozen=True)
class Absorption:
    """What became of one label.

    Attributes:
        main: the label's own features: the first `len(main)` by difference of means.
        f1_by_k: cross-validated F1 on the select rows with 1, 2, … features.
        cosines: of the decoder rows of `main` with the probe's direction.
        n: report rows with the label that the probe finds.
        silent: of these, rows in which none of `main` fires.
        absorbed: of these, rows in which a feature of one of their sub-forms fires instead.
        rate, interval: absorbed / n, with a 95 % bootstrap interval over groups; NaN when n is 0.
        shuffled: the rate when sub-forms are dealt out anew among the rows with the label, mean over the draws.
        shuffled_max: the largest of these.
        forms: a row for each sub-form that could be measured.
    """

    main: tuple[int, ...]
    f1_by_k: tuple[float, ...]
    cosines: tuple[float, ...]
    n: int
    silent: int
    absorbed: int
    rate: float
    interval: tuple[float, float]
    shuffled: float
    shuffled_max: float
    forms: tuple[FormFeature, ...] = field(default=())

    @property
    def split(self) -> int:
        """Features it takes until F1 rises by no more than MIN_GAIN."""
        return len(self.main)


def absorption(
    scores_nf: ArrayLike,
    x_nd: ArrayLike,
    directions_fd: ArrayLike,
    labels_n: ArrayLike,
    forms_n: Mapping[str, ArrayLike],
    select_mask: ArrayLike,
    report_mask: ArrayLike,
    groups_n: ArrayLike,
    *,
    shuffles: int = 5,
    seed: int = 0,
) -> Absorption:
    """Measure splitting and absorption of one label.

    Args:
        scores_nf: (n, F) score of each feature in each row.
        x_nd: (n, d) activations of the row for the probe, in the space that the decoder writes to (their mean).
        directions_fd: (F, d) decoder rows.
        labels_n: (n,) 0 or 1.
        forms_n: sub-form → (n,) whether a row with the label has it; ignored where the label is 0.
        select_mask, report_mask, groups_n: as in :func:`sae.detection.best_single_feature`.
        shuffles: draws of the shuffled control; 0 leaves it out.

    Raises:
        SAEError: as there; no feature is higher where the label is present; or shapes disagree.
    """
    labels = as_labels(labels_n)
    scores, x = as_scores(scores_nf, len(labels)), as_scores(x_nd, len(labels))
    directions = np.asarray(directions_fd)
    if directions.shape != (scores.shape[1], x.shape[1]):
        raise SAEError(f"directions of shape {directions.shape}: must be {(scores.shape[1], x.shape[1])}")
    select, report, groups = sides(labels, select_mask, report_mask, groups_n)
    assert groups is not None
    ranked = by_mean_difference(scores[select], labels[select], higher=True)[:MAX_SPLIT]
    if not len(ranked):
        raise SAEError("no feature is higher where the label is present")
    curve = f1_by_k(scores[select], labels[select], groups[select], ranked, seed)
    main = ranked[: split_of(curve)]
    probe = linear_probe_auroc(x, labels, select, report, groups, seed=seed)
    fires_nm = scores[:, main] > thresholds(scores[select][:, main], labels[select])
    silent_n: Bools = np.asarray(~fires_nm.any(axis=1))
    found = np.flatnonzero(report)[(probe.scores_n > 0) & labels[report]]
    case = _Case(scores, labels, select, found, silent_n, main, _cosines(directions, probe.weights_d), x.shape[1])
    forms = np.stack([as_labels(form_n) & labels for form_n in forms_n.values()], axis=1) if forms_n else None
    features, rates, here_n = _against_chance(case, tuple(forms_n), forms, report, shuffles, seed)
    return Absorption(
        main=tuple(main.tolist()),
        f1_by_k=tuple(curve),
        cosines=tuple(case.cosine_f[main].tolist()),
        n=len(found),
        silent=int(silent_n[found].sum()),
        absorbed=int(here_n[found].sum()),
        rate=case.rate(here_n),
        interval=_interval(here_n[found], groups[found], seed),
        shuffled=float(np.mean(rates)) if rates else float("nan"),
        shuffled_max=float(np.max(rates)) if rates else float("nan"),
        forms=features,
    )


def split_of(f1_by_k: Sequence[float]) -> int:
    """Features up to which each further one raises F1 by more than MIN_GAIN; at least 1."""
    k = 1
    while k < len(f1_by_k) and f1_by_k[k] - f1_by_k[k - 1] > MIN_GAIN:
        k += 1
    return k


def thresholds(scores_nm: Floats, labels_n: Bools) -> Floats:
    """(m,) score of each column above which sensitivity + specificity is largest; the lowest of equals."""
    bars = np.empty(scores_nm.shape[1], dtype=scores_nm.dtype)
    for column, score_n in enumerate(scores_nm.T):
        values, level_n = np.unique(score_n, return_inverse=True)
        counts = (np.bincount(level_n[side], minlength=len(values)) for side in (labels_n, ~labels_n))
        sensitivity, false_alarms = (1 - np.cumsum(count) / count.sum() for count in counts)
        bars[column] = values[int((sensitivity - false_alarms).argmax())]
    return bars


@dataclass(frozen=True)
class _Case:
    """What is the same for the true sub-forms and for the shuffled ones; shapes as in :func:`absorption`."""

    scores_nf: Floats
    labels_n: Bools
    select_n: Bools
    found: NDArray[np.intp]
    silent_n: Bools
    main: NDArray[np.intp]
    cosine_f: Floats
    width: int

    def rate(self, here_n: Bools) -> float:
        return float(here_n[self.found].mean()) if len(self.found) else float("nan")

    def absorbed(self, names: Sequence[str], forms_nr: Bools, area_rf: Floats) -> tuple[tuple[FormFeature, ...], Bools]:
        """The feature of each sub-form, and the (n,) rows in which one of them fires instead of `main`."""
        least_cosine = 2 / math.sqrt(self.width)
        here_n = np.zeros(len(self.scores_nf), dtype=bool)
        features = []
        for name, form_n, area_f in zip(names, forms_nr.T, area_rf, strict=True):
            chosen_on = form_n[self.select_n]
            if min(chosen_on.sum(), (~chosen_on & self.labels_n[self.select_n]).sum()) < MIN_OF_FORM:
                continue
            feature = int(area_f.argmax())
            bar = float(thresholds(self.scores_nf[self.select_n][:, [feature]], chosen_on)[0])
            cosine = float(self.cosine_f[feature])
            aligned = cosine > least_cosine
            instead_n = form_n & self.silent_n & (self.scores_nf[:, feature] > bar) & aligned
            here_n |= instead_n
            n, absorbed = int(form_n[self.found].sum()), int(instead_n[self.found].sum())
            features.append(FormFeature(name, feature, float(area_f[feature]), bar, cosine, aligned, n, absorbed))
        return tuple(features), here_n


def _against_chance(
    case: _Case, names: Sequence[str], forms_nr: Bools | None, report: Bools, shuffles: int, seed: int
) -> tuple[tuple[FormFeature, ...], list[float], Bools]:
    """Features of the sub-forms, the rates of shuffled sub-forms, and the (n,) rows absorbed by the true ones."""
    if forms_nr is None:
        return (), [], np.zeros(len(report), dtype=bool)
    generator = np.random.default_rng(seed)
    parts = (case.select_n, report)
    drawn = [forms_nr, *(_dealt_anew(forms_nr, case.labels_n, parts, generator) for _ in range(shuffles))]
    forms = np.concatenate(drawn, axis=1)
    areas = np.minimum(*(auroc_per_label(case.scores_nf[rows], forms[rows]) for rows in _compared(case)))
    areas[:, case.main] = -1
    areas = np.nan_to_num(areas, nan=-1).reshape(len(drawn), len(names), -1)
    results = [case.absorbed(names, forms, area_rf) for forms, area_rf in zip(drawn, areas, strict=True)]
    return results[0][0], [case.rate(here_n) for _, here_n in results[1:]], results[0][1]


def _compared(case: _Case) -> tuple[Bools, Bools]:
    """A sub-form's feature must tell it from all else, and from the rest of the label."""
    return case.select_n, case.select_n & case.labels_n


def _dealt_anew(
    forms_nr: Bools, labels: Bools, parts: Sequence[Bools], generator: np.random.Generator
) -> NDArray[np.bool_]:
    """Whole rows of sub-forms dealt out among the rows with the label, each part of the rows by itself."""
    dealt_nr = forms_nr.copy()
    for part_n in parts:
        rows = np.flatnonzero(labels & part_n)
        dealt_nr[rows] = forms_nr[generator.permutation(rows)]
    return dealt_nr


def _cosines(directions_fd: Floats, weights_d: Floats) -> Floats:
    """(F,) cosine of each row with the weights; 0 where either is zero."""
    lengths_f = np.linalg.norm(directions_fd, axis=1) * np.linalg.norm(weights_d)
    return np.asarray(np.where(lengths_f > 0, directions_fd @ weights_d / np.where(lengths_f > 0, lengths_f, 1), 0.0))


def _interval(hits_n: Bools, groups_n: NDArray[np.generic], seed: int) -> tuple[float, float]:
    if not len(hits_n):
        return float("nan"), float("nan")
    weight_bn = group_weights(groups_n, seed=seed)
    return percentile_interval((weight_bn @ hits_n) / weight_bn.sum(axis=1))
