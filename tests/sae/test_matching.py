from __future__ import annotations

import numpy as np
import pytest
import torch

from sae import matching
from sae.errors import SAEError
from sae.matching import like, match, stability


def unit_rows(n: int, d: int, seed: int) -> torch.Tensor:
    rows_nd = torch.randn(n, d, generator=torch.Generator().manual_seed(seed))
    return rows_nd / rows_nd.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("exact_up_to", [100, 0])
def test_a_shuffled_dictionary_is_matched_with_itself(exact_up_to: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "EXACT_UP_TO", exact_up_to)
    rows_fd = unit_rows(60, 16, 0)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    row_t, cosine_t = match(3 * rows_fd[order], rows_fd)
    assert torch.equal(order[row_t], torch.arange(60))
    assert cosine_t.numpy() == pytest.approx(np.ones(60), abs=1e-6)


def test_each_row_is_used_once_and_greedy_pairs_are_no_better_than_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    rows_fd, directions_td = unit_rows(30, 8, 0), unit_rows(50, 8, 1)
    exact_t, best_t = match(rows_fd, directions_td)
    monkeypatch.setattr(matching, "EXACT_UP_TO", 0)
    greedy_t, cosine_t = match(rows_fd, directions_td)
    for row_t in (exact_t, greedy_t):
        used = row_t[row_t >= 0]
        assert len(used) == len(used.unique()) == 30
    assert 0.9 * float(best_t.sum()) < float(cosine_t.sum()) <= float(best_t.sum()) + 1e-5


def test_the_same_dictionary_is_stable_and_another_is_at_chance() -> None:
    rows_fd = unit_rows(80, 24, 0)
    same = stability(rows_fd, rows_fd.flip(0))
    assert (same.cosine, same.low, same.high, same.same) == pytest.approx((1, 1, 1, 1))
    assert same.chance < 0.6
    other = stability(rows_fd, unit_rows(80, 24, 7))
    assert other.low < other.cosine < other.high
    assert other.cosine == pytest.approx(other.chance, abs=0.03)
    assert other.same < 0.05


def test_half_of_the_features_found_again_is_half_the_share() -> None:
    rows_fd, others_fd = unit_rows(60, 64, 0), unit_rows(60, 64, 5)
    others_fd[:30] = rows_fd[30:]
    found = stability(rows_fd, others_fd)
    assert found.same == pytest.approx(0.5)
    assert (found.cosine_n[30:] > 0.99).all()
    assert found.nearest >= found.cosine


def test_chance_keeps_what_the_rows_have_in_common() -> None:
    rows_fd = unit_rows(500, 8, 0)
    rows_fd[:, 0] += 4
    drawn_fd = like(rows_fd, 1)
    assert (drawn_fd[:, 0] > 0.9).all()
    assert drawn_fd[:, 1:].abs().max() < 0.4


def test_nothing_to_match_and_other_widths_are_refused() -> None:
    with pytest.raises(SAEError, match="at least one"):
        stability(torch.zeros(0, 4), torch.ones(3, 4))
    with pytest.raises(SAEError, match=r"must be \(F, d\) and \(T, d\)"):
        match(torch.ones(3, 4), torch.ones(3, 5))
