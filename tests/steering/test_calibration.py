from __future__ import annotations

import json

import pytest

from steering.errors import SteeringError
from steering.experiments.calibration import (
    Calibration,
    Outcome,
    calibrate,
    calibrate_strength,
    halves,
    outcome_of,
)
from steering.interventions.kinds import Add
from steering.interventions.spec import Direction, Intervention, SteeringSpec, Tokens
from steering.reading import Reading

OUTCOMES = {
    1.0: Outcome(0.2, 0.0, 0.0, 10),
    2.0: Outcome(0.9, 0.02, 0.0, 10),
    4.0: Outcome(0.9, 0.03, 0.0, 10),
    8.0: Outcome(1.0, 0.2, 0.0, 10),
    16.0: Outcome(1.0, 0.0, 0.5, 10),
}


def test_the_weakest_of_the_best_within_the_budget():
    found = calibrate_strength(OUTCOMES.get, list(OUTCOMES))
    assert (found.strength, found.reached, found.n) == (2.0, True, 10)
    assert found.curve[1] == (2.0, 0.9, 0.02, 0.0)
    assert Calibration.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_what_is_not_reached_says_so():
    found = calibrate_strength(OUTCOMES.get, [8.0, 16.0])
    assert not found.reached
    assert "no strength within the budget" in found.note
    for wrong in ([], [float("nan")]):
        with pytest.raises(SteeringError, match="strengths"):
            calibrate_strength(OUTCOMES.get, wrong)
    with pytest.raises(SteeringError, match="calibration"):
        Calibration.from_json({"strength": 1})


def test_outcomes_are_counted():
    def reading(a, b, ok=True):
        return Reading({"a": a, "b": b}, ok)

    before = [reading("absent", "absent"), reading("absent", "present"), reading("present", "absent")]
    after = [reading("present", "absent"), reading("absent", "absent"), reading("present", "absent", ok=False)]
    assert outcome_of(before, after, "a", "present") == Outcome(1 / 2, 1 / 2, 1 / 3, 2)
    assert outcome_of(before, after, "a", "absent") == Outcome(0.0, 1 / 2, 1 / 3, 1)


def test_only_the_select_half_is_run(model, study_maker, reader, monkeypatch):
    studies = [study_maker(number) for number in range(12)]
    select, report = halves(studies)
    assert {s.study_id for s in select} | {s.study_id for s in report} == {s.study_id for s in studies}
    assert select
    assert report
    seen = set()
    encode = model.encode
    monkeypatch.setattr(model, "encode", lambda study, *a, **k: seen.add(study.study_id) or encode(study, *a, **k))
    norm_d, W_U = model.unembedding()
    word = Direction("w21", tuple((W_U[21] * norm_d).tolist()))
    spec = SteeringSpec("language.2", (Intervention(Add(1.0), direction=word),), Tokens("all"))
    found = calibrate(model, None, spec, studies, "w21", strengths=(0.01, 30.0), off_target=1.0, reader=reader)
    assert seen == {study.study_id for study in select}
    assert found.strength == 30.0
    assert found.reached
