"""The measures are those of the textbook."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from autointerp.scorers.measures import auc, balanced_accuracy, bootstrap


@pytest.mark.parametrize("seed", range(5))
def test_values_equal_those_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    prediction, fires = rng.choice([0, 0.25, 0.5, 1.0], 40), np.arange(40) % 3 == 0
    assert auc(prediction, fires) == pytest.approx(roc_auc_score(fires, prediction))
    assert balanced_accuracy(prediction, fires) == pytest.approx(balanced_accuracy_score(fires, prediction >= 0.5))


def test_one_class_has_no_value() -> None:
    assert math.isnan(auc(np.ones(3), np.ones(3, dtype=bool)))
    assert math.isnan(balanced_accuracy(np.ones(3), np.zeros(3, dtype=bool)))


def test_the_interval_holds_the_value_and_narrows_with_patients() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for n in (40, 400):
        fires = np.arange(n) % 2 == 0
        prediction = np.where(rng.random(n) < 0.8, fires, ~fires).astype(float)
        accuracy, area = bootstrap(prediction, fires, np.arange(n), np.random.default_rng(1))
        assert accuracy.low <= accuracy.value <= accuracy.high
        assert area.low <= area.value <= area.high
        assert accuracy.value == pytest.approx(balanced_accuracy(prediction, fires))
        widths.append(accuracy.high - accuracy.low)
    assert widths[1] < widths[0] / 2


def test_contexts_of_one_patient_are_one_piece_of_evidence() -> None:
    fires = np.arange(40) % 2 == 0
    prediction = np.where(np.arange(40) < 8, ~fires, fires).astype(float)
    alone, _ = bootstrap(prediction, fires, np.arange(40), np.random.default_rng(0))
    shared, _ = bootstrap(prediction, fires, np.arange(40) // 8, np.random.default_rng(0))
    assert shared.high - shared.low > alone.high - alone.low


def test_few_usable_resamples_give_no_interval() -> None:
    fires = np.array([True, False])
    accuracy, _ = bootstrap(np.array([1.0, 0.0]), fires, np.array(["a", "a"]), np.random.default_rng(0))
    assert accuracy.low == accuracy.high == accuracy.value == 1
    lonely, _ = bootstrap(np.array([1.0, 0.0]), fires, np.array(["a", "b"]), np.random.default_rng(0))
    assert lonely.value == 1
