"""Kernels are measured once, at the start; what was chosen is written down, and kept when a training goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sae.checkpoint import load_checkpoint, newest_checkpoint
from sae.config import SAEConfig, TrainConfig
from sae.errors import SAEError
from sae.kernels import REFERENCE, Kernels, unavailable
from sae.kernels.choice import Choice, candidates, choose_kernels
from sae.member import KERNELS_FILE, Job
from sae.model import MatryoshkaSAE
from sae.trainer import train, train_several

from .thread_peers import together

CPU = torch.device("cpu")
DENSE = Kernels("float32", "dense")
CONFIG = SAEConfig(d=16, n_features=64, k=4)
STEPS, ROWS = 12, 64
TRAIN = TrainConfig(n_tokens=STEPS * ROWS, batch_size=ROWS, checkpoint_every=4, dead_after_tokens=2 * ROWS)
MakeBatches = Callable[..., Callable[[int], Iterator[torch.Tensor]]]


def same_bits(one: MatryoshkaSAE, other: MatryoshkaSAE) -> bool:
    left, right = one.state_dict(), other.state_dict()
    return all(torch.equal(left[name], right[name]) for name in left)


def test_the_fastest_that_agrees_is_chosen() -> None:
    among = [kernels for kernels in candidates(screening=True) if kernels.sparse != "triton"]
    reference, dense, screened, both = among

    def step(kernels: Kernels) -> Sequence[torch.Tensor]:
        if kernels == dense:
            raise RuntimeError("no memory\nand a long story")
        time.sleep({reference: 0.05, screened: 0.01, both: 0.0}[kernels])
        off = 1.1 if kernels == both else 1.0
        return [torch.tensor(2.0), torch.full((3,), off)]

    choice = choose_kernels(step, among, CPU, {"B": 1})
    assert choice.kernels == screened
    trials = {trial.kernels: trial for trial in choice.trials}
    assert trials[dense.name].refused == "RuntimeError: no memory"
    assert "a gradient differs by 1.0e-01" in str(trials[both.name].refused)
    assert trials[reference.name].refused is None
    assert (trials[both.name].seconds, trials[dense.name].seconds) == (None, None)
    assert "kernels bfloat16+gather on cpu" in choice.words()
    json.dumps(choice.to_dict(), allow_nan=True)


def test_what_cannot_run_here_is_said() -> None:
    def step(kernels: Kernels) -> Sequence[torch.Tensor]:
        return [torch.tensor(1.0), torch.ones(2)]

    missing = unavailable(Kernels(sparse="triton"), torch.device("meta"))
    choice = choose_kernels(step, candidates(screening=False), torch.device("meta"), {})
    assert [trial.kernels for trial in choice.trials] == ["float32+gather", "float32+dense", "float32+triton"]
    assert choice.trials[-1].refused == missing is not None


def test_a_measured_training_writes_down_all_that_was_measured(make_batches: MakeBatches, tmp_path: Path) -> None:
    notes: list[str] = []
    measured = replace(TRAIN, kernels="measured")
    sae = train(make_batches(rows=ROWS), CONFIG, measured, tmp_path, progress=lambda *news: notes.append(news[2]))
    written = json.loads((tmp_path / KERNELS_FILE).read_text())
    assert written["shape"] == {"B": ROWS, "F": 64, "d": 16, "k": 4}
    trials = {trial["kernels"]: trial for trial in written["trials"]}
    assert set(trials) == {kernels.name for kernels in candidates(screening=True)}
    ran = [trial for trial in trials.values() if trial["refused"] is None]
    assert {"float32+gather", "float32+dense", "bfloat16+gather"} <= {trial["kernels"] for trial in ran}
    assert all(trial["difference"] < 1e-4 for trial in ran)
    fastest = min(ran, key=lambda trial: trial["seconds"])["kernels"]
    assert written["kernels"] == fastest == sae.extra.get("kernels", REFERENCE.name)
    assert any(note.startswith(f"kernels {fastest} on cpu") for note in notes)
    # The same bits as with the kernels asked for by name.
    named = train(make_batches(rows=ROWS), CONFIG, replace(TRAIN, kernels=fastest), tmp_path / "named")
    assert same_bits(sae, named)
    assert not (tmp_path / "named" / KERNELS_FILE).exists()


def test_a_training_goes_on_with_what_it_began_with(
    make_batches: MakeBatches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = replace(TRAIN, kernels="measured")
    monkeypatch.setattr("sae.state.measured_kernels", lambda *_: Choice(DENSE, "cpu", {}, ()))

    def cut(start: int) -> Iterator[torch.Tensor]:
        for step, batch_nd in enumerate(make_batches(rows=ROWS)(start), start):
            if step == 6:
                raise KeyboardInterrupt
            yield batch_nd

    with pytest.raises(KeyboardInterrupt):
        train(cut, CONFIG, measured, tmp_path / "cut")
    newest = newest_checkpoint(tmp_path / "cut" / "checkpoints")
    assert newest is not None
    assert load_checkpoint(newest).numbers["kernels"] == DENSE.name

    def never(*_: object) -> Choice:
        raise AssertionError("measured again")

    monkeypatch.setattr("sae.state.measured_kernels", never)
    went_on = train(make_batches(rows=ROWS), CONFIG, measured, tmp_path / "cut")
    assert went_on.extra["kernels"] == DENSE.name
    whole = train(make_batches(rows=ROWS), CONFIG, replace(TRAIN, kernels=DENSE.name), tmp_path / "whole")
    assert same_bits(went_on, whole)


def test_other_kernels_are_refused_when_a_training_goes_on(make_batches: MakeBatches, tmp_path: Path) -> None:
    train(make_batches(rows=ROWS), CONFIG, replace(TRAIN, kernels=DENSE.name), tmp_path)
    with pytest.raises(SAEError, match=r"train\.kernels = 'float32\+dense'"):
        train(make_batches(rows=ROWS), CONFIG, TRAIN, tmp_path)


@pytest.mark.parametrize("kernels", ["gather", "float64+gather", "float32+sparse", "", 3])
def test_names_that_mean_nothing_are_refused(kernels: object) -> None:
    with pytest.raises(SAEError, match="kernels = "):
        replace(TRAIN, kernels=kernels)  # type: ignore[arg-type]


@pytest.mark.parametrize("shard_features", [False, True])
def test_several_processes_use_what_the_first_has_found(
    make_batches: MakeBatches, tmp_path: Path, shard_features: bool
) -> None:
    job = Job(CONFIG, replace(TRAIN, kernels="measured"), tmp_path / "two")
    batches = make_batches(rows=ROWS)

    def work(peers: object) -> MatryoshkaSAE:
        rank = peers.rank  # type: ignore[attr-defined]
        own = lambda start: (batch_nd[rank::2] for batch_nd in batches(start))  # noqa: E731
        return train_several(own, [job], peers=peers, shard_features=shard_features)[0]  # type: ignore[arg-type]

    two, _ = together(2, work)
    written = json.loads((tmp_path / "two" / KERNELS_FILE).read_text())
    assert all(trial["kernels"].startswith("float32+") for trial in written["trials"])
    one = train(batches, CONFIG, TRAIN, tmp_path / "one")
    for name, tensor in one.state_dict().items():
        torch.testing.assert_close(two.state_dict()[name], tensor, rtol=2e-4, atol=2e-4)
