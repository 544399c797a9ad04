"""One outcome a condition, the same wherever it is shown, and of the held-out half where there is one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dashboards.data import Experiment, RunData
from dashboards.outcomes import Outcome, arms_of, outcomes, steered_features, unsteered_of
from dashboards.steering_page import steering_note, steering_summary
from steering.schema import EFFECT_COLUMNS, EFFECT_LATER, VERDICT_COLUMNS

FOLDER = Path("sae/main/steering/demo")


def verdict_row(**fields: Any) -> dict[str, Any]:
    blank: dict[str, Any] = {name: "" if kind == "str" else 0 for name, kind in VERDICT_COLUMNS.items()}
    blank |= {"condition": "group", "key": "pleural_effusion", "goal": "present", "prior": "kept", "strength": 2.0}
    return blank | {"verdict": "no better than random", "reason": "on target 5 %", "n": 9, "on_target": 0.05} | fields


def with_verdict(run_dir: Path, **fields: Any) -> RunData:
    pd.DataFrame([verdict_row(**fields)]).to_parquet(run_dir / FOLDER / "verdicts.parquet")
    return RunData.open(run_dir)


def test_the_held_out_half_speaks_where_there_is_one(fresh_run: Path) -> None:
    (before,) = outcomes(RunData.open(fresh_run))
    assert not before.held_out
    assert before.works
    assert (before.strength, before.verdict) == (4.0, "beyond its controls")
    run = with_verdict(fresh_run)
    (found,) = outcomes(run)
    assert found.held_out
    assert not found.works
    assert (found.strength, found.on_target, found.n, found.reason) == (2.0, 0.05, 9, "on target 5 %")
    first = steering_summary(run)[0]
    assert (first["strength"], first["on"], first["n"]) == (found.strength, found.on_target, found.n)
    assert {row["strength"] for row in steering_summary(run)} == {2.0, 0.0}
    assert "older versions" not in steering_note(run)


@pytest.mark.parametrize(("verdict", "group", "said"), [
    ("steers", [1], "yes"), ("steers with side effects", [1, 2], "in a group"), ("breaks the text", [1], "no"),
])  # fmt: skip
def test_a_feature_that_works_in_company_only_is_told_from_one_that_works_alone(
    fresh_run: Path, verdict: str, group: list[int], said: str
) -> None:
    path = fresh_run / FOLDER / "spec.json"
    spec = json.loads(path.read_text())
    spec["experiment"]["conditions"]["group"]["interventions"][0]["features"] = group
    path.write_text(json.dumps(spec))
    found = steered_features(with_verdict(fresh_run, verdict=verdict))
    assert dict(zip(found["feature"], found["steers"], strict=True)) == dict.fromkeys(group, said)


def test_a_damaged_table_of_verdicts_is_said_to_be_missing(fresh_run: Path) -> None:
    (fresh_run / FOLDER / "verdicts.parquet").write_bytes(b"no table")
    run = RunData.open(fresh_run)
    assert [one.held_out for one in outcomes(run)] == [False]
    assert [one.where for one in run.missing if "verdicts" in one.what] == ["steering"]


def test_studies_without_their_prior_are_held_against_reports_without_it() -> None:
    rows = []
    for prior, end in (("kept", ""), ("removed", " (prior removed)")):
        for control, condition in (("unsteered", "unsteered"), ("prompt_only", "prompt"), ("none", "feature 1")):
            rows.append(
                {"study_id": "a", "condition": condition + end, "control": control, "prior": prior, "text": prior}
            )
    generations = pd.DataFrame(rows)
    for condition, prior in (("feature 1", "kept"), ("feature 1 (prior removed)", "removed")):
        assert list(unsteered_of(generations, condition)["text"]) == [prior]
        assert set(arms_of(generations, condition)["prior"]) == {prior}
        assert set(arms_of(generations, condition)["control"]) == {"prompt_only", "none"}


def test_a_condition_that_no_study_leaves_room_for_has_an_outcome_without_rates() -> None:
    row = dict.fromkeys(EFFECT_COLUMNS, float("nan")) | {name: value for name, (_, value) in EFFECT_LATER.items()}
    row |= {"condition": "x", "control": "none", "key": "cardiomegaly", "goal": "present", "n": 0, "strength": 1.0}
    found = Outcome.of(Experiment("one", {}, None, pd.DataFrame([row])), "x")
    assert (found.n, found.works) == (0, False)
