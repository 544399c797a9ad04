"""ROC, operating points and slices are what their definitions say, and no threshold sees the half it is reported on."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from dashboards.roc import auc_with_interval, detect, half_of, roc_curve, threshold_at, wilson


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=20, max_size=80))
def test_the_area_is_that_of_all_pairs_ties_by_half(rows: list[tuple[int, bool]]) -> None:
    score_n, truth_n = np.array([row[0] for row in rows], float), np.array([row[1] for row in rows])
    area, low, high = auc_with_interval(score_n, truth_n)
    if min(truth_n.sum(), (~truth_n).sum()) < 5:
        assert math.isnan(area)
        return
    assert area == pytest.approx(roc_auc_score(truth_n, score_n))
    assert 0 <= low <= area <= high <= 1
    curve = roc_curve(score_n, truth_n)
    assert np.trapezoid(curve["tpr"], curve["fpr"]) == pytest.approx(area)


def test_an_operating_point_reaches_its_sensitivity_with_the_largest_threshold() -> None:
    score_n, truth_n = np.arange(20.0), np.arange(20) % 2 == 1
    curve = roc_curve(score_n, truth_n)
    at = threshold_at(curve, 0.9)
    assert (score_n[truth_n] >= at).mean() >= 0.9
    assert (score_n[truth_n] >= at + 1e-9).mean() < 0.9
    best = threshold_at(curve, None)
    gain = [(score_n[truth_n] >= t).mean() - (score_n[~truth_n] >= t).mean() for t in score_n]
    assert gain[int(np.flatnonzero(score_n == best)[0])] == pytest.approx(max(gain))


def test_the_interval_of_a_share_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = rng.binomial(40, 0.9, 3000)
    inside = [low <= 0.9 <= high for _, low, high in (wilson(int(hit), 40) for hit in hits)]
    assert 0.92 < np.mean(inside) < 0.98
    assert all(math.isnan(value) for value in wilson(0, 0))


def test_noise_looks_like_noise_because_thresholds_come_from_other_patients() -> None:
    rng = np.random.default_rng(1)
    rows = pd.DataFrame({"score": rng.normal(size=400), "truth": rng.random(400) < 0.5})
    rows["sex"] = rng.choice(["f", "m"], 400)
    rows["half"] = [half_of(f"p{i}") for i in range(400)]
    found = detect(rows, ("sex",))
    assert found is not None
    assert found.auc[1] < 0.5 < found.auc[2]
    youden = found.points[0]
    assert abs(youden.sensitivity[0] + youden.specificity[0] - 1) < 0.2
    assert youden.n_positive + youden.n_negative == rows["half"].sum()
    assert found.slices["n_positive"].sum() == youden.n_positive


def test_too_few_studies_are_not_assessable() -> None:
    rows = pd.DataFrame({"score": [1.0] * 8, "truth": [True] * 6 + [False] * 2, "half": [0, 1] * 4})
    assert detect(rows, ()) is None
