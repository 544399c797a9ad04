from __future__ import annotations

import pytest
import torch

from sae.objective import MatryoshkaObjective, StepResult, Weights
from sae.state import remove_parallel

D, GROUPS, K, ROWS = 7, (3, 5, 9), 3, 20
N_FEATURES = sum(GROUPS)
NAMES = ("W_enc", "b_enc", "W_dec", "b_dec")


def problem(seed: int = 0) -> tuple[Weights, torch.Tensor]:
    """Random weights with unit decoder rows, and a batch, in float64."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    W_dec = normal(N_FEATURES, D)
    W_dec /= W_dec.norm(dim=1, keepdim=True)
    return Weights(normal(N_FEATURES, D), normal(N_FEATURES), W_dec, normal(D)), normal(ROWS, D)


def dense_loss(
    weights: Weights, x_nd: torch.Tensor, omega: float, aux_k: int, alpha: float, dead_f: torch.Tensor | None
) -> torch.Tensor:
    """The loss as the formula says, by dense matrices and autograd."""
    pre_nf = (x_nd - weights.b_dec) @ weights.W_enc.T + weights.b_enc
    kept = torch.zeros(pre_nf.numel(), dtype=torch.bool)
    kept[pre_nf.reshape(-1).relu().topk(K * ROWS).indices] = True
    acts_nf = pre_nf.relu() * kept.reshape(pre_nf.shape)
    total = torch.zeros((), dtype=torch.float64)
    width = 0
    for size in GROUPS:
        width += size
        recon_nd = weights.b_dec + acts_nf[:, :width] @ weights.W_dec[:width]
        total = total + omega * (x_nd - recon_nd).pow(2).sum(1).mean()
    if dead_f is not None and bool(dead_f.any()):
        error_nd = (x_nd - recon_nd).detach()
        dead_nf = pre_nf.relu() * dead_f
        best = dead_nf.topk(min(aux_k, int(dead_f.sum())), dim=1).indices
        aux_nf = dead_nf * torch.zeros_like(dead_nf).scatter(1, best, 1.0)
        total = total + alpha * (error_nd - aux_nf @ weights.W_dec).pow(2).sum(1).mean()
    return total


@pytest.mark.parametrize("prefix_loss", ["mean", "sum"])
@pytest.mark.parametrize("dead", [None, (), (1, 4, 8, 16), tuple(range(N_FEATURES))])
@pytest.mark.parametrize("seed", [0, 1])
def test_loss_and_gradient_are_those_of_the_formula(prefix_loss: str, dead: tuple[int, ...] | None, seed: int) -> None:
    weights, x_nd = problem(seed)
    dead_f = None
    if dead is not None:
        dead_f = torch.zeros(N_FEATURES, dtype=torch.bool)
        dead_f[list(dead)] = True
    objective = MatryoshkaObjective(GROUPS, K, prefix_loss=prefix_loss, aux_k=2, aux_alpha=0.3)
    result = objective.step(weights, x_nd, dead_f)

    learned = Weights(*(getattr(weights, name).clone().requires_grad_() for name in NAMES))
    omega = 1 / len(GROUPS) if prefix_loss == "mean" else 1.0
    expected = dense_loss(learned, x_nd, omega, 2, 0.3, dead_f)
    expected.backward()
    torch.testing.assert_close(result.loss, expected.detach(), atol=1e-12, rtol=1e-12)
    for name in NAMES:
        torch.testing.assert_close(getattr(result.gradient, name), getattr(learned, name).grad, atol=1e-12, rtol=1e-10)


def test_the_formula_by_hand_on_one_row() -> None:
    # x = (3, 4); two features along the axes, one per group; k = 2 keeps both.
    eye, zero = torch.eye(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    weights = Weights(eye.clone(), torch.tensor([-1.0, -1.0], dtype=torch.float64), eye.clone(), zero)
    x_nd = torch.tensor([[3.0, 4.0]], dtype=torch.float64)
    # Prefix 1 leaves (1, 4): 17. Prefix 2 leaves (1, 1): 2.
    assert float(MatryoshkaObjective((1, 1), 2).step(weights, x_nd).loss) == pytest.approx(9.5)
    assert float(MatryoshkaObjective((1, 1), 2, prefix_loss="sum").step(weights, x_nd).loss) == pytest.approx(19)


def scaled(factor: float) -> StepResult:
    weights, x_nd = problem()
    larger = Weights(weights.W_enc, weights.b_enc * factor, weights.W_dec, weights.b_dec * factor)
    dead_f = torch.arange(N_FEATURES) < 4
    return MatryoshkaObjective(GROUPS, K, aux_k=2).step(larger, x_nd * factor, dead_f)


def test_the_loss_scales_with_the_square_of_the_data() -> None:
    assert float(scaled(4.0).loss) == pytest.approx(16 * float(scaled(1.0).loss), rel=1e-12)


def test_what_a_step_reports_is_the_selection() -> None:
    weights, x_nd = problem()
    result = MatryoshkaObjective(GROUPS, K).step(weights, x_nd)
    best = result.pre_nf.reshape(-1).topk(K * ROWS)
    assert result.cut is not None
    assert float(result.cut) == float(best.values.min())
    fired = set((best.indices % N_FEATURES).tolist())
    assert set(torch.nonzero(result.fired_f).squeeze(1).tolist()) == fired


def test_the_hint_of_the_step_before_changes_no_bit() -> None:
    weights, x_nd = problem()
    used = MatryoshkaObjective(GROUPS, K)
    used.step(weights, 30 * x_nd)
    first, second = used.step(weights, x_nd), MatryoshkaObjective(GROUPS, K).step(weights, x_nd)
    assert torch.equal(first.loss, second.loss)
    for name in NAMES:
        assert torch.equal(getattr(first.gradient, name), getattr(second.gradient, name))


def test_a_batch_in_which_nothing_fires_only_moves_b_dec() -> None:
    weights, x_nd = problem()
    silent = Weights(weights.W_enc, weights.b_enc - 1e3, weights.W_dec, weights.b_dec)
    result = MatryoshkaObjective(GROUPS, K).step(silent, x_nd)
    assert result.cut is None
    assert not result.fired_f.any()
    assert float(result.gradient.W_enc.abs().sum() + result.gradient.W_dec.abs().sum()) == 0
    torch.testing.assert_close(result.gradient.b_dec, 2 * (weights.b_dec - x_nd).mean(0))


def test_what_is_left_of_a_gradient_has_no_part_along_its_row() -> None:
    weights, x_nd = problem()
    gradient_fd = MatryoshkaObjective(GROUPS, K).step(weights, x_nd).gradient.W_dec
    assert float((gradient_fd * weights.W_dec).sum(1).abs().max()) > 1e-3
    remove_parallel(gradient_fd, weights.W_dec)
    assert float((gradient_fd * weights.W_dec).sum(1).abs().max()) < 1e-12
