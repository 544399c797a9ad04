"""What a choice of features is worth: the best of each way, steered together, beside random groups."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from activations.models.base import ReportModel
from radiology.study import Study
from sae.model import MatryoshkaSAE
from steering.experiments.controls import FeaturePool
from steering.experiments.screening import ScreenConfig, best_features
from steering.experiments.screening_reports import CleanReports
from steering.schema import SCREEN_GROUP_COLUMNS
from steering.tables import read_table, table_of, write_table


def screen_groups(
    model: ReportModel,
    sae: MatryoshkaSAE,
    config: ScreenConfig,
    studies: Sequence[Study],
    pool: FeaturePool,
    table: pd.DataFrame,
    path: Path,
    *,
    size: int = 10,
    random: int = 3,
    batch: int = 16,
    seed: int = 0,
) -> pd.DataFrame:
    """Steer the ``size`` best features of every way together, and ``random`` groups of as many; resumable.

    Random groups are drawn from what no way has chosen, if that is enough.

    Args:
        table: of :func:`steering.experiments.screening.screen` with the same settings, studies and seed.
        path: ``screen-FINDING-groups.parquet``.

    Returns:
        A table with :data:`steering.schema.SCREEN_GROUP_COLUMNS`.
    """
    groups = best_features(table, size)
    rng = np.random.default_rng([seed, 7])
    best = {feature for features in groups.values() for feature in features}
    rest = sorted(set(table["feature"].tolist()) - best)
    every = rest if len(rest) >= size else sorted(table["feature"].tolist())
    for draw in range(random):
        drawn = rng.choice(every, size=min(size, len(every)), replace=False)
        groups[f"random {draw}"] = sorted(int(feature) for feature in drawn)
    done = read_table(path, SCREEN_GROUP_COLUMNS) if path.is_file() else table_of([], SCREEN_GROUP_COLUMNS)
    rows: list[dict[Any, Any]] = done.to_dict("records")
    known = {(row["way"], row["features"]) for row in rows}
    reports: CleanReports | None = None
    for way, features in groups.items():
        named = ", ".join(map(str, features))
        if (way, named) not in known:
            reports = reports or CleanReports(model, sae, config.finding, config.goal, studies, batch, seed)
            found = reports.of(features, config.site, config.shape, config.strengths, pool)
            rows.append({"way": way, "features": named} | found)
            write_table(table_of(rows, SCREEN_GROUP_COLUMNS), path)
    return table_of(rows, SCREEN_GROUP_COLUMNS)
