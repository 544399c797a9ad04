"""Ready-made experiments, from records of the feature table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from sae.model import MatryoshkaSAE
from steering.errors import SteeringError
from steering.experiments.controls import Controls, FeaturePool
from steering.experiments.design import Experiment, Goal
from steering.interventions.kinds import Add
from steering.interventions.targets import build_spec


def map_experiment(
    records: Sequence[Any],
    sae: MatryoshkaSAE,
    key: str,
    *,
    name: str,
    goal: Goal = "present",
    strengths: tuple[float, ...] = (2.0, 4.0),
    controls: Controls | None = None,
    site: str | None = None,
) -> Experiment:
    """Push the features together, each in the shape of its own mean activation map on the frontal image.

    A finding is often split over several features, so a group of them says more than any one. ``goal`` ``absent`` takes
    the maps away instead of adding them.

    Args:
        records: of the feature table, with ``feature``, ``mean_map``, ``map_rows`` and ``map_cols``.
        strengths: multiples of the mean maps.

    Raises:
        SteeringError: no records, or one without a map (it fires on no image token).
    """
    if not records:
        raise SteeringError("records: no feature to steer")
    sign = 1.0 if goal == "present" else -1.0
    spec = build_spec([(tuple(records), Add(sign, shape="map"))], sae, site=site)
    features = ", ".join(str(feature) for feature in spec.interventions[0].features)
    condition = f"feature{'s' if len(records) > 1 else ''} {features} in own maps"
    return Experiment(name, key, {condition: spec}, goal, strengths, controls or Controls())


def firing_rates(table: pd.DataFrame, sae: MatryoshkaSAE) -> np.ndarray:
    """Firing rate of every feature in the order of the SAE, (F,); 0 for features that the table leaves out.

    Raises:
        SteeringError: the table has no firing rates, or features that the SAE has not.
    """
    missing = [column for column in ("feature", "firing_rate") if column not in table.columns]
    if missing:
        raise SteeringError(f"feature table: the column {missing[0]!r} is missing")
    numbers = table["feature"].to_numpy()
    if len(numbers) and not 0 <= numbers.min() <= numbers.max() < sae.n_features:
        raise SteeringError(f"feature table: features up to {numbers.max()}, the autoencoder has {sae.n_features}")
    rates_f = np.zeros(sae.n_features)
    rates_f[numbers] = table["firing_rate"].to_numpy()
    return rates_f


def feature_pool(table: pd.DataFrame) -> FeaturePool:
    """The features of a table that random groups are drawn from: those that fire.

    Args:
        table: with ``feature``, ``max_activation``, ``mean_map``, ``map_rows`` and ``map_cols``.
    """
    tops: dict[int, float] = {}
    maps: dict[int, np.ndarray] = {}
    for row in table.to_dict("records"):
        feature, top, grid = int(row["feature"]), float(row["max_activation"]), row["mean_map"]
        if top > 0:
            tops[feature] = top
            if grid is not None and np.ndim(grid) and row["map_rows"] and np.any(grid):
                maps[feature] = np.asarray(grid, dtype=np.float64).reshape(int(row["map_rows"]), int(row["map_cols"]))
    return FeaturePool(tops, maps)
