"""Several processes give what one gives: the very selection, and weights up to the rounding of sums."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sae.config import SAEConfig, TrainConfig
from sae.errors import SAEError
from sae.member import Job
from sae.model import MatryoshkaSAE
from sae.parallel import ByFeatures, ByRows, parallel_of
from sae.peers import Peers
from sae.selection import select_largest
from sae.state import TrainingState
from sae.trainer import train, train_several

from .thread_peers import together

Batches = Callable[[int], Iterator[torch.Tensor]]
MakeBatches = Callable[..., Batches]
CONFIG = SAEConfig(d=16, n_features=66, k=4, groups=(6, 20, 40))
STEPS, ROWS = 12, 256
TRAIN = TrainConfig(
    n_tokens=STEPS * ROWS, batch_size=ROWS, checkpoint_every=5, log_every=4, dead_after_tokens=2 * ROWS, aux_k=3
)


def share(batches: Batches, rank: int, world: int) -> Batches:
    """What the reader of one process gives."""
    return lambda start: (batch_nd[rank::world] for batch_nd in batches(start))


def train_together(
    world: int, batches: Batches, job: Job, *, shard_features: bool = False, stop: int | None = None
) -> list[MatryoshkaSAE]:
    def work(peers: Peers) -> MatryoshkaSAE:
        own = share(batches, peers.rank, world)

        def limited(start: int) -> Iterator[torch.Tensor]:
            for step, batch_nd in enumerate(own(start), start):
                if step == stop:
                    raise OSError("stopped")
                yield batch_nd

        return train_several(limited, [job], peers=peers, shard_features=shard_features)[0]

    return together(world, work)


def close(one: MatryoshkaSAE, other: MatryoshkaSAE, tolerance: float = 2e-5) -> None:
    for name, tensor in one.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], tensor, rtol=tolerance, atol=tolerance)


# The selection, exactly


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(1, 6),
    k=st.floats(0.3, 6),
    world=st.integers(2, 3),
    hint=st.booleans(),
)
def test_the_choice_over_parts_is_the_choice_over_the_whole(
    seed: int, rows: int, k: float, world: int, hint: bool
) -> None:
    # Few different values, so that ties at the cut are the rule.
    generator = torch.Generator().manual_seed(seed)
    pre_nf = torch.randint(-3, 4, (rows * world, 7), generator=generator).float()
    count = max(1, round(k * len(pre_nf)))
    want = select_largest(pre_nf, count)
    mask = torch.zeros(pre_nf.numel(), dtype=torch.bool)
    mask[want.flat] = True

    def choose(peers: Peers, by_rows: bool) -> tuple[torch.Tensor, torch.Tensor | None]:
        parallel = ByRows(peers) if by_rows else ByFeatures(peers, 7)
        rule = parallel.activation(TrainingState(CONFIG, TRAIN).activation, 7)
        if hint:
            rule._hint = 1.0  # type: ignore[attr-defined]
        if by_rows:
            part_nf = pre_nf[peers.rank :: world]
            want_nf = mask.view_as(pre_nf)[peers.rank :: world]
        else:
            assert isinstance(parallel, ByFeatures)
            part_nf = pre_nf[:, parallel.first : parallel.last].contiguous()
            want_nf = mask.view_as(pre_nf)[:, parallel.first : parallel.last]
        found = rule.select(part_nf, k)
        have = torch.zeros(part_nf.numel(), dtype=torch.bool)
        have[found.flat] = True
        assert torch.equal(have.view_as(part_nf), want_nf)
        return found.flat, found.cut

    for by_rows in (True, False):
        for _, cut in together(world, lambda peers, by_rows=by_rows: choose(peers, by_rows)):  # type: ignore[misc]
            assert (cut is None) == (want.cut is None)
            assert cut is None or float(cut) == float(want.cut)  # type: ignore[arg-type]


# The training


@pytest.mark.parametrize("shard_features", [False, True])
@pytest.mark.parametrize(
    ("world", "changes"),
    [
        (2, {}),
        (3, {"batch_size": 255}),
        (2, {"prefixes": "random", "k_start": 8, "group_weights": (1.0, 2.0, 3.0)}),
        (2, {"prefix_loss": "sum", "normalize": False, "grad_clip": None, "b_dec_init": "geometric_median"}),
    ],
)
def test_several_processes_train_what_one_trains(
    make_batches: MakeBatches, tmp_path: Path, world: int, changes: dict[str, object], shard_features: bool
) -> None:
    config = replace(TRAIN, **changes)  # type: ignore[arg-type]
    batches = make_batches(rows=config.batch_size)
    alone = train(batches, CONFIG, config, tmp_path / "alone")
    job = Job(CONFIG, config, tmp_path / "several", {"site": "x"})
    several = train_together(world, batches, job, shard_features=shard_features)
    for sae in several:
        close(alone, sae)
        assert sae.extra == {"site": "x"}
    assert alone.training_config == several[0].training_config


@pytest.mark.parametrize("activation", ["topk", "jumprelu"])
def test_other_activation_functions_share_rows(make_batches: MakeBatches, tmp_path: Path, activation: str) -> None:
    config = replace(CONFIG, activation=activation)
    alone = train(make_batches(), config, TRAIN, tmp_path / "alone")
    for sae in train_together(2, make_batches(), Job(config, TRAIN, tmp_path / "several")):
        close(alone, sae)


def test_dead_features_are_revived_across_processes(make_batches: MakeBatches) -> None:
    # A law about nothing unless features are dead: make some so, and look at the auxiliary loss alone.
    def state(parallel_peers: Peers | None, shard: bool) -> TrainingState:
        one = TrainingState(CONFIG, TRAIN, parallel_of(parallel_peers, 66, shard))
        for feature in (1, 5, 30, 31, 32, 40, 50, 65):
            first = one.parallel.first if isinstance(one.parallel, ByFeatures) else 0
            if 0 <= feature - first < len(one.silent_tokens_f):
                one.silent_tokens_f[feature - first] = 10**6
                with torch.no_grad():
                    one.sae.b_enc[feature - first] = -0.05
        return one

    batches = make_batches()
    alone = state(None, False)
    losses = [alone.advance(batch, measure=True) for batch, _ in zip(batches(0), range(3), strict=False)]
    without = TrainingState(CONFIG, replace(TRAIN, aux_k=0))
    without_loss = without.advance(next(batches(0)), measure=True)
    assert losses[0] is not None
    assert without_loss is not None
    assert losses[0].loss != without_loss.loss

    for shard in (False, True):

        def work(peers: Peers, shard: bool = shard) -> tuple[list[object], dict[str, torch.Tensor]]:
            one = state(peers, shard)
            own = share(batches, peers.rank, 2)(0)
            found: list[object] = [one.advance(next(own), measure=True) for _ in range(3)]
            return found, one.tensors()

        (leading, tensors), (following, nothing) = together(2, work)
        assert leading == following
        assert not nothing
        for have, want in zip(leading, losses, strict=True):
            assert vars(have) == pytest.approx(vars(want), rel=1e-4)
        for name, tensor in alone.tensors().items():
            torch.testing.assert_close(tensors[name], tensor, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("begun", "ended"), [("rows", None), ("features", None), (None, "features"), ("features", "rows")]
)
def test_a_checkpoint_is_continued_by_any_number_of_processes(
    make_batches: MakeBatches, tmp_path: Path, begun: str | None, ended: str | None
) -> None:
    batches = make_batches()
    alone = train(batches, CONFIG, TRAIN, tmp_path / "alone")
    job = Job(CONFIG, TRAIN, tmp_path / "cut")

    def run(how: str | None, stop: int | None = None) -> MatryoshkaSAE:
        if how is not None:
            return train_together(2, batches, job, shard_features=how == "features", stop=stop)[0]
        cut = (batch for step, batch in enumerate(batches(0)) if stop is None or step < stop or _fail())
        return train(batches if stop is None else lambda start: cut, CONFIG, TRAIN, job.out_dir)

    with pytest.raises(OSError, match="stopped"):
        run(begun, stop=8)
    assert [path.name for path in job.out_dir.glob("checkpoints/*")] == ["step-000000005.safetensors"]
    close(alone, run(ended))


def _fail() -> bool:
    raise OSError("stopped")


def test_a_bad_row_in_one_part_is_told_by_all(make_batches: MakeBatches) -> None:
    batch_nd = next(make_batches()(0)).clone()
    batch_nd[1, 3] = float("nan")

    def work(peers: Peers) -> str:
        state = TrainingState(CONFIG, TRAIN, ByRows(peers))
        state.advance(next(make_batches()(0))[peers.rank :: 2], measure=False)
        with pytest.raises(SAEError) as caught:
            state.advance(batch_nd[peers.rank :: 2], measure=False)
        return str(caught.value)

    one, other = together(2, work)
    assert one == other
    assert "step 1: 1 of 256 rows of the batch hold NaN" in one


def test_what_cannot_be_shared_is_refused(make_batches: MakeBatches) -> None:
    def refused(config: SAEConfig, train_config: TrainConfig, shard: bool) -> str:
        def work(peers: Peers) -> None:
            state = TrainingState(config, train_config, parallel_of(peers, config.n_features, shard))
            state.advance(next(make_batches()(0))[:85], measure=False)

        with pytest.raises(SAEError) as caught:
            together(2, work)
        return str(caught.value)

    assert "batch_size = 255: must be a multiple of the 2 processes" in refused(
        CONFIG, replace(TRAIN, batch_size=255), False
    )
    assert "only batch_topk can share its features" in refused(replace(CONFIG, activation="topk"), TRAIN, True)
    assert "only batch_topk can share its features" in refused(replace(CONFIG, activation="jumprelu"), TRAIN, True)
    assert "too few to share" in refused(SAEConfig(d=16, n_features=1, k=1), TRAIN, True)
    with pytest.raises(SAEError, match="start several with torchrun"):
        parallel_of(None, 66, True)
