"""Balanced accuracy and area under the ROC curve of graded predictions, with bootstrap intervals over patients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: A prediction at or above this says "fires".
CUT = 0.5
REPEATS = 200
_BOUNDS = (0.025, 0.975)


@dataclass(frozen=True)
class Measured:
    """A value with its 95 % interval; all NaN where it is not defined."""

    value: float
    low: float
    high: float


def balanced_accuracy(prediction_n: np.ndarray, fires_n: np.ndarray) -> float:
    """Mean of sensitivity and specificity at :data:`CUT`; NaN if only one class is there."""
    if fires_n.all() or not fires_n.any():
        return float("nan")
    said_n = prediction_n >= CUT
    return float((said_n[fires_n].mean() + (~said_n[~fires_n]).mean()) / 2)


def auc(prediction_n: np.ndarray, fires_n: np.ndarray) -> float:
    """Probability that a firing context is predicted higher than a quiet one, ties half; NaN with one class only."""
    if fires_n.all() or not fires_n.any():
        return float("nan")
    return float(_wins(prediction_n[fires_n], prediction_n[~fires_n]).mean())


def bootstrap(
    prediction_n: np.ndarray, fires_n: np.ndarray, patient_n: np.ndarray, rng: np.random.Generator
) -> tuple[Measured, Measured]:
    """Balanced accuracy and AUC with percentile intervals from resampling patients with replacement.

    Args:
        prediction_n: (n,) from 0 to 1.
        fires_n: (n,) bool.
        patient_n: (n,) anything that names patients.

    Resamples that hold one class only are left out; with fewer than half of the repeats left the interval is NaN.
    """
    patients, place_n = np.unique(patient_n, return_inverse=True)
    draws = rng.multinomial(len(patients), np.full(len(patients), 1 / len(patients)), size=REPEATS)
    weight_rn = draws[:, place_n].astype(np.float64)
    weight_rp, weight_rq = weight_rn[:, fires_n], weight_rn[:, ~fires_n]
    total_r = weight_rp.sum(axis=1), weight_rq.sum(axis=1)
    both = (total_r[0] > 0) & (total_r[1] > 0)
    said_n = prediction_n >= CUT
    with np.errstate(invalid="ignore", divide="ignore"):
        hits_r = weight_rp @ said_n[fires_n] / total_r[0]
        passes_r = weight_rq @ ~said_n[~fires_n] / total_r[1]
        wins = _wins(prediction_n[fires_n], prediction_n[~fires_n])
        auc_r = np.einsum("rp,pq,rq->r", weight_rp, wins, weight_rq, optimize=True) / (total_r[0] * total_r[1])
    return (
        _measured(balanced_accuracy(prediction_n, fires_n), ((hits_r + passes_r) / 2)[both]),
        _measured(auc(prediction_n, fires_n), auc_r[both]),
    )


def _wins(high_p: np.ndarray, low_q: np.ndarray) -> np.ndarray:
    difference = high_p[:, None] - low_q[None]
    return (difference > 0) + 0.5 * (difference == 0)


def _measured(value: float, resampled: np.ndarray) -> Measured:
    if len(resampled) < REPEATS / 2 or np.isnan(value):
        return Measured(value, float("nan"), float("nan"))
    low, high = np.quantile(resampled, _BOUNDS)
    return Measured(value, float(low), float(high))
