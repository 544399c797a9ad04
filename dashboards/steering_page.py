"""Content about steering: the summary, and a record a condition with its figure and its reports side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from dashboards import plots
from dashboards.data import Experiment, RunData
from dashboards.outcomes import STEERED, Outcome, arms_of, conditions_of, unsteered_of
from dashboards.privacy import Shown
from dashboards.steering_spec import features_of, how_of

#: How the rows of :func:`steering_summary` are to be read.
_NOTE = (
    "Each condition at a strength that was chosen on one half of the patients, with figures of the other half, beside "
    "random directions of the same length on the same studies (mean, and the largest as upper end of the range). Other "
    "controls are of all studies, as their n tells. On target: the report takes up the goal. Off target: other "
    "findings change."
)
_OLD_NOTE = (
    " Experiments without verdicts are of older versions: their strength is the best of those tried, on these studies."
)
#: Reports of this many studies are kept a condition.
EXAMPLES = 4
_ABSENT = "absent"


def steering_summary(run: RunData) -> list[dict[str, Any]]:
    """Per experiment and condition its outcome, and its controls at that strength.

    Random directions are measured on the studies of the outcome; the other controls on all studies, which their ``n``
    tells.
    """
    rows: list[dict[str, Any]] = []
    for experiment in run.experiments:
        for name in conditions_of(experiment):
            found = Outcome.of(experiment, name)
            rows += [_outcome_row(found), _random_row(found)]
            assert experiment.effects is not None
            own = arms_of(experiment.effects, name)
            beside = own[own["strength"].isin([found.strength, 0.0]) & ~own["control"].isin([STEERED, "random"])]
            rows += [_control_row(found, str(control), arms) for control, arms in beside.groupby("control", sort=False)]
    return rows


def steering_note(run: RunData) -> str:
    """What the table says, and what is to be known besides where an experiment has no verdicts."""
    old = any(one.verdicts is None and one.effects is not None for one in run.experiments)
    return _NOTE + (_OLD_NOTE if old else "")


def _outcome_row(found: Outcome) -> dict[str, Any]:
    return {
        "experiment": found.experiment,
        "target": f"{found.key} → {found.goal}",
        "condition": found.condition,
        "control": None,
        "verdict": found.verdict,
        "strength": found.strength,
        "on": found.on_target,
        "low": found.on_target_low,
        "high": found.on_target_high,
        "off": found.off_target,
        "unreadable": found.parse_failures,
        "p": found.p,
        "n": found.n,
    }


def _random_row(found: Outcome) -> dict[str, Any]:
    """The mean of the random directions, with the largest as upper bound."""
    blank = {"verdict": None, "low": None, "off": None, "unreadable": None, "p": None}
    return _outcome_row(found) | blank | {"control": "random", "on": found.random, "high": found.random_high}


def _control_row(found: Outcome, control: str, arms: pd.DataFrame) -> dict[str, Any]:
    """Mean over the draws of a control; with several of them, their range as bounds."""
    one = len(arms) == 1
    bounds = (arms["on_target_low"].iloc[0], arms["on_target_high"].iloc[0]) if one else None
    low, high = bounds or (arms["on_target"].min(), arms["on_target"].max())
    means = arms[["strength", "on_target", "off_target", "parse_failures"]].mean()
    return _outcome_row(found) | {
        "control": control, "verdict": None, "strength": means["strength"], "on": means["on_target"], "low": low,
        "high": high, "off": means["off_target"], "unreadable": means["parse_failures"], "p": None,
        "n": int(arms["n"].max()),
    }  # fmt: skip


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
        for name in conditions_of(experiment):
            rows, found = arms_of(effects, name), Outcome.of(experiment, name)
            key, goal = found.key, found.goal
            examples, withheld = ([], 0) if generations is None else self._examples(generations, name, key, goal, shown)
            yield {
                "experiment": experiment.name,
                "condition": name,
                "key": key,
                "goal": goal,
                "features": features_of(experiment.spec, name),
                "how": how_of(experiment.spec, name),
                "verdict": found.verdict,
                "reason": found.reason,
                "works": found.works,
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
        before = unsteered_of(generations, condition)
        said = [_object(findings).get(key) == "present" for findings in before["findings"]]
        room = [ok and there == (goal == _ABSENT) for ok, there in zip(before["parse_ok"], said, strict=True)]
        ids = [study_id for study_id, fits in zip(before.index, room, strict=True) if fits]
        open_ids = [study_id for study_id in ids if shown.may_show_id(study_id)]
        kept = open_ids[:EXAMPLES]
        self.referenced |= {int(self._numbers[study_id]) for study_id in kept if study_id in self._numbers}
        after = arms_of(generations, condition).query("draw == 0")
        examples = []
        for study_id in kept:
            rows = after[after["study_id"] == study_id].sort_values(["control", "strength"])
            baseline = before.loc[study_id]
            steered = [_steered(row, baseline) for row in rows.to_dict("records")]
            examples.append({"study_id": study_id, "study": None, "unsteered": baseline["text"], "steered": steered})
        return examples, len(ids) - len(open_ids)


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
