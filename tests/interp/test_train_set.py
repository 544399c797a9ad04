"""``interp train-sae --k … --seed …``: several SAEs, one reading, a stage each."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from interp import cli
from interp.run import Run
from interp.stages.cache import CacheConfig, cache
from interp.stages.train_sae import TrainSAEConfig, train_sae, train_saes
from radiology.errors import InputError
from sae import SAEError

from .conftest import quiet

SITE = "language.2"
BASE = TrainSAEConfig(site=SITE, expansion=1, tokens=8_000, batch_size=256)


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with cached activations, to be copied."""
    run = Run.create(tmp_path_factory.mktemp("set") / "run", ["interp", "cache"])
    cache(run, CacheConfig("phantom:random", ("phantom:n=12,seed=5",), (SITE,), max_new_tokens=8), quiet())
    return run.path


@pytest.fixture
def run(cached: Path, tmp_path: Path) -> Run:
    shutil.copytree(cached, tmp_path / "run")
    return Run.open(tmp_path / "run")


def weights(run: Run, name: str) -> bytes:
    return (run.sae_dir(name) / "sae.safetensors").read_bytes()


def test_names_and_seeds() -> None:
    one = BASE.members([8], [3])
    assert [(config.name, config.k, config.seed, config.data_seed) for config in one] == [("main", 8, 3, None)]
    four = BASE.members([4, 8], [3, 5])
    assert [(config.name, config.k, config.seed, config.data_seed) for config in four] == [
        ("main-k4-s3", 4, 3, None),
        ("main-k4-s5", 4, 5, 3),
        ("main-k8-s3", 8, 3, None),
        ("main-k8-s5", 8, 5, 3),
    ]
    assert {config.order_seed for config in four} == {3}
    assert BASE.members([8], [1], 0)[0].order_seed == 0
    assert "data_seed" not in four[0].settings()  # which keeps the hash of a run that never heard of it


def test_the_command_reads_once_and_each_is_as_if_alone(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from activations import ActivationStore

    given, read = ActivationStore._stream, [0]

    def counted(self: ActivationStore, *arguments: object, **named: object) -> Iterator[torch.Tensor]:
        for batch_nd in given(self, *arguments, **named):  # type: ignore[arg-type]
            read[0] += 1
            yield batch_nd

    monkeypatch.setattr(ActivationStore, "_stream", counted)
    fixed = ["train-sae", "--run", str(run.path), "--expansion", "1", "--tokens", "8000", "--batch-size", "256"]
    assert cli.run([*fixed, "--k", "4,8", "--seed", "0,1"]) == 0
    assert read == [-(-8000 // 256)]
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == [
        f"'main-k{k}-s{seed}':" for k in (4, 8) for seed in (0, 1)
    ]
    assert cli.run([*fixed, "--sae", "alone", "--k", "8", "--seed", "1", "--data-seed", "0"]) == 0
    assert weights(run, "alone") == weights(run, "main-k8-s1") != weights(run, "main-k8-s0")
    stages = json.loads((run.path / "run.json").read_text())["stages"]
    assert {name: stage["state"] for name, stage in stages.items() if name.startswith("train")} == {
        f"train-sae:{name}": "done" for name in ("main-k4-s0", "main-k4-s1", "main-k8-s0", "main-k8-s1", "alone")
    }
    assert stages["train-sae:main-k8-s1"]["summary"]["config"]["data_seed"] == 0
    # Another k joins those that are there.
    capsys.readouterr()
    assert cli.run([*fixed, "--k", "4,8,16", "--seed", "0,1"]) == 0
    assert "'main-k8-s1' at language.2: done before" in capsys.readouterr().err


def test_a_stopped_set_goes_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from activations import ActivationStore

    configs = BASE.members([4, 8], [0])
    train_saes(run, [replace(config, name=f"whole-{config.k}") for config in configs], quiet())
    given = ActivationStore._stream

    def stopped(self: ActivationStore, *arguments: object) -> Iterator[torch.Tensor]:
        for number, batch_nd in enumerate(given(self, *arguments)):  # type: ignore[arg-type]
            if number == 11:
                raise KeyboardInterrupt
            yield batch_nd

    monkeypatch.setattr(ActivationStore, "_stream", stopped)
    with pytest.raises(KeyboardInterrupt):
        train_saes(run, configs, quiet())
    stages = Run.open(run.path).record.stages
    assert {(stages[config.stage].state, stages[config.stage].error) for config in configs} == {("pending", "stopped")}
    monkeypatch.undo()
    train_saes(run, configs, quiet())
    assert all(weights(run, config.name) == weights(run, f"whole-{config.k}") for config in configs)


def test_one_that_diverges_is_recorded_and_the_others_are_done(run: Run) -> None:
    good, wild = BASE.members([4, 8], [0])
    wild = replace(wild, learning_rate=300.0)
    with pytest.raises(SAEError, match=r"1 of 2 SAEs failed\. main-k8-s0: step \d+: .* diverged"):
        train_saes(run, [wild, good], quiet())
    stages = Run.open(run.path).record.stages
    assert (stages[good.stage].state, stages[wild.stage].state) == ("done", "failed")
    assert "diverged" in (stages[wild.stage].error or "")


def test_other_settings_are_refused_before_any_stage_is_touched(run: Run) -> None:
    first, second = BASE.members([4, 8], [0])
    train_sae(run, second, quiet())
    with pytest.raises(InputError, match="tokens: 8000 → 9000"):
        train_saes(run, [replace(one, tokens=9000) for one in (first, second)], quiet())
    assert run.stage(first.stage) is None
    with pytest.raises(InputError, match="of one reading"):
        train_saes(run, [first, replace(second, tokens=9000)], quiet())


@pytest.mark.parametrize("option", [["--k", "4,4"], ["--k", "0"], ["--seed", "-1"], ["--k", "4,x"], ["--seed", ""]])
def test_lists_that_make_no_sense_are_usage_errors(
    run: Run, option: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["train-sae", "--run", str(run.path), *option]) == 2
    assert option[0] in capsys.readouterr().err


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_the_command_saves_first(run: Run, number: signal.Signals, status: int) -> None:
    arguments = ["train-sae", "--run", str(run.path), "--k", "4,8", "--tokens", "100000000", "--expansion", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "interp", *arguments, "--batch-size", "64"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 60
    while not list(run.path.glob("sae/*/tensorboard/*")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == status, err
    assert err.splitlines()[-1] == "Stopped; run the same command to go on."
    assert "Traceback" not in err
    assert not out
    steps = {path.name for path in run.path.glob("sae/*/checkpoints/*")}
    assert len(steps) == 1  # both at the very same step
    stages = json.loads((run.path / "run.json").read_text())["stages"]
    assert {stage["error"] for name, stage in stages.items() if name.startswith("train")} == {"stopped"}
