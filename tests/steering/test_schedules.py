from __future__ import annotations

import numpy as np
import pytest

from steering.errors import SteeringError
from steering.interventions.schedules import Schedule

INDEX = np.arange(8)


@pytest.mark.parametrize(
    ("schedule", "weights"),
    [
        (Schedule(stop=3), [1, 1, 1, 0, 0, 0, 0, 0]),
        (Schedule(start=2, stop=4), [0, 0, 1, 1, 0, 0, 0, 0]),
        (Schedule(start=1, every=3), [0, 1, 0, 0, 1, 0, 0, 1]),
        (Schedule(decay=4), [1, 0.75, 0.5, 0.25, 0, 0, 0, 0]),
        (Schedule(start=2, decay=2), [0, 0, 1, 0.5, 0, 0, 0, 0]),
        (Schedule(until="cardiomegaly"), [1] * 8),
    ],
)
def test_weights(schedule, weights):
    assert schedule.weights(INDEX).tolist() == weights
    assert Schedule(**schedule.to_json()) == schedule


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"start": -1}, "schedule.start: -1"),
        ({"stop": 0}, "schedule.stop: 0"),
        ({"start": 5, "stop": 5}, "more than start"),
        ({"every": 0}, "schedule.every: 0"),
        ({"every": 1.5}, "schedule.every: 1.5; a whole number"),
        ({"decay": True}, "schedule.decay: True"),
        ({"until": "nothing"}, "schedule.until: concept 'nothing' does not exist"),
        ({}, "nothing given"),
    ],
)
def test_wrong_schedules(options, words):
    with pytest.raises(SteeringError, match=words):
        Schedule(**options)
