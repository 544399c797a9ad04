"""An SAE that another tool trained, brought in and used; and what is said where it cannot be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch

from interp import cli
from interp.run import Run

SITE = "language.2"


@pytest.fixture(scope="module")
def run_copy(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("copy") / "r"
    # No control: nothing can be trained the way an imported SAE was.
    shutil.copytree(tiny_run.path, target, ignore=shutil.ignore_patterns("control"))
    return target


@pytest.fixture
def theirs(tiny_run: Run, tmp_path: Path) -> Path:
    """The run's own SAE as dictionary_learning's BatchTopK class holds one, with decoder columns of norm 2."""
    sae = tiny_run.sae
    state = {
        "k": torch.tensor(8, dtype=torch.int),
        "threshold": sae.threshold.clone(),
        "encoder.weight": sae.W_enc.detach().clone(),
        "encoder.bias": sae.b_enc.detach().clone(),
        "decoder.weight": (2 * sae.W_dec.detach()).T.contiguous(),
        "b_dec": sae.b_dec.detach().clone(),
    }
    folder = tmp_path / "theirs"
    folder.mkdir()
    torch.save(state, folder / "ae.pt")
    (folder / "config.json").write_text(json.dumps({"trainer": {"dict_class": "BatchTopKSAE", "k": 8}}))
    return folder


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = cli.run(list(arguments))
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_an_imported_sae_is_evaluated_and_indexed_like_any_other(
    run_copy: Path, theirs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ("--run", str(run_copy))
    status, out, err = call(capsys, "import", *run, "--from", str(theirs), "--site", SITE, "--sae", "theirs")
    assert status == 0, err
    own = Run.open(run_copy).sae
    assert f"{own.n_features} features of width {own.d} at {SITE}; k 8, groups {own.n_features}" in out
    assert "note: decoder rows had norms from 2 to 2" in out

    status, out, err = call(capsys, "eval-sae", *run, "--sae", "theirs", "--loss-studies", "0")
    assert status == 0, err
    assert "cardiomegaly" in out
    status, out, err = call(capsys, "index", *run, "--sae", "theirs", "--contexts", "2")
    assert status == 0, err
    opened = Run.open(run_copy)
    features = pd.read_parquet(opened.features_dir("theirs") / "features.parquet")
    before = pd.read_parquet(opened.features_dir() / "features.parquet")
    # The same directions with twice the activations.
    fired = before["max_activation"] > 0
    ratio = features.loc[fired, "max_activation"] / before.loc[fired, "max_activation"]
    assert fired.any()
    assert ratio.between(1.99, 2.01).all()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda folder: (folder / "ae.pt").unlink(), "holds no autoencoder"),
        (lambda folder: (folder / "config.json").unlink(), "BatchTopKSAE or an AutoEncoderTopK"),
        (
            lambda folder: torch.save(
                {**torch.load(folder / "ae.pt"), "threshold": torch.tensor(-1.0)}, folder / "ae.pt"
            ),
            "threshold is -1: it was never set",
        ),
    ],
)
def test_what_cannot_be_used_ends_with_one_message(
    run_copy: Path, theirs: Path, capsys: pytest.CaptureFixture[str], spoil: object, reason: str
) -> None:
    assert callable(spoil)
    spoil(theirs)
    before = set(run_copy.rglob("*"))
    arguments = ("--run", str(run_copy), "--from", str(theirs), "--site", SITE, "--sae", "spoiled")
    status, out, err = call(capsys, "import", *arguments)
    assert (status, out) == (2, "")
    assert reason in err
    assert "Traceback" not in err
    assert set(run_copy.rglob("*")) == before
