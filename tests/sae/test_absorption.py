"""Laws of absorption, on rows where it is planted."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from sae.absorption import MAX_SPLIT, absorption, split_of, thresholds
from sae.errors import SAEError

N, D, F = 1200, 16, 64
LEFT = np.arange(N) // 2 % 2 == 0
LABELS = np.arange(N) // 4 % 2 == 0
FORMS = {"side:left": LABELS & LEFT, "side:right": LABELS & ~LEFT}
SELECT = np.arange(N) < N // 2
FIELDS: dict[str, Any] = {
    "labels_n": LABELS,
    "forms_n": FORMS,
    "select_mask": SELECT,
    "report_mask": ~SELECT,
    "groups_n": np.arange(N),
}


def world(silent_share: float) -> dict[str, Any]:
    """Dimension 0 is the label, 1 its left form; feature 0 is the label's, feature 1 the left form's.

    In ``silent_share`` of the left rows feature 0 is silent and feature 1 writes the label's direction instead.
    """
    generator = np.random.default_rng(0)
    x_nd = generator.normal(0, 0.05, (N, D))
    x_nd[:, 0] += LABELS
    x_nd[:, 1] += FORMS["side:left"]
    scores_nf = np.zeros((N, F))
    scores_nf[:, 0] = LABELS & ~(FORMS["side:left"] & (generator.random(N) < silent_share))
    scores_nf[:, 1] = FORMS["side:left"]
    scores_nf[:, 2:] = 0.05 * generator.random((N, F - 2))
    directions_fd = np.eye(F, D)
    directions_fd[1, :2] = 0.7
    return {"scores_nf": scores_nf, "x_nd": x_nd, "directions_fd": directions_fd}


def test_a_planted_absorption_is_found_at_its_rate() -> None:
    found = absorption(**world(0.08), **FIELDS)
    assert (found.main, found.split) == ((0,), 1)
    assert found.absorbed == found.silent
    assert found.interval[0] < found.rate < found.interval[1]
    assert found.rate == pytest.approx(0.04, abs=0.02)  # of the rows with the label, half are left
    left = next(form for form in found.forms if form.form == "side:left")
    assert (left.feature, left.aligned, left.absorbed) == (1, True, found.absorbed)
    assert left.n == pytest.approx(found.n / 2, abs=2)
    assert found.rate > 2 * found.shuffled_max


def test_nothing_is_absorbed_where_the_feature_always_fires() -> None:
    found = absorption(**world(0.0), **FIELDS)
    assert (found.silent, found.absorbed, found.rate, found.split) == (0, 0, 0.0, 1)


def test_a_silent_feature_alone_is_no_absorption() -> None:
    """The form's feature must write the label's direction."""
    fields = world(0.08)
    fields["directions_fd"] = np.eye(F, D)
    found = absorption(**fields, **FIELDS)
    assert found.silent > 0
    assert found.absorbed == 0


def test_two_features_of_one_label_are_a_split() -> None:
    fields = world(0.0)
    fields["scores_nf"][:, 0] = FORMS["side:right"]
    found = absorption(**fields, **FIELDS)
    assert set(found.main) == {0, 1}
    assert found.split == 2
    assert len(found.f1_by_k) <= MAX_SPLIT


def test_rare_sub_forms_are_left_out_and_none_give_no_rate_of_chance() -> None:
    rare = np.zeros(N, dtype=bool)
    rare[np.flatnonzero(LABELS)[:3]] = True
    found = absorption(**world(0.08), **{**FIELDS, "forms_n": {"zone:apex": rare}})
    assert found.forms == ()
    bare = absorption(**world(0.08), **{**FIELDS, "forms_n": {}})
    assert bare.rate == 0
    assert math.isnan(bare.shuffled)


def test_the_split_ends_where_a_feature_adds_little() -> None:
    assert split_of([0.5, 0.6, 0.62, 0.9]) == 2
    assert split_of([]) == split_of([0.9]) == 1


def test_a_threshold_parts_the_classes_where_it_can() -> None:
    labels_n = np.array([0, 0, 1, 1], dtype=bool)
    scores_nm = np.array([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [4.0, 5.0]])
    assert thresholds(scores_nm, labels_n).tolist() == [2.0, 0.0]


def test_labels_without_a_feature_and_wrong_shapes_are_refused() -> None:
    fields = world(0.0)
    with pytest.raises(SAEError, match="no feature is higher"):
        absorption(**{**fields, "scores_nf": np.zeros((N, F))}, **FIELDS)
    with pytest.raises(SAEError, match="directions of shape"):
        absorption(**{**fields, "directions_fd": np.eye(4, D)}, **FIELDS)
