"""What steering came to, feature by feature and condition by condition."""

from __future__ import annotations

from typing import Any

import pandas as pd

from dashboards.data import RunData
from dashboards.steering_spec import features_of
from dashboards.tables import UnreadableError, read_table

VERDICTS_FILE = "verdicts.parquet"
SIDE_EFFECTS_FILE = "side_effects.parquet"
#: Largest adjusted p of an effect that counts, where an experiment has no table of verdicts.
_P = 0.05


def read_verdicts(data: RunData) -> dict[str, pd.DataFrame]:
    """Experiment → its table of verdicts, where there is one that can be read."""
    return _tables(data, VERDICTS_FILE, ("condition", "verdict"))


def read_side_effects(data: RunData) -> dict[str, pd.DataFrame]:
    """Experiment → its table of side effects, where there is one that can be read."""
    return _tables(data, SIDE_EFFECTS_FILE, ("condition", "control", "strength", "finding", "rate"))


def _tables(data: RunData, name: str, needed: tuple[str, ...]) -> dict[str, pd.DataFrame]:
    found = {}
    for experiment in data.experiments:
        path = data.sae_dir / "steering" / experiment.name / name
        try:
            table = read_table(path, needed)
            if table is not None:
                found[experiment.name] = pd.read_parquet(path)
        except UnreadableError:
            continue
    return found


def steered_features(data: RunData, verdicts: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """One row a steered feature: ``feature`` and ``steers``, yes if some condition with it reached its goal."""
    steers: dict[int, bool] = {}
    for experiment in data.experiments:
        if experiment.effects is None:
            continue
        steered = experiment.effects[experiment.effects["control"] == "none"]
        for condition, rows in steered.groupby("condition", sort=False):
            works = reached(str(condition), rows, verdicts.get(experiment.name))
            for feature in features_of(experiment.spec, str(condition)):
                steers[feature] = steers.get(feature, False) or works
    words = ["yes" if works else "no" for works in steers.values()]
    return pd.DataFrame({"feature": pd.Series(list(steers), dtype="int64"), "steers": pd.Series(words, dtype="str")})


def reached(condition: str, rows: pd.DataFrame, verdicts: pd.DataFrame | None) -> bool:
    """Whether a condition reached its goal: its verdict, else an effect beyond every random direction (p ≤ 0.05)."""
    if verdicts is not None:
        said = verdicts.loc[verdicts["condition"] == condition, "verdict"]
        return any(str(verdict).startswith(("steers", "works", "effective")) for verdict in said)
    beyond = (rows["p_adjusted"] <= _P) & (rows["on_target"] > rows["random_on_target_high"])
    return bool(beyond.any())


def verdict_of(condition: str, rows: pd.DataFrame, verdicts: pd.DataFrame | None) -> tuple[str, str]:
    """Verdict of a condition and its reason, in words."""
    if verdicts is not None:
        own = verdicts[verdicts["condition"] == condition]
        if len(own):
            row: dict[str, Any] = own.iloc[0].to_dict()
            return str(row["verdict"]).replace("_", " "), str(row.get("reason") or "")
    if reached(condition, rows, None):
        return "beyond its controls", "At some strength the on-target rate lies above every random direction, p ≤ 0.05."
    return "not beyond its controls", "No strength lies above every random direction with p ≤ 0.05."
