from __future__ import annotations

import pytest

from sae.prefixes import PrefixSchedule, prefix_weights


def test_fixed_prefixes_are_the_running_sums_of_the_groups() -> None:
    assert PrefixSchedule((3, 5, 9)).widths(7) == (3, 8, 17)


def test_random_prefixes_depend_on_seed_and_step_only() -> None:
    one, same, other = (PrefixSchedule((64, 64, 128, 256, 512), True, seed) for seed in (0, 0, 1))
    drawn = [one.widths(step) for step in range(200)]
    assert [same.widths(step) for step in reversed(range(200))] == drawn[::-1]
    assert [other.widths(step) for step in range(200)] != drawn
    assert len(set(drawn)) == 200
    for widths in drawn:
        assert len(widths) == 5
        assert list(widths) == sorted(set(widths))
        assert widths[0] >= 1
        assert widths[-1] == 1024


def test_random_prefixes_follow_their_law() -> None:
    # With one random prefix a step, P(width ≤ w) = √w / √(F − 1).
    schedule = PrefixSchedule((50, 51), True)
    widths = [schedule.widths(step)[0] for step in range(4000)]
    for bound in (1, 4, 25, 64):
        assert sum(width <= bound for width in widths) / 4000 == pytest.approx(bound**0.5 / 10, abs=0.03)


def test_there_are_never_more_prefixes_than_features() -> None:
    assert PrefixSchedule((1, 1, 1), True).widths(0) == (1, 2, 3)
    assert PrefixSchedule((1,), True).widths(0) == (1,)


def test_weights_are_divided_by_their_sum_for_the_mean_only() -> None:
    assert prefix_weights(4, "mean") == (0.25,) * 4
    assert prefix_weights(4, "sum") == (1.0,) * 4
    assert prefix_weights(2, "mean", (1.0, 3.0)) == (0.25, 0.75)
    assert prefix_weights(2, "sum", (1.0, 3.0)) == (1.0, 3.0)
