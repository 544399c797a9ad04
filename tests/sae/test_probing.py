from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sae.detection import best_single_feature
from sae.errors import SAEError
from sae.probing import by_mean_difference, f1_by_k, f1_score, sparse_probes

N = 400


@pytest.fixture
def split() -> dict[str, Any]:
    labels_n = np.repeat(np.random.default_rng(0).random(N // 2) < 0.4, 2)
    select_n = np.arange(N) < N // 2
    return {"labels_n": labels_n, "select_mask": select_n, "report_mask": ~select_n, "groups_n": np.arange(N) // 2}


def two_halves(labels_n: np.ndarray) -> np.ndarray:
    """Columns 2 and 5 each know half of the positive rows, column 7 fires where the label is absent."""
    generator = np.random.default_rng(1)
    scores_nf = 0.1 * generator.random((N, 9))
    side_n = np.arange(N) // 4 % 2 == 0
    scores_nf[:, 2] += labels_n & side_n
    scores_nf[:, 5] += labels_n & ~side_n
    scores_nf[:, 7] += 0.4 * ~labels_n * (generator.random(N) < 0.5)
    return scores_nf


def test_several_features_tell_what_one_cannot(split: dict[str, Any]) -> None:
    scores_nf = two_halves(split["labels_n"])
    one, two = sparse_probes(scores_nf, **split, ks=(1, 2))
    assert set(two.features) == {2, 5}
    assert one.auroc < 0.85 < 0.98 < two.auroc
    assert two.f1 == 1
    assert two.interval[0] <= two.auroc <= two.interval[1]
    assert best_single_feature(scores_nf, **split).auroc < 0.85


def test_a_feature_of_the_absent_side_may_serve(split: dict[str, Any]) -> None:
    scores_nf = two_halves(split["labels_n"])[:, [0, 7]]
    (probe,) = sparse_probes(scores_nf, **split, ks=(1,))
    assert probe.features == (1,)
    assert probe.auroc > 0.7


def test_the_report_rows_have_no_say(split: dict[str, Any]) -> None:
    noise_nf = np.random.default_rng(2).normal(size=(N, 30))
    first = sparse_probes(noise_nf, **split)
    other_nf = noise_nf.copy()
    other_nf[split["report_mask"]] = 0
    assert [probe.features for probe in sparse_probes(other_nf, **split)] == [probe.features for probe in first]
    assert all(abs(probe.auroc - 0.5) < 0.15 for probe in first)


def test_features_without_a_difference_are_left_out(split: dict[str, Any]) -> None:
    scores_nf = np.zeros((N, 4))
    assert [(p.features, p.auroc, p.f1) for p in sparse_probes(scores_nf, **split, ks=(2,))] == [((), 0.5, 0.0)]
    scores_nf[:, 3] = -1.0 * split["labels_n"]
    assert by_mean_difference(scores_nf, split["labels_n"]).tolist() == [3]
    assert by_mean_difference(scores_nf, split["labels_n"], higher=True).tolist() == []


def test_the_curve_of_f1_stops_rising_where_the_features_end(split: dict[str, Any]) -> None:
    labels_n = split["labels_n"]
    curve = f1_by_k(two_halves(labels_n), labels_n, split["groups_n"], np.array([2, 5, 0]), seed=0)
    assert curve[0] < 0.8
    assert curve[1] == curve[2] == 1


def test_f1() -> None:
    said, true = np.array([1, 1, 0, 0], dtype=bool), np.array([1, 0, 1, 0], dtype=bool)
    assert f1_score(said, true) == 0.5
    assert np.isnan(f1_score(said, np.zeros(4, dtype=bool)))


def test_k_must_be_a_number_of_features(split: dict[str, Any]) -> None:
    with pytest.raises(SAEError, match="1 or more"):
        sparse_probes(np.ones((N, 2)), **split, ks=(0,))
