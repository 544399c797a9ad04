from __future__ import annotations

import pytest

from steering.errors import SteeringError
from steering.interventions.gates import Gate


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "at least one of feature, topic and pattern"),
        ({"feature": "mine"}, "gate.feature: 'mine' is neither a feature number nor 'own'"),
        ({"feature": True}, "gate.feature"),
        ({"feature": 1, "above": float("nan")}, "gate.above"),
        ({"topic": "heart attack"}, "gate.topic"),
        ({"pattern": "("}, "gate.pattern: .* is not a regular expression"),
        ({"feature": 1, "negate": 1}, "gate.negate"),
    ],
)
def test_wrong_gates(options, words):
    with pytest.raises(SteeringError, match=words):
        Gate(**options)


def test_json_is_what_is_set():
    assert Gate(3).to_json() == {"feature": 3, "above": 0.0}
    assert Gate(topic="cardiomegaly", negate=True).to_json() == {"topic": "cardiomegaly", "negate": True}
