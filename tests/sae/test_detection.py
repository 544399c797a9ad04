from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from sae.detection import PENALTIES, best_single_feature, linear_probe_auroc
from sae.errors import SAEError

N = 200
Problem = tuple[dict[str, Any], np.ndarray]


@pytest.fixture
def problem() -> Problem:
    """Scores of which column 3 follows the label, patients of two rows, and a split by patient."""
    generator = np.random.default_rng(0)
    labels_n = np.repeat(generator.random(N // 2) < 0.4, 2)
    scores_nf = generator.normal(size=(N, 8))
    scores_nf[:, 3] += 2.5 * labels_n
    select_n = np.arange(N) < N // 2
    masks = {"select_mask": select_n, "report_mask": ~select_n, "groups_n": np.arange(N) // 2}
    return {"labels_n": labels_n, **masks}, scores_nf


def test_the_feature_that_follows_the_label_is_found(problem: Problem) -> None:
    fields, scores_nf = problem
    found = best_single_feature(scores_nf, **fields)
    assert found.feature == 3
    assert found.direction == "higher"
    assert found.auroc > 0.85
    assert found.interval[0] < found.auroc < found.interval[1]
    assert (found.n_select, found.n_report) == (100, 100)


def test_only_higher_means_present_counts(problem: Problem) -> None:
    fields, scores_nf = problem
    scores_nf[:, 3] *= -1
    assert best_single_feature(scores_nf, **fields).feature != 3


def test_the_report_rows_have_no_say_in_the_choice(problem: Problem) -> None:
    fields, scores_nf = problem
    noise_nf = np.random.default_rng(1).normal(size=scores_nf.shape)
    first = best_single_feature(noise_nf, **fields)
    other = noise_nf.copy()
    other[fields["report_mask"]] = np.random.default_rng(2).normal(size=(100, 8))
    assert best_single_feature(other, **fields).feature == first.feature
    assert abs(first.auroc - 0.5) < 0.15


def test_the_probe_uses_several_columns_and_ignores_their_scale(problem: Problem) -> None:
    fields, scores_nf = problem
    scores_nf[:, 5] += 2.5 * fields["labels_n"]
    probe = linear_probe_auroc(scores_nf, **fields)
    assert probe.auroc > best_single_feature(scores_nf, **fields).auroc
    assert probe.C in PENALTIES
    rescaled = linear_probe_auroc(scores_nf * np.logspace(-3, 3, 8) + 7, **fields)
    assert rescaled.auroc == pytest.approx(probe.auroc, abs=1e-3)


def test_without_groups_there_is_no_interval(problem: Problem) -> None:
    fields, scores_nf = problem
    fields = {**fields, "groups_n": None}
    assert all(math.isnan(end) for end in best_single_feature(scores_nf, **fields).interval)
    assert all(math.isnan(end) for end in linear_probe_auroc(scores_nf, **fields).interval)


def test_leaks_between_the_sides_are_refused(problem: Problem) -> None:
    fields, scores_nf = problem
    for detect in (best_single_feature, linear_probe_auroc):
        with pytest.raises(SAEError, match="disjoint"):
            detect(scores_nf, **{**fields, "report_mask": np.ones(N, dtype=bool)})
        with pytest.raises(SAEError, match="no patient is in both"):
            detect(scores_nf, **{**fields, "groups_n": np.arange(N) % 10})
        with pytest.raises(SAEError, match="same label"):
            detect(scores_nf, **{**fields, "labels_n": np.zeros(N, dtype=bool)})
        with pytest.raises(SAEError, match="chooses no row"):
            detect(scores_nf, **{**fields, "select_mask": np.zeros(N, dtype=bool)})
        with pytest.raises(SAEError, match="must be bool"):
            detect(scores_nf, **{**fields, "select_mask": np.arange(N)})
