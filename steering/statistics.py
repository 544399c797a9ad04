"""Statistics of paired experiments: intervals over studies, a permutation test against controls, many tests at once.

All randomness comes from a seed given by the caller. The unit is always the study (or the pair), never the token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

_CHUNK = 1 << 22  # random numbers held at once


def bootstrap_mean(
    values_n: np.ndarray, *, seed: int = 0, resamples: int = 2000, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of the mean over studies; (NaN, NaN) without studies."""
    values_n = np.asarray(values_n, dtype=np.float64)
    return bootstrap_ratio(values_n, np.ones_like(values_n), seed=seed, resamples=resamples, level=level)


def bootstrap_ratio(
    tops_n: np.ndarray, bottoms_n: np.ndarray, *, seed: int = 0, resamples: int = 2000, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of Σ tops / Σ bottoms when units are drawn again with replacement.

    Resamples whose denominator is zero are left out; (NaN, NaN) if none remains.
    """
    tops_n, bottoms_n = np.asarray(tops_n, dtype=np.float64), np.asarray(bottoms_n, dtype=np.float64)
    n = len(tops_n)
    if n == 0:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    ratios: list[np.ndarray] = []
    for count in _chunks(resamples, n):
        drawn = rng.integers(n, size=(count, n))
        top, bottom = tops_n[drawn].sum(axis=1), bottoms_n[drawn].sum(axis=1)
        ratios.append(top[bottom != 0] / bottom[bottom != 0])
    all_ratios = np.concatenate(ratios)
    if not len(all_ratios):
        return float("nan"), float("nan")
    low, high = np.quantile(all_ratios, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def sums_by(values_n: np.ndarray, groups_n: Sequence[Any]) -> np.ndarray:
    """Sums over groups (patients) in the order of their first appearance; (n, …) → (groups, …).

    A mean over studies is a ratio of two such sums, so that drawing groups again respects that the studies of one
    patient are not independent.
    """
    values_n = np.asarray(values_n, dtype=np.float64)
    place = {group: number for number, group in enumerate(dict.fromkeys(groups_n))}
    sums = np.zeros((len(place), *values_n.shape[1:]))
    np.add.at(sums, np.array([place[group] for group in groups_n], dtype=int), values_n)
    return sums


def grouped_mean(
    values_n: np.ndarray, groups_n: Sequence[Any], *, seed: int = 0, resamples: int = 2000
) -> tuple[float, float, float]:
    """Mean over studies with its 95 % interval over groups of them; NaN values are left out."""
    values_n = np.asarray(values_n, dtype=np.float64)
    known = ~np.isnan(values_n)
    if not known.any():
        return float("nan"), float("nan"), float("nan")
    groups = [group for group, use in zip(groups_n, known, strict=True) if use]
    tops, bottoms = sums_by(values_n[known], groups), sums_by(np.ones(int(known.sum())), groups)
    return float(values_n[known].mean()), *bootstrap_ratio(tops, bottoms, seed=seed, resamples=resamples)


def spearman_trend(
    doses_k: np.ndarray, outcomes_nk: np.ndarray, groups_n: Sequence[Any], *, seed: int = 0, resamples: int = 1000
) -> tuple[float, float, float]:
    """Spearman correlation of dose and mean outcome, with its 95 % interval over groups of studies.

    1: the rate rises with every dose (equal rates share a rank). 0 where all rates are equal; NaN with fewer than three
    doses or no study.
    """
    from scipy.stats import rankdata

    outcomes_nk = np.asarray(outcomes_nk, dtype=np.float64)
    if len(doses_k) < 3 or not len(outcomes_nk):
        return float("nan"), float("nan"), float("nan")
    tops_gk, sizes_g = sums_by(outcomes_nk, groups_n), sums_by(np.ones(len(outcomes_nk)), groups_n)
    drawn = np.random.default_rng(seed).integers(len(tops_gk), size=(resamples, len(tops_gk)))
    rates_rk = tops_gk[drawn].sum(axis=1) / sizes_g[drawn].sum(axis=1)[:, None]
    rates_rk = np.concatenate([outcomes_nk.mean(axis=0)[None], rates_rk]).round(12)
    dose_ranks = rankdata(doses_k) - (len(doses_k) + 1) / 2
    ranks_rk = rankdata(rates_rk, axis=1) - (len(doses_k) + 1) / 2
    scale_r = np.sqrt((ranks_rk**2).sum(axis=1) * (dose_ranks**2).sum())
    rho_r = np.divide(ranks_rk @ dose_ranks, scale_r, out=np.zeros(len(ranks_rk)), where=scale_r > 0)
    low, high = np.quantile(rho_r[1:], [0.025, 0.975])
    return float(rho_r[0]), float(low), float(high)


def permutation_p(main_n: np.ndarray, controls_nk: np.ndarray, *, seed: int = 0, permutations: int = 10_000) -> float:
    """One-sided p that the main condition's mean is above its controls', paired by study.

    Under the null hypothesis the k + 1 outcomes of a study are exchangeable, so which of them is called "main" is drawn
    anew in every study; p = (1 + count of means at least as large) / (1 + permutations). With one control this is the
    sign-flip test. What it does not hold: that the k control directions are a sample of all directions. NaN without
    studies or controls.
    """
    main_n, controls_nk = np.asarray(main_n, dtype=np.float64), np.asarray(controls_nk, dtype=np.float64)
    n = len(main_n)
    if n == 0 or controls_nk.size == 0:
        return float("nan")
    outcomes_nk = np.concatenate([main_n[:, None], controls_nk], axis=1)
    observed = main_n.sum() - 1e-9 * max(1.0, np.abs(main_n).sum())  # equal sums in another order count as equal
    rng = np.random.default_rng(seed)
    at_least = 0
    for count in _chunks(permutations, n):
        drawn = rng.integers(outcomes_nk.shape[1], size=(count, n))
        at_least += int((outcomes_nk[np.arange(n), drawn].sum(axis=1) >= observed).sum())
    return (1 + at_least) / (1 + permutations)


def benjamini_hochberg(p_m: np.ndarray) -> np.ndarray:
    """Adjusted p of Benjamini and Hochberg (1995), step-up; NaN stays NaN and is not counted as a test."""
    p_m = np.asarray(p_m, dtype=np.float64)
    adjusted = np.full(p_m.shape, np.nan)
    tests = np.flatnonzero(~np.isnan(p_m))
    order = tests[np.argsort(p_m[tests], kind="stable")]
    steps = p_m[order] * len(order) / np.arange(1, len(order) + 1)
    adjusted[order] = np.minimum(np.minimum.accumulate(steps[::-1])[::-1], 1.0)
    return adjusted


def _chunks(total: int, width: int) -> list[int]:
    size = max(1, _CHUNK // max(width, 1))
    return [min(size, total - start) for start in range(0, total, size)]
