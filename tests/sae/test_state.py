from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from sae.config import SAEConfig, TrainConfig
from sae.errors import SAEError
from sae.start import geometric_median
from sae.state import TrainingState

MakeBatches = Callable[..., Callable[[int], Iterator[torch.Tensor]]]
CONFIG = SAEConfig(d=16, n_features=64, k=4)


def settings(**fields: object) -> TrainConfig:
    return TrainConfig(**{"n_tokens": 10_000, "batch_size": 256, **fields})  # type: ignore[arg-type]


def run(state: TrainingState, batches: Iterator[torch.Tensor], steps: int) -> TrainingState:
    for _ in range(steps):
        state.advance(next(batches), measure=False)
    return state


def test_decoder_rows_stay_of_norm_one(make_batches: MakeBatches) -> None:
    state = run(TrainingState(CONFIG, settings()), make_batches()(0), 10)
    torch.testing.assert_close(state.sae.W_dec.norm(dim=1), torch.ones(64))


def test_dead_counts_tokens_not_steps(make_batches: MakeBatches) -> None:
    # The same 1,024 tokens in 4 or in 16 batches, with features that can never fire.
    shares = []
    for rows in (256, 64):
        state = TrainingState(CONFIG, settings(dead_after_tokens=1024, aux_k=0))
        with torch.no_grad():
            state.sae.b_enc[:10] = -1e6
        batches = make_batches(rows=rows)(0)
        run(state, batches, 1024 // rows - 1)
        assert state.dead_share() == 0
        run(state, batches, 1)
        assert int((state.silent_tokens_f == 1024).sum()) >= 10
        shares.append(state.dead_share())
    assert min(shares) >= 10 / 64


def test_the_auxiliary_loss_reaches_dead_features_only_when_they_are_dead(make_batches: MakeBatches) -> None:
    for dead_after, moves in ((256, True), (10**6, False)):
        state = TrainingState(CONFIG, settings(dead_after_tokens=dead_after, aux_k=4, warmup_fraction=0.0))
        with torch.no_grad():
            # Feature 0 comes close, but other features are always larger.
            state.sae.W_enc[0] *= 1e-3
            state.sae.b_enc[0] = 1e-3
        batches = make_batches()(0)
        run(state, batches, 1)
        before_d = state.sae.W_enc[0].clone()
        run(state, batches, 3)
        assert bool((state.sae.W_enc[0] != before_d).any()) == moves


def test_the_threshold_starts_from_the_first_cut_and_then_follows(make_batches: MakeBatches) -> None:
    cuts, state = [], TrainingState(CONFIG, settings(threshold_beta=0.75))
    original = state._follow_threshold

    def record(cut: torch.Tensor | None) -> None:
        assert cut is not None
        cuts.append(float(cut))
        original(cut)

    state._follow_threshold = record  # type: ignore[method-assign]
    batches = make_batches()(0)
    run(state, batches, 1)
    assert float(state.sae.threshold) == cuts[0]
    run(state, batches, 2)
    expected = 0.75 * (0.75 * cuts[0] + 0.25 * cuts[1]) + 0.25 * cuts[2]
    assert float(state.sae.threshold) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("b_dec_init", ["mean", "geometric_median"])
def test_the_scale_of_the_data_only_scales_the_biases(make_batches: MakeBatches, b_dec_init: str) -> None:
    # A power of two scales floats without rounding, so the law holds to the bit.
    one, other = (
        run(TrainingState(CONFIG, settings(b_dec_init=b_dec_init)), make_batches(scale=scale)(0), 8).finished()
        for scale in (1.0, 64.0)
    )
    assert torch.equal(other.W_enc, one.W_enc)
    assert torch.equal(other.W_dec, one.W_dec)
    for name in ("b_enc", "b_dec", "threshold"):
        assert torch.equal(getattr(other, name), 64 * getattr(one, name))


def test_without_normalizing_the_first_b_dec_is_the_mean(make_batches: MakeBatches) -> None:
    state = TrainingState(CONFIG, settings(normalize=False))
    x_nd = next(make_batches()(0)) + 3
    with torch.no_grad():
        state._start_from(x_nd)
    assert state.input_scale == 1
    torch.testing.assert_close(state.sae.b_dec.detach(), x_nd.mean(0))


def test_the_geometric_median_resists_outliers() -> None:
    x_nd = torch.randn(101, 3, generator=torch.Generator().manual_seed(0))
    spoiled_nd = torch.cat([x_nd, torch.full((20, 3), 1e3)])
    assert float((geometric_median(spoiled_nd) - geometric_median(x_nd)).norm()) < 1
    assert float((spoiled_nd.mean(0) - x_nd.mean(0)).norm()) > 100
    assert torch.equal(geometric_median(torch.ones(4, 2)), torch.ones(2))


def test_outliers_in_the_first_batch_are_reported(make_batches: MakeBatches) -> None:
    x_nd = next(make_batches()(0))
    x_nd[0] *= 1e4
    with pytest.warns(UserWarning, match="1 of 256 rows"):
        TrainingState(CONFIG, settings()).advance(x_nd, measure=False)


def test_bad_batches_are_refused_with_the_reason(make_batches: MakeBatches) -> None:
    state = TrainingState(CONFIG, settings())
    for bad in (torch.zeros(4, 15), torch.zeros(0, 16), torch.zeros(257, 16), torch.zeros(16)):
        with pytest.raises(SAEError, match=r"must be \(B, 16\) with B from 1 to batch_size \(256\)"):
            state.advance(bad, measure=False)
    with pytest.raises(SAEError, match="nothing to learn"):
        state.advance(torch.ones(8, 16), measure=False)
    with pytest.raises(SAEError, match="k = None"):
        TrainingState(SAEConfig(d=16, n_features=64, k=None), settings())


def test_nan_is_blamed_on_the_data_or_on_the_rate_and_leaves_the_state(make_batches: MakeBatches) -> None:
    state = run(TrainingState(CONFIG, settings()), make_batches()(0), 2)
    before = {name: tensor.clone() for name, tensor in state.tensors().items()}
    x_nd = next(make_batches()(0))
    x_nd[3, 2] = float("nan")
    with pytest.raises(SAEError, match="step 2: 1 of 256 rows of the batch hold NaN"):
        state.advance(x_nd, measure=False)
    assert all(torch.equal(tensor, before[name]) for name, tensor in state.tensors().items())
    with torch.no_grad():
        state.sae.W_dec.fill_(1e30)
    with pytest.raises(SAEError, match=r"step 2: the loss became .* Lower learning_rate"):
        state.advance(next(make_batches()(0)), measure=False)
