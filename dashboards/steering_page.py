"""Content about steering: the summary, and a record a condition with its figure and its reports side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from dashboards import plots
from dashboards.data import Experiment, RunData
from dashboards.privacy import Shown
from dashboards.steering_spec import features_of, how_of

#: Reports of this many studies are kept a condition.
EXAMPLES = 4
_UNSTEERED, _PROMPT_ONLY, _STEERED = "unsteered", "prompt_only", "none"
_ABSENT = "absent"


def steering_summary(run: RunData) -> list[dict[str, Any]]:
    """Per experiment and condition its strength of largest on-target minus off-target rate, and the controls there."""
    rows: list[dict[str, Any]] = []
    for experiment in run.experiments:
        if experiment.effects is None:
            continue
        effects = experiment.effects
        steered = effects[effects["control"] == _STEERED]
        for condition, group in steered.groupby("condition", sort=False):
            best = group.assign(net=group["on_target"] - group["off_target"]).sort_values("net").iloc[-1]
            rows.append(_summary_row(experiment.name, str(condition), best))
            beside = effects[_belongs(effects, str(condition)) & effects["strength"].isin([best["strength"], 0.0])]
            for control, arms in beside[beside["control"] != _STEERED].groupby("control", sort=False):
                row = _pooled(arms).iloc[0] if control == "random" else arms.iloc[0]
                rows.append(_summary_row(experiment.name, str(condition), row, str(control)))
    return rows


def _summary_row(
    experiment: str, condition: str, row: Mapping[str, Any] | pd.Series, control: str | None = None
) -> dict[str, Any]:
    return {
        "experiment": experiment,
        "target": f"{row['key']} → {row['goal']}",
        "condition": condition,
        "control": control,
        "strength": row["strength"],
        "on": row["on_target"],
        "low": row["on_target_low"],
        "high": row["on_target_high"],
        "off": row["off_target"],
        "unreadable": row["parse_failures"],
        "p": row["p_adjusted"],
    }


def _pooled(group: pd.DataFrame) -> pd.DataFrame:
    """Random directions: the mean over the draws at each strength with the range of the draws as bounds."""
    pooled = group.groupby("strength", as_index=False).agg(
        key=("key", "first"),
        goal=("goal", "first"),
        on_target=("on_target", "mean"),
        on_target_low=("on_target", "min"),
        on_target_high=("on_target", "max"),
        off_target=("off_target", "mean"),
        parse_failures=("parse_failures", "mean"),
    )
    return pooled.assign(p_adjusted=float("nan"))


class SteeringRecords:
    """Records to show and which feature has which.

    Attributes:
        records: content, one a condition of an experiment.
        of_feature: feature → numbers of its records.
        referenced: study numbers that the kept reports belong to.
    """

    def __init__(self, run: RunData, shown: Shown) -> None:
        self.records: list[dict[str, Any]] = []
        self.of_feature: dict[int, list[int]] = {}
        self.referenced: set[int] = set()
        studies = run.studies
        self._numbers = {} if studies is None else dict(zip(studies["study_id"], studies["study"], strict=True))
        for experiment in run.experiments:
            for record in self._records(experiment, shown):
                for feature in record["features"]:
                    self.of_feature.setdefault(feature, []).append(len(self.records))
                self.records.append(record)

    def place_studies(self, study_rows: Mapping[int, int]) -> None:
        """Fill in the page rows of the studies, once these are known."""
        for record in self.records:
            for example in record["examples"]:
                example["study"] = study_rows.get(self._numbers.get(example["study_id"], -1))

    def _records(self, experiment: Experiment, shown: Shown) -> Iterator[dict[str, Any]]:
        effects, generations = experiment.effects, experiment.generations
        if effects is None:
            return
        for name in effects.loc[effects["control"] == _STEERED, "condition"].unique():
            rows = effects[_belongs(effects, name)]
            key, goal = rows["key"].iloc[0], rows["goal"].iloc[0]
            examples, withheld = ([], 0) if generations is None else self._examples(generations, name, key, goal, shown)
            yield {
                "experiment": experiment.name,
                "condition": name,
                "key": key,
                "goal": goal,
                "features": features_of(experiment.spec, name),
                "how": how_of(experiment.spec, name),
                "n": int(rows["n"].max()),
                "figures": [
                    {"name": words, "figure": plots.content(plots.dose_response(rows, measure))}
                    for measure, words in (("on_target", "on-target rate"), ("off_target", "off-target rate"))
                ],
                "examples": examples,
                "withheld": withheld,
            }

    def _examples(
        self, generations: pd.DataFrame, condition: str, key: str, goal: str, shown: Shown
    ) -> tuple[list[dict[str, Any]], int]:
        """Reports of the first studies whose unsteered report is readable and leaves room for the goal; none picked."""
        before = generations[generations["control"] == _UNSTEERED].drop_duplicates("study_id").set_index("study_id")
        said = [_object(findings).get(key) == "present" for findings in before["findings"]]
        room = [ok and there == (goal == _ABSENT) for ok, there in zip(before["parse_ok"], said, strict=True)]
        ids = [study_id for study_id, fits in zip(before.index, room, strict=True) if fits]
        open_ids = [study_id for study_id in ids if shown.may_show_id(study_id)]
        kept = open_ids[:EXAMPLES]
        self.referenced |= {int(self._numbers[study_id]) for study_id in kept if study_id in self._numbers}
        after = generations[_belongs(generations, condition) & (generations["draw"] == 0)]
        examples = []
        for study_id in kept:
            rows = after[after["study_id"] == study_id].sort_values(["control", "strength"])
            baseline = before.loc[study_id]
            steered = [_steered(row, baseline) for row in rows.to_dict("records")]
            examples.append({"study_id": study_id, "study": None, "unsteered": baseline["text"], "steered": steered})
        return examples, len(ids) - len(open_ids)


def _belongs(rows: pd.DataFrame, condition: str) -> pd.Series:
    """Rows of a condition and its controls; the prompt-only control serves all conditions of an experiment."""
    return (rows["condition"] == condition) | (rows["control"] == _PROMPT_ONLY)


def _steered(row: Mapping[str, Any], baseline: Mapping[str, Any]) -> dict[str, Any]:
    before, after = _object(baseline["findings"]), _object(row["findings"])
    names = sorted(set(before) | set(after))
    changes = [[name, before.get(name, _ABSENT), after.get(name, _ABSENT)] for name in names]
    tokens = _object(row["proof"]).get("tokens")
    return {
        "control": row["control"],
        "strength": row["strength"],
        "text": row["text"],
        "parse_ok": bool(row["parse_ok"]),
        "changes": [change for change in changes if change[1] != change[2]],
        "tokens": sum(tokens.values()) if isinstance(tokens, dict) else None,
    }


def _object(text: Any) -> dict[str, Any]:
    value = json.loads(text) if isinstance(text, str) and text else {}
    return value if isinstance(value, dict) else {}
