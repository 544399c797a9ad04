from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from sae import ranking
from sae.errors import SAEError
from sae.ranking import auroc, auroc_per_feature, bootstrap_auroc


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=50))
def test_the_area_is_sklearns_ties_included(rows: list[tuple[int, bool]]) -> None:
    scores, labels = (np.array(column) for column in zip(*rows, strict=True))
    if labels.all() or not labels.any():
        assert math.isnan(auroc(scores, labels))
    else:
        assert auroc(scores, labels) == pytest.approx(roc_auc_score(labels, scores))


def test_all_features_at_once_are_each_feature_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    scores_nf = generator.normal(size=(80, 11)) * (generator.random((80, 11)) < 0.3)
    labels_n = generator.random(80) < 0.4
    expected = [roc_auc_score(labels_n, scores_nf[:, f]) for f in range(11)]
    np.testing.assert_allclose(auroc_per_feature(scores_nf, labels_n), expected)
    monkeypatch.setattr(ranking, "_CHUNK_ENTRIES", 200)
    np.testing.assert_allclose(auroc_per_feature(scores_nf, labels_n), expected)


def test_the_interval_holds_the_area_and_narrows_with_more_groups() -> None:
    generator = np.random.default_rng(1)
    widths = []
    for n in (60, 600):
        labels = generator.random(n) < 0.5
        scores = generator.normal(size=n) + labels
        low, high = bootstrap_auroc(scores, labels, np.arange(n) // 2)
        assert low < auroc(scores, labels) < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_copies_of_a_patient_do_not_narrow_the_interval() -> None:
    generator = np.random.default_rng(2)
    labels = generator.random(50) < 0.5
    scores = generator.normal(size=50) + labels
    once = bootstrap_auroc(scores, labels, np.arange(50))
    tenfold = bootstrap_auroc(np.repeat(scores, 10), np.repeat(labels, 10), np.repeat(np.arange(50), 10))
    assert tenfold == pytest.approx(once)


def test_a_missing_class_has_no_interval() -> None:
    assert all(math.isnan(end) for end in bootstrap_auroc([1.0, 2.0], [1, 1], [0, 1]))


def test_bad_input_is_refused() -> None:
    with pytest.raises(SAEError, match="0 and 1"):
        auroc([1.0, 2.0], [0, 2])
    with pytest.raises(SAEError, match="NaN"):
        auroc([1.0, float("nan")], [0, 1])
    with pytest.raises(SAEError, match=r"must be \(3, F\)"):
        auroc_per_feature(np.zeros((2, 4)), [0, 1, 1])
    with pytest.raises(SAEError, match="2 groups for 3 labels"):
        bootstrap_auroc([1.0, 2.0, 3.0], [0, 1, 1], [0, 1])
