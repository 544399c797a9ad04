"""Is a score more than chance, and still so when many features are screened?"""

from __future__ import annotations

import numpy as np
from scipy.stats import mannwhitneyu


def greater(prediction_n: np.ndarray, fires_n: np.ndarray, patient_n: np.ndarray) -> float:
    """One-sided p that firing contexts are predicted higher than quiet ones (Mann and Whitney, ties corrected).

    A patient counts once on each side, with the mean of the predictions there, so that many contexts of one patient do
    not pass for many patients.
    """
    sides = []
    for side in (fires_n, ~fires_n):
        _, place = np.unique(patient_n[side], return_inverse=True)
        sides.append(np.bincount(place, weights=prediction_n[side]) / np.bincount(place))
    if np.ptp(np.concatenate(sides)) == 0:
        return 1.0
    return float(mannwhitneyu(*sides, alternative="greater").pvalue)


def benjamini_hochberg(p_n: np.ndarray) -> np.ndarray:
    """Adjusted p-values (q): calling all with q ≤ x found has an expected share of at most x of false ones.

    Benjamini and Hochberg, J. R. Statist. Soc. B 57:289, 1995. NaN stays NaN and does not count.
    """
    q_n = np.full(len(p_n), np.nan)
    known = np.flatnonzero(~np.isnan(p_n))
    if len(known) == 0:
        return q_n
    order = known[np.argsort(p_n[known])]
    scaled = p_n[order] * len(order) / np.arange(1, len(order) + 1)
    q_n[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return q_n
