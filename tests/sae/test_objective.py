from __future__ import annotations

import pytest
import torch

from sae.objective import MatryoshkaObjective, StepResult, Weights
from sae.unit_rows import remove_parallel

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


@pytest.mark.parametrize("widths", [(3, 8, 17), (1, 2, 17), (5, 16, 17), (9, 10, 17)])
@pytest.mark.parametrize("group_weights", [(), (1.0, 2.0, 4.0), (0.0, 0.0, 1.0)])
@pytest.mark.parametrize("prefix_loss", ["mean", "sum"])
def test_any_prefixes_weights_and_k_keep_the_gradient_exact(
    widths: tuple[int, ...], group_weights: tuple[float, ...], prefix_loss: str
) -> None:
    weights, x_nd = problem(3)
    dead_f = torch.arange(N_FEATURES) % 3 == 0
    objective = MatryoshkaObjective(
        GROUPS, K, prefix_loss=prefix_loss, group_weights=group_weights, aux_k=2, aux_alpha=0.3
    )
    result = objective.step(weights, x_nd, dead_f, k=2.5, widths=widths)

    learned = Weights(*(getattr(weights, name).clone().requires_grad_() for name in NAMES))
    pre_nf = (x_nd - learned.b_dec) @ learned.W_enc.T + learned.b_enc
    kept = torch.zeros(pre_nf.numel(), dtype=torch.bool)
    kept[pre_nf.reshape(-1).relu().topk(round(2.5 * ROWS)).indices] = True
    acts_nf = pre_nf.relu() * kept.reshape(pre_nf.shape)
    given = group_weights or (1.0, 1.0, 1.0)
    total = torch.zeros((), dtype=torch.float64)
    for weight, width in zip(given, widths, strict=True):
        recon_nd = learned.b_dec + acts_nf[:, :width] @ learned.W_dec[:width]
        share = weight / sum(given) if prefix_loss == "mean" else weight
        total = total + share * (x_nd - recon_nd).pow(2).sum(1).mean()
    dead_nf = pre_nf.relu() * dead_f
    aux_nf = dead_nf * torch.zeros_like(dead_nf).scatter(1, dead_nf.topk(2, dim=1).indices, 1.0)
    total = total + 0.3 * ((x_nd - recon_nd).detach() - aux_nf @ learned.W_dec).pow(2).sum(1).mean()
    total.backward()
    torch.testing.assert_close(result.loss, total.detach(), atol=1e-12, rtol=1e-12)
    for name in NAMES:
        torch.testing.assert_close(getattr(result.gradient, name), getattr(learned, name).grad, atol=1e-10, rtol=1e-10)


def test_ties_and_empty_rows_keep_the_gradient_exact() -> None:
    # Whole numbers tie everywhere; rows at b_dec itself have no positive entry. Kept are those at the lower position.
    generator = torch.Generator().manual_seed(5)
    weights, _ = problem()
    W_enc = torch.randint(-1, 2, weights.W_enc.shape, generator=generator).double()
    b_dec = weights.b_dec.round()
    x_nd = b_dec + torch.randint(-1, 2, (ROWS, D), generator=generator).double()
    x_nd[::4] = b_dec
    tied = Weights(W_enc, torch.zeros(N_FEATURES, dtype=torch.float64), weights.W_dec, b_dec)
    result = MatryoshkaObjective(GROUPS, K).step(tied, x_nd)

    learned = Weights(*(getattr(tied, name).clone().requires_grad_() for name in NAMES))
    pre_nf = (x_nd - learned.b_dec) @ learned.W_enc.T + learned.b_enc
    flat = pre_nf.detach().reshape(-1)
    ranked = sorted((i for i in range(len(flat)) if flat[i] > 0), key=lambda i: (-float(flat[i]), i))
    assert result.cut is not None
    assert int((flat == flat[ranked[K * ROWS - 1]]).sum()) > 1
    kept = torch.zeros(pre_nf.numel(), dtype=torch.float64)
    kept[ranked[: K * ROWS]] = 1
    acts_nf = pre_nf * kept.view_as(pre_nf)
    total, width = torch.zeros((), dtype=torch.float64), 0
    for size in GROUPS:
        width += size
        recon_nd = learned.b_dec + acts_nf[:, :width] @ learned.W_dec[:width]
        total = total + (x_nd - recon_nd).pow(2).sum(1).mean() / len(GROUPS)
    total.backward()
    torch.testing.assert_close(result.loss, total.detach(), atol=1e-10, rtol=1e-10)
    for name in NAMES:
        torch.testing.assert_close(getattr(result.gradient, name), getattr(learned, name).grad, atol=1e-10, rtol=1e-10)


def test_the_loss_is_dictionary_learnings_with_its_factors_declared() -> None:
    """Its trainer: the mean over prefixes of w_g · mse_g, w_g = 1/G; the auxiliary loss over the residual's variance.

    So ours (mean) is G times its reconstruction part; its auxiliary part is ours over that variance.
    """
    weights, x_nd = problem(2)
    dead_f = torch.arange(N_FEATURES) % 4 == 1
    n_dead, alpha = int(dead_f.sum()), 1 / 32

    acts_nf = ((x_nd - weights.b_dec) @ weights.W_enc.T + weights.b_enc).relu()
    best = acts_nf.flatten().topk(K * ROWS)
    kept_nf = torch.zeros(acts_nf.numel(), dtype=torch.float64).scatter_(0, best.indices, best.values).view_as(acts_nf)
    recon_nd, losses = weights.b_dec.expand_as(x_nd), []
    for acts, rows in zip(kept_nf.split(GROUPS, dim=1), weights.W_dec.split(GROUPS, dim=0), strict=True):
        recon_nd = recon_nd + acts @ rows
        losses.append((x_nd - recon_nd).pow(2).sum(-1).mean() * (1 / len(GROUPS)))
    their_reconstruction = torch.stack(losses).mean()
    residual_nd = x_nd - recon_nd
    top = torch.where(dead_f, acts_nf, -torch.inf).topk(min(D // 2, n_dead), dim=-1)
    aux_nf = torch.zeros_like(acts_nf).scatter_(-1, top.indices, top.values)
    variance = (residual_nd - residual_nd.mean(0)).pow(2).sum(-1).mean()
    their_auxiliary = (residual_nd - aux_nf @ weights.W_dec).pow(2).sum(-1).mean() / variance

    without = MatryoshkaObjective(GROUPS, K).step(weights, x_nd).loss
    with_dead = MatryoshkaObjective(GROUPS, K, aux_k=D // 2, aux_alpha=alpha).step(weights, x_nd, dead_f).loss
    torch.testing.assert_close(without, len(GROUPS) * their_reconstruction, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(with_dead - without, alpha * variance * their_auxiliary, atol=1e-12, rtol=1e-12)


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
