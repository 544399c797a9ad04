from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from steering.statistics import benjamini_hochberg, bootstrap_mean, bootstrap_ratio, permutation_p

values = st.lists(st.floats(-5, 5), min_size=1, max_size=12).map(np.array)
p_values = st.lists(st.floats(0, 1), min_size=1, max_size=20).map(np.array)


@given(values)
def test_the_interval_lies_within_the_data_and_repeats(data):
    low, high = bootstrap_mean(data, resamples=200)
    assert data.min() - 1e-9 <= low <= high <= data.max() + 1e-9
    assert (low, high) == bootstrap_mean(data, resamples=200)


def test_the_interval_covers_the_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        low, high = bootstrap_mean(rng.normal(1.0, 2.0, 40), seed=seed, resamples=400)
        covered += low <= 1.0 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_a_ratio_of_sums():
    assert bootstrap_ratio(np.array([2.0, 4, 6]), np.array([1.0, 2, 3])) == (2.0, 2.0)
    low, high = bootstrap_ratio(np.array([0.0, 1]), np.array([1.0, 1]))
    assert (low, high) == (0.0, 1.0)


def test_nothing_gives_nan():
    assert np.isnan(bootstrap_mean(np.array([]))).all()
    assert np.isnan(bootstrap_ratio(np.array([1.0]), np.array([0.0]))).all()
    assert np.isnan(permutation_p(np.array([]), np.zeros((0, 3))))
    assert np.isnan(permutation_p(np.array([1.0]), np.zeros((1, 0))))


@given(values, st.integers(1, 4), st.integers(0, 99))
def test_p_is_a_p(main, k, seed):
    controls = np.random.default_rng(seed).normal(size=(len(main), k))
    p = permutation_p(main, controls, permutations=200)
    assert 0 < p <= 1
    assert p <= permutation_p(main - 1, controls, permutations=200)


def test_equal_outcomes_have_p_one():
    data = np.array([0.0, 1, 0.3, 1])
    assert permutation_p(data, np.stack([data, data, data], axis=1), permutations=500) == 1


def test_p_is_the_share_of_all_assignments():
    main, controls = np.array([1.0, 1, 0.5]), np.array([[0.0, 1], [0.0, 0], [0.5, 0]])
    outcomes = np.concatenate([main[:, None], controls], axis=1)
    sums = [sum(row[j] for row, j in zip(outcomes, choice, strict=True)) for choice in product(range(3), repeat=3)]
    exact = np.mean([total >= main.sum() for total in sums])
    assert permutation_p(main, controls, permutations=40_000) == pytest.approx(exact, abs=0.01)


def test_p_is_uniform_where_nothing_differs():
    rng = np.random.default_rng(1)
    ps = [permutation_p(*_split(rng.normal(size=(12, 4))), seed=seed, permutations=300) for seed in range(300)]
    assert np.mean(np.array(ps) <= 0.05) == pytest.approx(0.05, abs=0.035)
    assert np.mean(ps) == pytest.approx(0.5, abs=0.06)


def _split(outcomes):
    return outcomes[:, 0], outcomes[:, 1:]


@given(p_values)
def test_benjamini_hochberg_is_scipys(p):
    adjusted = benjamini_hochberg(p)
    assert np.allclose(adjusted, false_discovery_control(p))
    assert (adjusted >= p - 1e-12).all()
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= -1e-12).all()


@given(p_values)
def test_nan_is_no_test(p):
    with_nan = np.concatenate([[np.nan], p, [np.nan]])
    adjusted = benjamini_hochberg(with_nan)
    assert np.isnan(adjusted[[0, -1]]).all()
    assert np.allclose(adjusted[1:-1], benjamini_hochberg(p))
