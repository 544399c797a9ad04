from __future__ import annotations

import json

import numpy as np
import pytest

from steering.errors import SteeringError
from steering.experiments.controls import Controls
from steering.experiments.design import Experiment, arms_of, at_strength
from steering.interventions.kinds import Ablate, Add, Clamp
from steering.interventions.spec import Intervention, SteeringSpec

ADD = SteeringSpec("language.1", (Intervention(Add(0.5), (5,), max_activations=(2.0,)),))
ABLATE = SteeringSpec("language.1", (Intervention(Ablate(), (5,)),))


def experiment(**options):
    return Experiment(**{"name": "e", "key": "w9", "conditions": {"add": ADD}, **options})


def test_json_round_trip():
    one = experiment(strengths=(1, 2.5), goal="absent", controls=Controls(random=3), max_new_tokens=7)
    assert Experiment.from_json(json.loads(json.dumps(one.to_json()))) == one


def test_the_order_of_the_arms(sae):
    arms = arms_of(experiment(strengths=(1, -2), controls=Controls(random=2, prompt_only="w9")), 32, sae, np.ones(64))
    one = ["none", "random", "random", "wrong_sign", "equal_rate"]
    assert [arm.control for arm in arms] == ["unsteered", "prompt_only", *one, *one]
    assert len({arm.label for arm in arms}) == len(arms)
    assert arms[7].spec.interventions[0].kind == Add(-1.0)
    assert arms[3].spec.redirect == arms[8].spec.redirect  # the same directions at every strength


def test_strengths_multiply():
    group = SteeringSpec("language.1", (Intervention(Clamp(2.0), (1,), max_activations=(1.0,)), *ADD.interventions))
    assert [part.kind for part in at_strength(group, 3).interventions] == [Clamp(6.0), Add(1.5)]
    assert at_strength(ABLATE, 1) == ABLATE


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": ""}, "name and key"),
        ({"goal": "gone"}, "goal: 'gone'"),
        ({"conditions": {}}, "conditions"),
        ({"conditions": {"unsteered": ADD}}, "none of them named 'unsteered'"),
        ({"strengths": ()}, "strengths"),
        ({"strengths": (0.0,)}, "strengths"),
        ({"strengths": (float("nan"),)}, "strengths"),
        ({"strengths": (1, 1)}, "names one twice"),
        ({"conditions": {"a": ABLATE}, "strengths": (2,)}, "ablate has no strength"),
    ],
)
def test_wrong_experiments_are_refused(options, words):
    with pytest.raises(SteeringError, match=words):
        experiment(**options)


@pytest.mark.parametrize("data", [[], {"name": "e", "key": "k"}, {**experiment().to_json(), "dose": 3}])
def test_wrong_json_is_refused(data):
    with pytest.raises(SteeringError, match="experiment"):
        Experiment.from_json(data)
