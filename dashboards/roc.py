"""How well one feature tells studies apart: ROC, operating points, slices. Plain numpy; no page.

Thresholds are chosen on one half of the patients and reported on the other, so that no figure flatters itself.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

#: Fewer positive or negative studies than this say nothing.
LEAST = 5
_Z = 1.959964


@lru_cache(maxsize=1 << 16)
def half_of(patient_id: str) -> int:
    """0 (a threshold is chosen on it) or 1 (figures are reported on it); depends on the patient alone."""
    return hashlib.sha256(f"operating point\0{patient_id}".encode()).digest()[0] % 2


def auc_with_interval(score_n: np.ndarray, truth_n: np.ndarray) -> tuple[float, float, float]:
    """Area under the ROC curve, 95 % interval after DeLong, DeLong and Clarke-Pearson (1988); NaN if n is small.

    Args:
        score_n: larger is more positive.
        truth_n: bool.
    """
    positive, negative = score_n[truth_n], score_n[~truth_n]
    if len(positive) < LEAST or len(negative) < LEAST:
        return math.nan, math.nan, math.nan
    below_p = _placements(positive, negative)
    above_n = 1 - _placements(negative, positive)
    area = float(below_p.mean())
    spread = math.sqrt(below_p.var(ddof=1) / len(positive) + above_n.var(ddof=1) / len(negative))
    return area, max(0.0, area - _Z * spread), min(1.0, area + _Z * spread)


def _placements(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Share of ``others`` below each value, ties counted by half."""
    ordered = np.sort(others)
    low, high = np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right")
    return (low + high) / (2 * len(others))


def roc_curve(score_n: np.ndarray, truth_n: np.ndarray) -> pd.DataFrame:
    """``threshold``, ``fpr``, ``tpr`` for "score ≥ threshold", from none to all positive."""
    order = np.argsort(-score_n, kind="stable")
    score, truth = score_n[order], truth_n[order]
    last = np.append(np.flatnonzero(np.diff(score)), len(score) - 1)
    tpr = np.cumsum(truth)[last] / max(truth.sum(), 1)
    fpr = np.cumsum(~truth)[last] / max((~truth).sum(), 1)
    return pd.DataFrame(
        {"threshold": np.append(np.inf, score[last]), "fpr": np.append(0.0, fpr), "tpr": np.append(0.0, tpr)}
    )


def threshold_at(curve: pd.DataFrame, sensitivity: float | None) -> float:
    """Largest threshold that reaches a sensitivity; with None the one of largest tpr − fpr (Youden 1950)."""
    if sensitivity is None:
        return float(curve["threshold"].iloc[int((curve["tpr"] - curve["fpr"]).to_numpy().argmax())])
    return float(curve["threshold"].iloc[int((curve["tpr"] >= sensitivity).to_numpy().argmax())])


def wilson(hits: int, n: int) -> tuple[float, float, float]:
    """A share with its 95 % interval after Wilson (1927); NaN for n = 0."""
    if not n:
        return math.nan, math.nan, math.nan
    share, z2 = hits / n, _Z**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return share, max(0.0, centre - half), min(1.0, centre + half)


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold and what it does on the half that did not choose it.

    ``sensitivity`` and ``specificity`` are (share, low, high), from ``n_positive`` and ``n_negative`` studies.
    """

    name: str
    threshold: float
    sensitivity: tuple[float, float, float]
    specificity: tuple[float, float, float]
    n_positive: int
    n_negative: int

    @staticmethod
    def of(name: str, threshold: float, score_n: np.ndarray, truth_n: np.ndarray) -> OperatingPoint:
        called = score_n >= threshold
        positive, negative = int(truth_n.sum()), int((~truth_n).sum())
        sensitivity = wilson(int((called & truth_n).sum()), positive)
        specificity = wilson(int((~called & ~truth_n).sum()), negative)
        return OperatingPoint(name, threshold, sensitivity, specificity, positive, negative)


#: Operating points: name and wanted sensitivity (None: Youden).
POINTS: tuple[tuple[str, float | None], ...] = (("Youden", None), ("sensitivity 90 %", 0.9))


@dataclass(frozen=True)
class Detection:
    """One feature as a detector of one finding.

    Attributes:
        auc: area with interval on the reporting half.
        curve: ROC on the reporting half.
        points: operating points.
        slices: columns ``slice``, ``value``, ``n_positive``, ``n_negative``, ``auc``, ``low``, ``high``,
            ``sensitivity``, ``specificity`` (both at the Youden threshold), on the reporting half.
    """

    auc: tuple[float, float, float]
    curve: pd.DataFrame
    points: list[OperatingPoint]
    slices: pd.DataFrame


def detect(rows: pd.DataFrame, slices: Sequence[str]) -> Detection | None:
    """Measure a feature on studies; None where either half has too few positive or negative ones.

    Args:
        rows: one row a study: ``score``, ``truth`` (bool), ``half`` (:func:`half_of` its patient), and the columns of
            ``slices``.
    """
    half = rows["half"].to_numpy()
    score_n, truth_n = rows["score"].to_numpy(float), rows["truth"].to_numpy(bool)
    choose, report = half == 0, half == 1
    enough = [min(truth_n[part].sum(), (~truth_n[part]).sum()) >= LEAST for part in (choose, report)]
    if not all(enough):
        return None
    chosen = roc_curve(score_n[choose], truth_n[choose])
    thresholds = {name: threshold_at(chosen, wanted) for name, wanted in POINTS}
    own_score, own_truth, own = score_n[report], truth_n[report], rows[report]
    points = [OperatingPoint.of(name, at, own_score, own_truth) for name, at in thresholds.items()]
    found = []
    for column in slices:
        for value in sorted(own[column].dropna().unique(), key=str):
            inside = (own[column] == value).to_numpy()
            point = OperatingPoint.of("", thresholds["Youden"], own_score[inside], own_truth[inside])
            area, low, high = auc_with_interval(own_score[inside], own_truth[inside])
            found.append(
                {"slice": column, "value": str(value), "n_positive": point.n_positive, "n_negative": point.n_negative,
                 "auc": area, "low": low, "high": high, "sensitivity": point.sensitivity[0],
                 "specificity": point.specificity[0]}
            )  # fmt: skip
    return Detection(
        auc_with_interval(own_score, own_truth), roc_curve(own_score, own_truth), points, pd.DataFrame(found)
    )
