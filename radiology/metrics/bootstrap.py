"""Intervals by drawing studies with replacement."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

DRAWS = 500


@dataclass(frozen=True)
class Interval:
    """A value over all studies, and the 2.5 % and 97.5 % quantiles of its bootstrap; NaN where it is undefined."""

    value: float
    low: float
    high: float


def bootstrap(
    aggregate: Callable[[np.ndarray], Mapping[str, float]], n_studies: int, draws: int = DRAWS, seed: int = 0
) -> dict[str, Interval]:
    """Values with intervals.

    Args:
        aggregate: rows of studies (n,) → name → value over these studies; a row may come several times.
        n_studies: how many studies there are; with none every value is what ``aggregate`` says of no study.
        draws: bootstrap samples; draws in which a value is undefined do not count for it.
    """
    values = aggregate(np.arange(n_studies))
    if n_studies == 0 or draws < 1:
        return {name: Interval(float(value), float("nan"), float("nan")) for name, value in values.items()}
    rng = np.random.default_rng(seed)
    drawn = [aggregate(rng.integers(n_studies, size=n_studies)) for _ in range(draws)]
    return {
        name: Interval(float(value), *quantiles(np.array([row[name] for row in drawn], dtype=float)))
        for name, value in values.items()
    }


def quantiles(values: np.ndarray) -> tuple[float, float]:
    """2.5 % and 97.5 % of what is not NaN; NaN if all is."""
    known = values[~np.isnan(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)


def nan_mean(values: np.ndarray) -> float:
    """Mean of what is not NaN; NaN, without a warning, if all is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def f1_of(precision: float, recall: float) -> float:
    """Harmonic mean; 0 where both are 0, NaN where either is undefined."""
    if np.isnan(precision) or np.isnan(recall):
        return float("nan")
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def share(part: float, whole: float) -> float:
    """``part`` / ``whole``; NaN of nothing."""
    return part / whole if whole else float("nan")
