"""``interp train-sae --live``: from the model into the trainer, with a cached sample beside it."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from interp.run import Run
from interp.stages.cache import CacheConfig, cache
from interp.stages.eval_sae import EvalSAEConfig, eval_sae
from interp.stages.index import IndexConfig, index
from interp.stages.train_live import LiveConfig
from interp.stages.train_sae import TrainSAEConfig, train_sae
from radiology.errors import InputError

from .conftest import quiet

SITE = "language.2"
SOURCE = "phantom:n=24,seed=5"
LIVE = TrainSAEConfig(
    site=SITE,
    expansion=1,
    k=8,
    tokens=12_000,
    batch_size=512,
    live=LiveConfig((SOURCE,), pass_size=8, pool_rows=2000),
)


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose store holds the very studies that are also read live."""
    run = Run.create(tmp_path_factory.mktemp("live") / "run", ["interp", "cache"])
    cache(run, CacheConfig("phantom:random", (SOURCE,), (SITE,), max_new_tokens=8), quiet(), batch_size=8)
    return run


def test_an_sae_trained_live_is_as_good_as_from_the_disk(cached: Run) -> None:
    live = train_sae(cached, replace(LIVE, name="live"), quiet()).summary
    disk = train_sae(cached, replace(LIVE, name="disk", live=None), quiet()).summary
    assert "live" not in disk["config"]
    assert live["max_norm"] == disk["max_norm"]
    assert live["live"]["studies"] == 24
    assert live["live"]["left_out"] == 0
    explained = {}
    with cached.store as store:
        rows_nd = torch.from_numpy(store.read(SITE, store.select(roles="content").nonzero()[0]))
    for name in ("live", "disk"):
        sae = cached.sae_named(name)
        with torch.no_grad():
            rest_nd = rows_nd - sae.decode(sae.encode(rows_nd))
        explained[name] = 1 - float(rest_nd.square().sum() / (rows_nd - rows_nd.mean(0)).square().sum())
    assert explained["disk"] > 0.3
    assert explained["live"] == pytest.approx(explained["disk"], abs=0.05)


def test_later_stages_read_the_sample(cached: Run) -> None:
    train_sae(cached, replace(LIVE, name="late"), quiet())
    eval_sae(cached, EvalSAEConfig(name="late", findings=("cardiomegaly",), loss_studies=2, control=False), quiet())
    index(cached, IndexConfig(name="late", contexts_per_kind=2), quiet())
    assert (cached.sae_dir("late") / "evaluation.json").is_file()
    assert len(cached.features_of("late").frame) > 0


def test_a_stopped_training_ends_with_the_same_bits(cached: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from activations.live import LiveBatches

    train_sae(cached, replace(LIVE, name="whole", tokens=6000), quiet())
    given = LiveBatches.__call__

    def stopped_after_nine(self: LiveBatches, n_batches: int):  # type: ignore[no-untyped-def]
        for number, batch_nd in enumerate(given(self, n_batches)):
            if number == 9:
                raise KeyboardInterrupt
            yield batch_nd

    monkeypatch.setattr(LiveBatches, "__call__", stopped_after_nine)
    with pytest.raises(KeyboardInterrupt):
        train_sae(cached, replace(LIVE, name="parts", tokens=6000), quiet())
    monkeypatch.undo()
    train_sae(cached, replace(LIVE, name="parts", tokens=6000), quiet())
    whole, parts = ((cached.sae_dir(name) / "sae.safetensors").read_bytes() for name in ("whole", "parts"))
    assert whole == parts


def test_without_a_sample_it_says_what_to_do(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "r", ["interp"])
    with pytest.raises(InputError, match=r"interp cache --run .* first"):
        train_sae(run, LIVE, quiet())
    assert not (run.path / "sae").exists()


def test_roles_that_the_sample_lacks_are_refused(cached: Run) -> None:
    with pytest.raises(InputError, match="none of the cached sample's"):
        train_sae(cached, replace(LIVE, name="special", roles="special"), quiet())


def test_another_model_than_the_samples_is_refused(cached: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cached.model, "fingerprint", "another")
    with pytest.raises(InputError, match="not the one that the sample was cached from"):
        train_sae(cached, replace(LIVE, name="other"), quiet())


def test_a_broken_image_and_a_second_id_are_left_out_and_listed(cached: Run, own_images: Path) -> None:
    source = LiveConfig((f"folder:{own_images}", SOURCE, f"{SOURCE},start=1"), pass_size=4, pool_rows=2000)
    summary = train_sae(cached, replace(LIVE, name="own", tokens=12_000, live=source), quiet()).summary
    assert summary["live"]["left_out"] == 1 + 23
    assert summary["live"]["studies"] == 3 + 24 + 1
    with (cached.sae_dir("own") / "left-out.csv").open(newline="") as file:
        listed = list(csv.DictReader(file))
    assert len(listed) == 24
    assert [row["study_id"] for row in listed if "broken.png" in row["file"]] != [""]


@pytest.mark.long
def test_ctrl_c_leaves_a_training_that_goes_on(cached: Run) -> None:
    arguments = ["train-sae", "--run", str(cached.path), "--sae", "stopped", "--live", "--studies", SOURCE]
    arguments += ["--expansion", "1", "--k", "8", "--tokens", "6000", "--batch-size", "64", "--pool-rows", "500"]

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "interp", *arguments, "--pass-size", "2"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    process = start()
    log, deadline = cached.sae_dir("stopped") / "live-pools.jsonl", time.monotonic() + 60
    while not (log.is_file() and len(log.read_bytes().splitlines()) > 3) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.splitlines()[-1] == "Stopped; run the same command to go on."
    assert list((cached.sae_dir("stopped") / "checkpoints").iterdir())
    process = start()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "going on after step-" in err
    assert "last batch: variance explained" in out


def test_studies_without_live_are_a_usage_error(cached: Run) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "interp", "train-sae", "--run", str(cached.path), "--studies", SOURCE],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "--live" in done.stderr
    assert "Traceback" not in done.stderr
