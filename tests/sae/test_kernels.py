"""Every implementation of the products gives the loss and the gradients of dense autograd.

Triton's kernels are among them where Triton can run: on a GPU, or on a CPU with its interpreter:

    pip install triton==3.9.0 && TRITON_INTERPRET=1 python -m pytest tests/sae/test_kernels.py
"""

from __future__ import annotations

import pytest
import torch

from sae.activation_functions import BatchTopK, JumpReLU, TopK
from sae.errors import SAEError
from sae.kernels import REFERENCE, Kernels, pattern_of, unavailable
from sae.kernels.encoder import ScreeningEncoder
from sae.objective import MatryoshkaObjective, Weights
from sae.sparse import Workspace

from .test_objective import GROUPS, N_FEATURES, NAMES, K, dense_loss, problem

CPU = torch.device("cpu")
ALL = [Kernels(encoder, sparse) for encoder in ("float32", "bfloat16") for sparse in ("gather", "dense", "triton")]
HERE = [kernels for kernels in ALL if unavailable(kernels, CPU) is None]
SPARSE = [kernels for kernels in HERE if kernels.encoder == "float32"]
each = pytest.mark.parametrize("kernels", HERE, ids=lambda kernels: kernels.name)
each_sparse = pytest.mark.parametrize("kernels", SPARSE, ids=lambda kernels: kernels.name)


def dead_features(*which: int) -> torch.Tensor:
    dead_f = torch.zeros(N_FEATURES, dtype=torch.bool)
    dead_f[list(which)] = True
    return dead_f


def gradients_by_autograd(
    weights: Weights, x_nd: torch.Tensor, dead_f: torch.Tensor | None
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    leaves = [getattr(weights, name).clone().requires_grad_() for name in NAMES]
    loss = dense_loss(Weights(*leaves), x_nd, 1 / len(GROUPS), 2, 0.3, dead_f)
    return loss.detach(), list(torch.autograd.grad(loss, leaves))


@each
@pytest.mark.parametrize("dead_f", [None, dead_features(1, 4, 8, 16), dead_features(*range(N_FEATURES))])
def test_loss_and_gradients_are_those_of_dense_autograd(kernels: Kernels, dead_f: torch.Tensor | None) -> None:
    weights, x_nd = problem()
    objective = MatryoshkaObjective(GROUPS, K, aux_k=2, aux_alpha=0.3, kernels=kernels)
    result = objective.step(weights, x_nd, dead_f)
    loss, expected = gradients_by_autograd(weights, x_nd, dead_f)
    torch.testing.assert_close(result.loss, loss, rtol=1e-10, atol=1e-10)
    for name, gradient in zip(NAMES, expected, strict=True):
        torch.testing.assert_close(getattr(result.gradient, name), gradient, rtol=1e-10, atol=1e-10, msg=name)


@each
def test_rows_without_entries_and_groups_without_entries(kernels: Kernels) -> None:
    weights, x_nd = problem(3)
    x_nd[::2] = weights.b_dec  # nothing but the bias reaches these rows
    weights.b_enc[:3] = -100.0  # the first group never fires
    weights.b_enc[3:] = -0.5
    objective = MatryoshkaObjective(GROUPS, K, kernels=kernels)
    result = objective.step(weights, x_nd)
    assert not result.fired_f[:3].any()
    loss, expected = gradients_by_autograd(weights, x_nd, None)
    torch.testing.assert_close(result.loss, loss, rtol=1e-10, atol=1e-10)
    for name, gradient in zip(NAMES, expected, strict=True):
        torch.testing.assert_close(getattr(result.gradient, name), gradient, rtol=1e-10, atol=1e-10, msg=name)


@each_sparse
@pytest.mark.parametrize("activation", [TopK, JumpReLU])
def test_other_activation_functions_too(kernels: Kernels, activation: type) -> None:
    weights, x_nd = problem(1)
    log_threshold = torch.full((N_FEATURES,), -0.3, dtype=torch.float64) if activation is JumpReLU else None
    weights = Weights(weights.W_enc, weights.b_enc, weights.W_dec, weights.b_dec, log_threshold)
    results = [
        MatryoshkaObjective(GROUPS, K, activation=activation(), kernels=one).step(weights, x_nd)
        for one in (REFERENCE, kernels)
    ]
    for name in NAMES:
        reference, found = (getattr(result.gradient, name) for result in results)
        torch.testing.assert_close(found, reference, rtol=1e-10, atol=1e-10, msg=name)


@each_sparse
def test_random_prefixes_with_an_empty_one(kernels: Kernels) -> None:
    """Widths of several processes that share the features may be equal, or zero."""
    weights, x_nd = problem(2)
    widths = (0, 9, 9, N_FEATURES)
    found, reference = (
        MatryoshkaObjective((1, 1, 1, 14), K, kernels=one).step(weights, x_nd, widths=widths)
        for one in (kernels, REFERENCE)
    )
    for name in NAMES:
        torch.testing.assert_close(
            getattr(found.gradient, name), getattr(reference.gradient, name), rtol=1e-10, atol=1e-10
        )


@each_sparse
def test_each_sum_is_the_sum_over_its_entries(kernels: Kernels) -> None:
    """The kernels one by one, in float32, against sums written out in float64; d is no power of two."""
    generator = torch.Generator().manual_seed(0)
    n_rows, n_features, d, widths = 9, 40, 37, (10, 40)
    flat = torch.randperm(n_rows * n_features, generator=generator)[:60].sort().values
    groups_f = (torch.arange(n_features) >= 10).long()
    pattern = pattern_of(flat, (n_rows, n_features), widths, groups_f)
    acts_m = torch.rand(60, generator=generator)
    W_dec, x_nd = torch.randn(n_features, d, generator=generator), torch.randn(n_rows, d, generator=generator)
    R_bd = torch.randn(pattern.n_bags, d, generator=generator)
    _, sparse = kernels.make()
    sums = sparse.sums(pattern, W_dec, acts_m)
    expected_bd = torch.zeros(pattern.n_bags, d, dtype=torch.float64)
    expected_bd.index_add_(0, pattern.bags_m, acts_m[:, None].double() * W_dec[pattern.features_m].double())
    torch.testing.assert_close(sums.values.double(), expected_bd, rtol=1e-5, atol=1e-5)
    dots_m = (R_bd[pattern.bags_m].double() * W_dec[pattern.features_m].double()).sum(1)
    torch.testing.assert_close(sums.weights_gradient(R_bd).double(), dots_m, rtol=1e-5, atol=1e-5)
    for found, table, index_m in (
        (sparse.decoder_gradient(pattern, R_bd, acts_m), R_bd, pattern.bags_m),
        (sparse.encoder_gradient(pattern, x_nd, acts_m), x_nd, pattern.rows_m),
    ):
        expected_fd = torch.zeros(n_features, d, dtype=torch.float64)
        expected_fd.index_add_(0, pattern.features_m, acts_m[:, None].double() * table[index_m].double())
        torch.testing.assert_close(found.double(), expected_fd, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("share", [0.02, 0.3, 1.5])
def test_screening_selects_what_the_full_product_selects(seed: int, share: float) -> None:
    """Whatever bfloat16 rounds, in rows of very different length, with fewer positive entries than wanted, and ties."""
    generator = torch.Generator().manual_seed(seed)
    n_rows, n_features, d = 24, 96, 64
    x_nd = torch.randn(n_rows, d, generator=generator, dtype=torch.float64)
    x_nd *= 10.0 ** torch.randint(-2, 2, (n_rows, 1), generator=generator)
    W_enc = torch.randn(n_features, d, generator=generator, dtype=torch.float64)
    W_enc[1::7] = W_enc[::7][: len(W_enc[1::7])]
    b_enc = 0.1 * torch.randn(n_features, generator=generator, dtype=torch.float64)
    b_enc[1::7] = b_enc[::7][: len(b_enc[1::7])]
    encoder, space = ScreeningEncoder(), Workspace()
    for _ in range(3):  # with the hint of the batch before, too
        pre_nf = encoder.encode(W_enc, b_enc, x_nd, space)
        full_nf = torch.addmm(b_enc, x_nd, W_enc.T)
        assert bool((pre_nf <= full_nf).all()), "lower bounds"
        assert bool((pre_nf + 2 * encoder._slack_n1 >= full_nf).all()), "upper bounds"
        found = encoder.select(BatchTopK(), pre_nf, share * n_features, None)
        # Rounding of sums decides ties of equal features; compare the values that were kept.
        reference = BatchTopK().select(full_nf, share * n_features)
        assert len(found.flat) == len(reference.flat)
        torch.testing.assert_close(found.values.sort().values, reference.values.sort().values, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(full_nf.view(-1)[found.flat], found.values, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(
            encoder.columns(pre_nf, torch.tensor([3, 5]), full_nf.new_empty(24, 2)), full_nf[:, [3, 5]]
        )
        x_nd = x_nd.flip(0)


def test_names_and_refusals() -> None:
    assert Kernels.named("bfloat16+dense") == Kernels("bfloat16", "dense")
    assert Kernels.named(REFERENCE.name) == REFERENCE
    for wrong in ("gather", "float32+", "float16+gather", "float32+gather+dense"):
        with pytest.raises(SAEError, match="kernels = "):
            Kernels.named(wrong)
    with pytest.raises(SAEError, match="screens for BatchTopK"):
        MatryoshkaObjective(GROUPS, K, activation=TopK(), kernels=Kernels("bfloat16"))
    assert "Triton" in str(unavailable(Kernels(sparse="triton"), torch.device("meta")))
