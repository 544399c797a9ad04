"""Log-odds: sign by difference, size by evidence, nothing from nothing."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from autointerp.explainers.evidence import contrasts, z_scores

COUNT = st.integers(0, 40)


@settings(deadline=None)
@given(COUNT, COUNT, COUNT, COUNT)
def test_swapping_firing_and_quiet_changes_the_sign(a: int, b: int, c: int, d: int) -> None:
    n_f, n_q = a + b + 1, c + d + 1
    forward = z_scores(np.array([a]), n_f, np.array([c]), n_q)
    back = z_scores(np.array([c]), n_q, np.array([a]), n_f)
    np.testing.assert_allclose(forward, -back, atol=1e-9)


@settings(deadline=None)
@given(COUNT, st.integers(1, 40))
def test_equal_shares_give_no_evidence(a: int, rest: int) -> None:
    n = a + rest
    assert abs(z_scores(np.array([a]), n, np.array([a]), n)[0]) < 1e-9


def test_more_contexts_of_the_same_shares_are_more_evidence() -> None:
    zs = [z_scores(np.array([0.8 * n]), n, np.array([0.2 * n]), n)[0] for n in (5, 10, 40)]
    assert 0 < zs[0] < zs[1] < zs[2]


def test_equal_rates_pass_a_limit_as_often_as_chance_says() -> None:
    rng = np.random.default_rng(0)
    firing, quiet = rng.binomial(20, 0.3, 20_000), rng.binomial(32, 0.3, 20_000)
    assert 0.03 < np.mean(np.abs(z_scores(firing, 20, quiet, 32)) > 1.96) < 0.07


@settings(deadline=None)
@given(st.lists(st.frozensets(st.sampled_from("abcd")), min_size=1, max_size=12), st.integers(1, 11))
def test_shares_are_plain_and_not_having_mirrors_having(contexts: list[frozenset[str]], cut: int) -> None:
    firing, quiet = contexts[:cut], contexts[cut:]
    for attribute, found in contrasts(firing, quiet, np.ones(len(firing))).items():
        np.testing.assert_allclose(found.firing_share, np.mean([attribute in one for one in firing]))
        if quiet:
            np.testing.assert_allclose(found.quiet_share, np.mean([attribute in one for one in quiet]))
        assert found.reversed.z == -found.z
        assert found.reversed.firing_share == 1 - found.firing_share


def test_weights_count() -> None:
    firing = [frozenset("a"), frozenset("b")]
    found = contrasts(firing, [frozenset()], np.array([1.0, 0.25]))
    assert found["a"].firing_share == 0.8
    assert found["b"].firing_share == 0.2
