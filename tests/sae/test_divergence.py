from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sae.config import SAEConfig, TrainConfig
from sae.divergence import EXPLODED, Watch, refuse_exploded
from sae.errors import SAEError
from sae.state import TrainingState
from sae.trainer import train

MakeBatches = Callable[..., Callable[[int], Iterator[torch.Tensor]]]
CONFIG = SAEConfig(d=16, n_features=64, k=4)
TRAIN = TrainConfig(n_tokens=40 * 256, batch_size=256, checkpoint_every=5, warmup_fraction=0.0)


def test_the_first_step_is_the_measure_and_survives_a_checkpoint() -> None:
    watch = Watch()
    assert watch.verdict(2.0, 3.0) is None
    other = Watch()
    other.restore(watch.numbers())
    for one in (watch, other):
        assert one.verdict(2.0 * EXPLODED, 3.0 * EXPLODED) is None
        assert one.verdict(2.1 * EXPLODED, 3.0) == "the loss became 2.1e+04, 1.05e+04 times that of the first step"
        assert "gradient" in (one.verdict(2.0, 3.1 * EXPLODED) or "")
    for loss, norm in ((float("nan"), 1.0), (float("inf"), 1.0), (1.0, float("nan"))):
        assert "became" in (Watch().verdict(loss, norm) or "")


def test_a_checkpoint_of_an_older_version_takes_its_next_step_as_the_measure() -> None:
    watch = Watch()
    watch.restore({"step": 7})
    assert watch.verdict(1e9, 1e9) is None
    assert watch.first_loss == 1e9


@pytest.mark.parametrize("grad_clip", [1.0, None])
def test_an_absurd_rate_stops_with_step_and_cause_before_a_bad_checkpoint(
    make_batches: MakeBatches, tmp_path: Path, grad_clip: float | None
) -> None:
    settings = replace(TRAIN, learning_rate=300.0, grad_clip=grad_clip, checkpoint_every=1)
    with pytest.raises(SAEError, match=r"step \d+: .*training diverged. Lower learning_rate \(now 3e\+02\)"):
        train(make_batches(), CONFIG, settings, tmp_path)
    assert not (tmp_path / "cfg.json").exists()
    assert not list(tmp_path.glob("checkpoints/*"))


def test_a_batch_with_outliers_is_blamed_and_leaves_the_state(make_batches: MakeBatches) -> None:
    state = TrainingState(CONFIG, TRAIN)
    batches = make_batches()(0)
    for _ in range(3):
        state.advance(next(batches), measure=False)
    before = {name: tensor.clone() for name, tensor in state.tensors().items()}
    spoiled_nd = next(batches).clone()
    spoiled_nd[:2] *= 1e4
    with pytest.raises(SAEError, match=r"step 3: the loss became .* 2 of 256 rows .* more than 50 times the median"):
        state.advance(spoiled_nd, measure=False)
    assert all(torch.equal(tensor, before[name]) for name, tensor in state.tensors().items())
    state.advance(next(batches), measure=False)


def test_a_gradient_that_overflows_under_a_finite_loss_is_caught(make_batches: MakeBatches) -> None:
    state = TrainingState(CONFIG, replace(TRAIN, normalize=False))
    with torch.no_grad():
        state.sae.W_enc.mul_(1e18)
    with pytest.raises(SAEError, match=r"step 0: the (loss|norm of the gradient) became"):
        state.advance(next(make_batches()(0)), measure=False)


def test_weights_that_are_not_worth_keeping() -> None:
    good = {"W_enc": 4.0, "b_enc": 0.0, "W_dec": 4.0, "b_dec": 0.0}
    refuse_exploded(9, good, 4, 1e-4)
    with pytest.raises(SAEError, match="step 9: b_enc holds NaN"):
        refuse_exploded(9, good | {"b_enc": float("nan")}, 4, 1e-4)
    with pytest.raises(SAEError, match=r"rows of W_enc have a norm of 2e\+03"):
        refuse_exploded(9, good | {"W_enc": 4 * 2e3**2}, 4, 1e-4)
