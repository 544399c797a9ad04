from __future__ import annotations

from pathlib import Path

import pytest

from dashboards.data import RunData
from dashboards.privacy import Shown
from dashboards.steering_page import EXAMPLES, SteeringRecords, steering_note, steering_summary


@pytest.fixture(scope="module")
def run(run_dir: Path) -> RunData:
    return RunData.open(run_dir)


def test_the_summary_sets_controls_beside_the_best_strength(run: RunData) -> None:
    rows = steering_summary(run)
    assert [row["control"] for row in rows] == [None, "random", "prompt_only", "wrong_sign", "equal_rate"]
    assert rows[0]["on"] == pytest.approx(0.85)
    assert {row["strength"] for row in rows} == {4.0, 0.0}
    random = rows[1]
    assert random["on"] <= random["high"]
    assert "older versions" in steering_note(run)


def test_records_know_their_features_and_show_the_first_studies(run: RunData) -> None:
    records = SteeringRecords(run, Shown(run.studies, with_credentialed_data=True))
    assert records.of_feature == {1: [0], 2: [0]}
    (record,) = records.records
    assert [example["study_id"] for example in record["examples"]] == [f"study-{i:03d}" for i in range(EXAMPLES)]
    assert records.referenced == set(range(EXAMPLES))
    steered = {(one["control"], one["strength"]): one for one in record["examples"][0]["steered"]}
    assert steered["none", 4.0]["changes"] == [["pleural_effusion", "absent", "present"]]
    assert steered["none", 4.0]["tokens"] == 36
    assert steered["none", 1.0]["changes"] == []
    assert ("prompt_only", 0.0) in steered
    records.place_studies({0: 5})
    assert [example["study"] for example in record["examples"]] == [5, None, None, None]


def test_reports_about_withheld_studies_are_counted_only(run: RunData) -> None:
    assert run.studies is not None
    credentialed = run.studies.assign(terms="credentialed")
    (record,) = SteeringRecords(run, Shown(credentialed, with_credentialed_data=False)).records
    assert record["examples"] == []
    assert record["withheld"] == len(run.studies)


def test_a_running_experiment_without_effects_is_no_error(fresh_run: Path) -> None:
    (fresh_run / "sae/main/steering/demo/effects.parquet").unlink()
    run = RunData.open(fresh_run)
    assert steering_summary(run) == []
    assert SteeringRecords(run, Shown(run.studies, True)).records == []
    assert any("effects" in one.what for one in run.missing)
