"""Options of ``interp train-sae`` that make the recipe: recorded, part of the resume check, the same on every way."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from interp import cli
from interp.run import Run
from interp.stages.cache import CacheConfig, cache
from interp.stages.train_sae import TrainSAEConfig
from sae import MatryoshkaSAE, SAEError, TrainConfig

from .conftest import quiet

SITE = "language.2"
FIXED = ("--expansion", "1", "--k", "8", "--tokens", "4000", "--batch-size", "256", "--groups", ".25,.25,.5")
#: Every option of the recipe, with what it has to become in the trainer's configuration.
RECIPE: tuple[tuple[str, str, str, Any], ...] = (
    ("--prefix-loss", "sum", "prefix_loss", "sum"),
    ("--group-weights", "1,2,3", "group_weights", (1.0, 2.0, 3.0)),
    ("--prefixes", "random", "prefixes", "random"),
    ("--k-start", "16", "k_start", 16),
    ("--k-anneal", ".5", "k_anneal_fraction", 0.5),
    ("--threshold-beta", ".9", "threshold_beta", 0.9),
    ("--aux-k", "7", "aux_k", 7),
    ("--aux-alpha", ".2", "aux_alpha", 0.2),
    ("--dead-after", "600", "dead_after_tokens", 600),
    ("--warmup", ".1", "warmup_fraction", 0.1),
    ("--decay", ".3", "decay_fraction", 0.3),
    ("--grad-clip", "0", "grad_clip", None),
    ("--b-dec-init", "geometric_median", "b_dec_init", "geometric_median"),
    ("--kernels", "float32+dense", "kernels", "float32+dense"),
)
OPTIONS = [word for flag, value, _, _ in RECIPE for word in (flag, value)] + ["--no-normalize"]
EXPECTED = {field: value for _, _, field, value in RECIPE} | {"normalize": False}


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with cached activations, to be copied."""
    run = Run.create(tmp_path_factory.mktemp("options") / "run", ["interp", "cache"])
    cache(run, CacheConfig("phantom:random", ("phantom:n=6,seed=5",), (SITE,), max_new_tokens=8), quiet())
    return run.path


@pytest.fixture
def run(cached: Path, tmp_path: Path) -> Path:
    shutil.copytree(cached, tmp_path / "run")
    return tmp_path / "run"


def command(run: Path, *options: str) -> int:
    return cli.run(["train-sae", "--run", str(run), *FIXED, *options])


def trained_with(run: Path, name: str) -> TrainConfig:
    settings = json.loads((run / "sae" / name / "cfg.json").read_text())
    found = MatryoshkaSAE.load(run / "sae" / name).training_config
    assert found is not None
    assert settings
    return TrainConfig.from_dict(found)


def recorded(run: Path, name: str) -> dict[str, Any]:
    stage = json.loads((run / "run.json").read_text())["stages"][f"train-sae:{name}"]
    found: dict[str, Any] = stage["summary"]["config"]
    return found


def test_every_option_reaches_the_trainer_and_is_recorded(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(run, *OPTIONS, "--dtype", "bfloat16", "--log-every", "5") == 0
    config = trained_with(run, "main")
    assert {name: getattr(config, name) for name in EXPECTED} == EXPECTED
    assert config.log_every == 5
    assert MatryoshkaSAE.load(run / "sae" / "main").config.dtype == "bfloat16"
    written = {name: list(value) if isinstance(value, tuple) else value for name, value in EXPECTED.items()}
    assert recorded(run, "main")["training"] == written
    assert recorded(run, "main")["dtype"] == "bfloat16"
    # The same command again finds it done, another value is refused by name.
    capsys.readouterr()
    assert command(run, *OPTIONS, "--dtype", "bfloat16", "--log-every", "7") == 0
    assert "done before" in capsys.readouterr().err
    changed = [".25" if word == ".2" else word for word in OPTIONS]
    assert command(run, *changed, "--dtype", "bfloat16") == 2
    assert "aux_alpha" in capsys.readouterr().err


def test_several_and_live_take_the_same_options(run: Path) -> None:
    assert command(run, *OPTIONS, "--sae", "set", "--seed", "0,1") == 0
    assert command(run, *OPTIONS, "--sae", "live", "--live", "--studies", "phantom:n=6,seed=5", "--pass-size", "3") == 0
    for name in ("set-k8-s0", "set-k8-s1", "live"):
        config = trained_with(run, name)
        assert {field: getattr(config, field) for field in EXPECTED} == EXPECTED, name
        assert recorded(run, name)["training"]["prefixes"] == "random"


def test_measured_kernels_are_said_and_recorded(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(run, "--kernels", "measured") == 0
    summary = json.loads((run / "run.json").read_text())["stages"]["train-sae:main"]["summary"]
    chosen = summary["kernels"]["kernels"]
    assert f"trained with kernels {chosen}" in capsys.readouterr().err
    assert json.loads((run / "sae" / "main" / "kernels.json").read_text()) == summary["kernels"]
    # Anew with kernels that need no measuring: nothing of it is left.
    assert command(run, "--redo") == 0
    assert not (run / "sae" / "main" / "kernels.json").exists()


def test_jumprelu_has_options_of_its_own(run: Path) -> None:
    options = ("--activation", "jumprelu", "--jumprelu-bandwidth", ".05", "--jumprelu-sparsity", "2")
    assert command(run, *options) == 0
    config = trained_with(run, "main")
    assert (config.jumprelu_bandwidth, config.jumprelu_sparsity) == (0.05, 2.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--k-anneal", ".5"), "--k-start, which is not given"),
        (("--jumprelu-sparsity", "2"), "belongs to --activation jumprelu"),
        (("--threshold-beta", ".9", "--activation", "topk"), "belongs to --activation batch_topk"),
        (("--aux-alpha", ".1", "--aux-k", "0"), "which --aux-k 0 turns off"),
        (("--group-weights", "1,x"), "give numbers"),
        (("--group-weights", "1,2"), "one for each of the 3 groups"),
        (("--prefixes", "some"), "'fixed' or 'random'"),
        (("--warmup", ".6", "--decay", ".6"), "at most 1"),
        (("--k-start", "9000"), "at most n_features (128)"),
        (("--dtype", "float8"), "one of float32, bfloat16, float16"),
        (("--kernels", "fast"), "auto, measured, or one of"),
        (("--kernels", "bfloat16+gather", "--activation", "topk"), "screens for BatchTopK"),
        (("--b-dec-init", "zero"), "'mean' or 'geometric_median'"),
    ],
)
def test_what_cannot_be_is_one_message(
    run: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], message: str
) -> None:
    assert command(run, *options) == 2
    err = " ".join(capsys.readouterr().err.split())
    assert message in err
    assert err.count("Error:") == 1
    assert not (run / "sae" / "main" / "cfg.json").exists()


def test_a_default_that_is_said_aloud_changes_no_hash() -> None:
    plain = TrainSAEConfig(site=SITE)
    aloud = TrainSAEConfig(site=SITE, training={"aux_alpha": 1 / 32, "prefixes": "fixed", "group_weights": ()})
    assert aloud.settings() == plain.settings()
    assert "training" not in plain.settings()
    with pytest.raises(SAEError, match=r"training\.seed"):
        TrainSAEConfig(site=SITE, training={"seed": 3})
