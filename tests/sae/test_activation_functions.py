"""Laws of the rules that choose activations: against dense autograd, by hand, and as whole trainings."""

from __future__ import annotations

import pytest
import torch

from sae.activation_functions import JumpReLU, TopK, activation_function
from sae.config import ACTIVATIONS, SAEConfig, TrainConfig
from sae.errors import SAEError
from sae.model import MatryoshkaSAE
from sae.objective import MatryoshkaObjective, Weights
from sae.selection import largest_of_rows
from sae.state import TrainingState

D, GROUPS, K, ROWS, WIDTH, WEIGHT = 7, (3, 5, 9), 3, 20, 0.8, 0.7
N_FEATURES = sum(GROUPS)


class _Jump(torch.autograd.Function):
    """The paper's JumpReLU and Heaviside with their straight-through derivatives, written densely."""

    @staticmethod
    def forward(ctx, pre_nf, theta_f):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(pre_nf, theta_f)
        active_nf = (pre_nf > theta_f).to(pre_nf.dtype)
        return pre_nf * active_nf, active_nf

    @staticmethod
    def backward(ctx, grad_acts_nf, grad_active_nf):  # type: ignore[no-untyped-def]
        pre_nf, theta_f = ctx.saved_tensors
        near_nf = (((pre_nf - theta_f) / WIDTH).abs() < 0.5).to(pre_nf.dtype)
        grad_theta_nf = -(theta_f / WIDTH) * near_nf * grad_acts_nf - near_nf / WIDTH * grad_active_nf
        return grad_acts_nf * (pre_nf > theta_f), grad_theta_nf.sum(0)


def problem(seed: int) -> tuple[Weights, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    W_dec = normal(N_FEATURES, D)
    W_dec /= W_dec.norm(dim=1, keepdim=True)
    log_threshold = 0.3 * normal(N_FEATURES)
    return Weights(normal(N_FEATURES, D), normal(N_FEATURES), W_dec, normal(D), log_threshold), normal(ROWS, D)


def prefix_loss(weights: Weights, x_nd: torch.Tensor, acts_nf: torch.Tensor) -> torch.Tensor:
    total, width = torch.zeros((), dtype=torch.float64), 0
    for size in GROUPS:
        width += size
        recon_nd = weights.b_dec + acts_nf[:, :width] @ weights.W_dec[:width]
        total = total + (x_nd - recon_nd).pow(2).sum(1).mean() / len(GROUPS)
    return total


def learned(weights: Weights) -> Weights:
    return Weights(**{name: tensor.clone().requires_grad_() for name, tensor in vars(weights).items()})


def assert_gradients(found: Weights, expected: Weights, names: tuple[str, ...]) -> None:
    for name in names:
        torch.testing.assert_close(getattr(found, name), getattr(expected, name).grad, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("seed", range(3))
def test_jumprelu_has_the_gradient_of_the_papers_estimates(seed: int) -> None:
    weights, x_nd = problem(seed)
    result = MatryoshkaObjective(GROUPS, K, activation=JumpReLU(WIDTH, WEIGHT)).step(weights, x_nd)
    dense = learned(weights)
    assert dense.log_threshold is not None
    pre_nf = (x_nd - dense.b_dec) @ dense.W_enc.T + dense.b_enc
    acts_nf, active_nf = _Jump.apply(pre_nf, dense.log_threshold.exp())
    expected = prefix_loss(dense, x_nd, acts_nf) + WEIGHT * (active_nf.sum(1).mean() / K - 1) ** 2
    expected.backward()
    torch.testing.assert_close(result.loss, expected.detach(), atol=1e-12, rtol=1e-12)
    assert_gradients(result.gradient, dense, ("W_enc", "b_enc", "W_dec", "b_dec", "log_threshold"))
    assert torch.equal(result.fired_f, (active_nf > 0).any(0))


@pytest.mark.parametrize("seed", range(3))
def test_topk_has_the_gradient_of_the_formula(seed: int) -> None:
    weights, x_nd = problem(seed)
    result = MatryoshkaObjective(GROUPS, K, activation=TopK()).step(weights, x_nd)
    dense = learned(weights)
    pre_nf = ((x_nd - dense.b_dec) @ dense.W_enc.T + dense.b_enc).relu()
    best = pre_nf.topk(K, dim=1).indices
    expected = prefix_loss(dense, x_nd, pre_nf * torch.zeros_like(pre_nf).scatter(1, best, 1.0))
    expected.backward()
    torch.testing.assert_close(result.loss, expected.detach(), atol=1e-12, rtol=1e-12)
    assert_gradients(result.gradient, dense, ("W_enc", "b_enc", "W_dec", "b_dec"))


def test_ties_in_a_row_go_to_the_lower_feature() -> None:
    generator = torch.Generator().manual_seed(0)
    for k in (1, 2, 3, 7, 9):
        pre_nf = torch.randint(-1, 3, (50, 7), generator=generator).float()
        found = torch.zeros(50 * 7, dtype=torch.bool)
        found[largest_of_rows(pre_nf, k)] = True
        for row, kept in zip(pre_nf.tolist(), found.view(50, 7).tolist(), strict=True):
            ranked = sorted((i for i in range(7) if row[i] > 0), key=lambda i: (-row[i], i))
            assert [i for i in range(7) if kept[i]] == sorted(ranked[:k])


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_training_learns_and_the_result_survives_the_disk(activation, make_batches, tmp_path) -> None:  # type: ignore[no-untyped-def]
    config = SAEConfig(d=16, n_features=64, k=3, activation=activation)
    state = TrainingState(config, TrainConfig(n_tokens=600 * 256, batch_size=256, learning_rate=3e-3))
    batches = make_batches()(0)
    measured = [state.advance(next(batches), measure=True) for _ in range(600)]
    first, last = measured[0], measured[-1]
    assert first is not None
    assert last is not None
    assert last.variance_explained > max(0.8, first.variance_explained)
    # k means the same for every rule; only JumpReLU reaches it by a penalty.
    assert last.l0 == pytest.approx(3, rel=0.35)
    sae = state.finished()
    sae.save(tmp_path)
    x_nd = next(batches)
    again = MatryoshkaSAE.load(tmp_path)
    assert again.config == config
    assert torch.equal(again.encode(x_nd).dense(), sae.encode(x_nd).dense())
    torch.testing.assert_close(sae.encode(x_nd).dense(), sae.encode_dense(x_nd))
    torch.testing.assert_close(sae.encode_features(x_nd, [5, 60]), sae.encode_dense(x_nd)[:, [5, 60]])


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_restored_state_goes_on_to_the_bit(activation, make_batches) -> None:  # type: ignore[no-untyped-def]
    config = SAEConfig(d=16, n_features=64, k=3, activation=activation)
    train = TrainConfig(
        n_tokens=40 * 256,
        batch_size=256,
        prefixes="random",
        k_start=20,
        group_weights=(1, 2, 3, 4, 5),
        k_anneal_fraction=0.5,
    )
    whole = TrainingState(config, train)
    batches = make_batches()(0)
    for step in range(10):
        if step == 5:
            kept = {name: tensor.clone() for name, tensor in whole.tensors().items()}, dict(whole.numbers())
        whole.advance(next(batches), measure=False)
    resumed = TrainingState(config, train)
    resumed.restore(*kept)
    batches = make_batches()(5)
    for _ in range(5):
        resumed.advance(next(batches), measure=False)
    for name, tensor in resumed.tensors().items():
        assert torch.equal(tensor, whole.tensors()[name]), name


def test_jumprelu_starts_at_the_cut_of_the_first_batch(make_batches) -> None:  # type: ignore[no-untyped-def]
    x_nd = next(make_batches()(0))
    plain, jump = (
        TrainingState(
            SAEConfig(d=16, n_features=64, k=3, activation=name), TrainConfig(n_tokens=10**6, learning_rate=1e-12)
        )
        for name in ("batch_topk", "jumprelu")
    )
    plain.advance(x_nd, measure=False)
    jump.advance(x_nd, measure=False)
    torch.testing.assert_close(jump.sae.threshold, plain.sae.threshold.expand(64), atol=0, rtol=1e-5)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(SAEError, match="activation = 'relu': must be one of batch_topk, topk, jumprelu"):
        activation_function("relu")
    with pytest.raises(SAEError, match="lack log_threshold"):
        JumpReLU().select(torch.zeros(2, 3), 1)
    with pytest.raises(SAEError, match="k = None"):
        TopK().keeps(torch.zeros(2, 3), torch.zeros(()), None)
