from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from sae.config import SAEConfig, TrainConfig
from sae.errors import SAEError
from sae.evaluation import reconstruction
from sae.metrics import SCHEMA
from sae.model import MatryoshkaSAE
from sae.trainer import train

Batches = Callable[[int], Iterator[torch.Tensor]]
MakeBatches = Callable[..., Batches]
CONFIG = SAEConfig(d=16, n_features=64, k=4)
STEPS, ROWS = 24, 256
TRAIN = TrainConfig(
    n_tokens=STEPS * ROWS, batch_size=ROWS, checkpoint_every=7, log_every=5, dead_after_tokens=3 * ROWS, aux_k=4
)


def same_bits(one: MatryoshkaSAE, other: MatryoshkaSAE) -> bool:
    left, right = one.state_dict(), other.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def stopping(batches: Batches, after: int, stop: Callable[[], None]) -> Batches:
    """The same batches, with `stop` called when `after` of them are consumed."""

    def positioned(start: int) -> Iterator[torch.Tensor]:
        for step, batch in enumerate(batches(start), start):
            if step == after:
                stop()
            yield batch

    return positioned


def interrupt() -> None:
    raise KeyboardInterrupt


def fail() -> None:
    raise OSError("the disk is gone")


def test_a_finished_folder_holds_everything_and_is_loaded_at_once(make_batches: MakeBatches, tmp_path: Path) -> None:
    sae = train(make_batches(), CONFIG, TRAIN, tmp_path, extra={"site": "language.15"})
    assert {path.name for path in tmp_path.iterdir()} == {
        "cfg.json",
        "sae.safetensors",
        "metrics.parquet",
        "checkpoints",
        "tensorboard",
    }
    assert not list(tmp_path.rglob("*.tmp"))

    def untouched(start: int) -> Iterator[torch.Tensor]:
        raise AssertionError("a finished run asks for no batch")

    again = train(untouched, CONFIG, TRAIN, tmp_path)
    assert same_bits(sae, again)
    assert again.extra == {"site": "language.15"}
    assert again.training_config == TRAIN.to_dict()


def test_the_log_has_its_columns_and_every_row_once(make_batches: MakeBatches, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(stopping(make_batches(), 13, interrupt), CONFIG, TRAIN, tmp_path)
    train(make_batches(), CONFIG, TRAIN, tmp_path)
    table = pq.read_table(tmp_path / "metrics.parquet")
    assert table.schema.equals(SCHEMA)
    assert table["step"].to_pylist() == [5, 10, 15, 20, 24]
    assert table["tokens"].to_pylist() == [ROWS * step for step in (5, 10, 15, 20, 24)]
    assert all(0 <= share <= 1 for share in table["dead_share"].to_pylist())


@pytest.mark.parametrize("after", [1, 7, 13, 23])
def test_an_interrupted_run_ends_with_the_bits_of_an_uninterrupted_one(
    make_batches: MakeBatches, tmp_path: Path, after: int
) -> None:
    whole = train(make_batches(), CONFIG, TRAIN, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(stopping(make_batches(), after, interrupt), CONFIG, TRAIN, tmp_path / "cut")
    assert not (tmp_path / "cut" / "cfg.json").exists()
    asked: list[int] = []

    def batches(start: int) -> Iterator[torch.Tensor]:
        asked.append(start)
        return make_batches()(start)

    assert same_bits(train(batches, CONFIG, TRAIN, tmp_path / "cut"), whole)
    assert asked == [after]


@pytest.mark.parametrize(
    ("shape", "changes"),
    [
        ({}, {"prefix_loss": "sum", "b_dec_init": "geometric_median", "normalize": False, "grad_clip": None}),
        ({}, {"aux_k": 0, "warmup_fraction": 0.0, "decay_fraction": 0.0, "threshold_beta": 0.5, "seed": 3}),
        ({}, {"prefixes": "random", "group_weights": (1.0, 2.0, 3.0, 4.0, 5.0)}),
        ({}, {"k_start": 12, "k_anneal_fraction": 0.9, "learning_rate": 1e-3, "aux_alpha": 1.0}),
        ({"activation": "topk"}, {"kernels": "float32+dense"}),
        ({}, {"kernels": "bfloat16+gather"}),
        ({"activation": "jumprelu"}, {"jumprelu_bandwidth": 0.1}),
        ({"dtype": "bfloat16", "groups": (64,)}, {"dead_after_tokens": None, "aux_k": None}),
    ],
)
def test_every_option_survives_an_interruption_bit_for_bit(
    make_batches: MakeBatches, tmp_path: Path, shape: dict[str, object], changes: dict[str, object]
) -> None:
    config, settings = replace(CONFIG, **shape), replace(TRAIN, **changes)  # type: ignore[arg-type]
    whole = train(make_batches(), config, settings, tmp_path / "whole")
    for stop, error in ((interrupt, KeyboardInterrupt), (fail, OSError)):
        with pytest.raises(error):
            train(stopping(make_batches(), 11, stop), config, settings, tmp_path / error.__name__)
        assert same_bits(train(make_batches(), config, settings, tmp_path / error.__name__), whole)
    logs = [pq.read_table(path / "metrics.parquet").to_pandas() for path in sorted(tmp_path.iterdir())]
    assert all(log.drop(columns="tokens_per_s").equals(logs[0].drop(columns="tokens_per_s")) for log in logs)


def test_the_options_above_are_all_options() -> None:
    # A field that came later must be thought of here: it may hold state, or draw numbers.
    tested = {"prefix_loss", "b_dec_init", "normalize", "grad_clip", "aux_k", "aux_alpha", "warmup_fraction"}
    tested |= {"decay_fraction", "threshold_beta", "seed", "prefixes", "group_weights", "k_start", "k_anneal_fraction"}
    tested |= {"learning_rate", "jumprelu_bandwidth", "jumprelu_sparsity", "dead_after_tokens", "kernels"}
    without_state = {"n_tokens", "batch_size", "log_every", "checkpoint_every", "keep_checkpoints", "device"}
    assert {field.name for field in fields(TrainConfig)} == tested | without_state


def test_a_killed_run_goes_on_from_its_newest_checkpoint(make_batches: MakeBatches, tmp_path: Path) -> None:
    whole = train(make_batches(), CONFIG, TRAIN, tmp_path / "whole")
    with pytest.raises(OSError, match="the disk is gone"):
        train(stopping(make_batches(), 17, fail), CONFIG, TRAIN, tmp_path / "cut")
    names = sorted(path.name for path in (tmp_path / "cut" / "checkpoints").iterdir())
    assert names == ["step-000000007.safetensors", "step-000000014.safetensors"]
    assert same_bits(train(make_batches(), CONFIG, TRAIN, tmp_path / "cut"), whole)


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_signals_take_effect_after_a_step_and_a_checkpoint(
    make_batches: MakeBatches, tmp_path: Path, number: signal.Signals, error: type[BaseException]
) -> None:
    before = signal.getsignal(number)
    with pytest.raises(error):
        train(stopping(make_batches(), 9, lambda: os.kill(os.getpid(), number)), CONFIG, TRAIN, tmp_path)
    assert signal.getsignal(number) == before
    assert (tmp_path / "checkpoints" / "step-000000010.safetensors").exists()


def test_another_configuration_is_refused_by_field(make_batches: MakeBatches, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(stopping(make_batches(), 9, interrupt), CONFIG, TRAIN, tmp_path)
    with pytest.raises(SAEError, match=r"sae\.k = 4, now 5"):
        train(make_batches(), replace(CONFIG, k=5), TRAIN, tmp_path)
    with pytest.raises(SAEError, match=r"train\.seed = 0, now 1"):
        train(make_batches(), CONFIG, replace(TRAIN, seed=1), tmp_path)
    train(make_batches(), CONFIG, replace(TRAIN, checkpoint_every=100), tmp_path)
    with pytest.raises(SAEError, match=r"cfg\.json was made with train\.n_tokens"):
        train(make_batches(), CONFIG, replace(TRAIN, n_tokens=1), tmp_path)
    fresh = train(make_batches(), CONFIG, replace(TRAIN, n_tokens=ROWS), tmp_path, resume=False)
    assert fresh.training_config is not None
    assert fresh.training_config["n_tokens"] == ROWS


def test_batches_that_end_early_are_an_error_that_keeps_the_work(make_batches: MakeBatches, tmp_path: Path) -> None:
    def short(start: int) -> Iterator[torch.Tensor]:
        for _, batch in zip(range(start, 11), make_batches()(start), strict=False):
            yield batch

    with pytest.raises(SAEError, match=f"ended after {11 * ROWS} tokens, n_tokens = {STEPS * ROWS}"):
        train(short, CONFIG, TRAIN, tmp_path)
    assert (tmp_path / "checkpoints" / "step-000000011.safetensors").exists()


def test_progress_runs_from_start_to_end(make_batches: MakeBatches, tmp_path: Path) -> None:
    calls: list[tuple[int, int, str]] = []
    train(make_batches(), CONFIG, TRAIN, tmp_path, progress=lambda *call: calls.append(call))
    assert calls[0] == (0, STEPS * ROWS, "starting")
    assert calls[-1][:2] == (STEPS * ROWS, STEPS * ROWS)
    assert "variance explained" in calls[-1][2]
    assert [done for done, _, _ in calls] == sorted(done for done, _, _ in calls)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_type_of_the_weights_is_the_one_asked_for(make_batches: MakeBatches, tmp_path: Path, dtype: str) -> None:
    sae = train(make_batches(), replace(CONFIG, dtype=dtype), replace(TRAIN, n_tokens=4 * ROWS), tmp_path)
    assert sae.W_enc.dtype == getattr(torch, dtype)
    assert same_bits(MatryoshkaSAE.load(tmp_path), sae)


def test_a_planted_dictionary_is_recovered(
    make_batches: MakeBatches, planted: Callable[[int, int, int], torch.Tensor], tmp_path: Path
) -> None:
    batches = make_batches(d=32, n_true=64, k=3, rows=512, seed=3)
    config = SAEConfig(d=32, n_features=128, k=3, groups=(32, 32, 64))
    settings = TrainConfig(n_tokens=512 * 900, batch_size=512, learning_rate=3e-3)
    sae = train(batches, config, settings, tmp_path)
    cosine_tf = planted(64, 32, 3) @ sae.W_dec.detach().T
    assert float(cosine_tf.max(dim=1).values.mean()) > 0.8
    quality = reconstruction(sae, [batch for batch, _ in zip(batches(10_000), range(4), strict=False)])
    assert quality["variance_explained"] > 0.8
    assert abs(quality["l0"] - 3) < 1
