"""What each steering condition came to: its verdict with the figures that decided it, and which rows belong to it."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from dashboards.data import Experiment, RunData
from dashboards.steering_spec import features_of

UNSTEERED, PROMPT_ONLY, STEERED = "unsteered", "prompt_only", "none"
#: Largest adjusted p of an effect that counts, where an experiment has no table of verdicts.
_P = 0.05
_BEYOND = "At some strength the on-target rate lies above every random direction, p ≤ 0.05."
_NOT_BEYOND = "No strength lies above every random direction with p ≤ 0.05."


@dataclass(frozen=True)
class Outcome:
    """One condition at one strength.

    With a verdict, the strength was chosen on one half of the patients and all figures are of the other half.
    Experiments of older versions have no verdicts: then it is the strength of largest on-target minus off-target rate,
    on the studies that chose it (``held_out`` is False).

    Attributes:
        verdict, reason: in words.
        works: whether the goal was reached, be it with side effects.
        on_target, on_target_low, on_target_high, off_target, parse_failures: rates in [0, 1].
        random, random_high: mean and largest on-target rate of the random directions.
        p: adjusted.
        n: studies whose unsteered report leaves room for the goal.
    """

    experiment: str
    condition: str
    key: str
    goal: str
    verdict: str
    reason: str
    works: bool
    held_out: bool
    strength: float
    on_target: float
    on_target_low: float
    on_target_high: float
    off_target: float
    parse_failures: float
    random: float
    random_high: float
    p: float
    n: int

    @staticmethod
    def of(experiment: Experiment, condition: str) -> Outcome:
        """The outcome of a condition that the table of effects has."""
        assert experiment.effects is not None
        rows = steered_rows(experiment.effects, condition)
        verdicts = experiment.verdicts
        own = None if verdicts is None else verdicts[verdicts["condition"] == condition]
        held_out = own is not None and len(own) > 0
        if own is not None and held_out:
            row: pd.Series = own.iloc[0]
            verdict, reason = str(row["verdict"]).replace("_", " "), str(row["reason"] or "")
            works = verdict.startswith("steers")
        else:
            row = rows.loc[(rows["on_target"] - rows["off_target"]).fillna(-1).idxmax()]
            works = bool(((rows["p_adjusted"] <= _P) & (rows["on_target"] > rows["random_on_target_high"])).any())
            verdict, reason = ("beyond its controls", _BEYOND) if works else ("not beyond its controls", _NOT_BEYOND)
        return Outcome(
            experiment=experiment.name,
            condition=condition,
            key=str(row["key"]),
            goal=str(row["goal"]),
            verdict=verdict,
            reason=reason,
            works=works,
            held_out=held_out,
            strength=float(row["strength"]),
            on_target=float(row["on_target"]),
            on_target_low=float(row["on_target_low"]),
            on_target_high=float(row["on_target_high"]),
            off_target=float(row["off_target"]),
            parse_failures=float(row["parse_failures"]),
            random=float(row["random_on_target"]),
            random_high=float(row["random_on_target_high"]),
            p=float(row["p_adjusted"]),
            n=int(row["n"]),
        )


def outcomes(run: RunData) -> list[Outcome]:
    """Of all conditions of all experiments."""
    return [Outcome.of(experiment, name) for experiment in run.experiments for name in conditions_of(experiment)]


def conditions_of(experiment: Experiment) -> list[str]:
    """Names of the conditions that were steered, in the order of the table."""
    effects = experiment.effects
    return (
        []
        if effects is None
        else [str(name) for name in effects.loc[effects["control"] == STEERED, "condition"].unique()]
    )


def steered_rows(rows: pd.DataFrame, condition: str) -> pd.DataFrame:
    """Rows of a condition itself, without its controls."""
    return rows[(rows["condition"] == condition) & (rows["control"] == STEERED)]


def arms_of(rows: pd.DataFrame, condition: str) -> pd.DataFrame:
    """Rows of a condition and its controls; the prompt-only control serves all conditions with the same prior study.

    Args:
        rows: of ``effects`` or ``generations``.
    """
    shared = (rows["control"] == PROMPT_ONLY) & (rows["prior"] == _prior_of(rows, condition))
    return rows[(rows["condition"] == condition) | shared]


def unsteered_of(generations: pd.DataFrame, condition: str) -> pd.DataFrame:
    """Reports without steering, of studies with or without their prior as the condition has them; by study."""
    prior = _prior_of(generations, condition)
    before = generations[(generations["control"] == UNSTEERED) & (generations["prior"] == prior)]
    return before.drop_duplicates("study_id").set_index("study_id")


#: What is said of a steered feature, from the strongest on.
STEERS = ("yes", "in a group", "no")


def steered_features(run: RunData) -> pd.DataFrame:
    """One row a steered feature: ``feature`` and ``steers``, of :data:`STEERS`.

    "yes": some condition with it alone reached its goal; "in a group": only conditions with several features did.
    """
    found: dict[int, int] = {}
    for experiment in run.experiments:
        for name in conditions_of(experiment):
            features = features_of(experiment.spec, name)
            place = (0 if len(features) == 1 else 1) if Outcome.of(experiment, name).works else 2
            found |= {feature: min(place, found.get(feature, place)) for feature in features}
    words = pd.Series([STEERS[place] for place in found.values()], dtype="str")
    return pd.DataFrame({"feature": pd.Series(list(found), dtype="int64"), "steers": words})


def _prior_of(rows: pd.DataFrame, condition: str) -> str:
    """``kept`` or ``removed``."""
    found = steered_rows(rows, condition)["prior"]
    return str(found.iloc[0]) if len(found) else "kept"
