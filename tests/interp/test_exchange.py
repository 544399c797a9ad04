"""SAEs of other tools brought into a run, used, and written for others again; and what is said where they cannot be."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
    return write(tmp_path / "theirs", state, {"dict_class": "BatchTopKSAE", "k": 8})


def write(folder: Path, state: dict[str, torch.Tensor], trainer: dict[str, Any]) -> Path:
    folder.mkdir(parents=True)
    torch.save(state, folder / "ae.pt")
    (folder / "config.json").write_text(json.dumps({"trainer": trainer, "buffer": {"ctx_len": 1}}))
    return folder


def released(folder: Path, d: int, expansion: int) -> Path:
    """A folder in the shape of microsoft/maira-2-sae: Matryoshka groups, the largest first."""
    n = d * expansion
    rows_fd = torch.randn(n, d, generator=torch.Generator().manual_seed(expansion))
    rows_fd /= rows_fd.norm(dim=1, keepdim=True)
    sizes = [n // 2, n // 4, n // 8, n // 16, n // 16]
    state = {
        "k": torch.tensor(16, dtype=torch.int),
        "threshold": torch.tensor(0.5),
        "group_sizes": torch.tensor(sizes),
        "W_enc": rows_fd.T.contiguous(),
        "b_enc": torch.full((n,), -0.1),
        "W_dec": rows_fd,
        "b_dec": torch.full((d,), 0.2),
    }
    trainer = {"dict_class": "MatryoshkaBatchTopKSAE", "activation_dim": d, "dict_size": n, "k": 16}
    return write(folder, state, {**trainer, "group_sizes": sizes, "layer": 15, "lm_name": "microsoft/maira-2"})


def call(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    status = cli.run([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_an_imported_sae_is_indexed_like_any_other(
    run_copy: Path, theirs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ("--run", run_copy, "--sae", "theirs")
    status, out, err = call(capsys, "import", *run, "--from", theirs, "--site", SITE)
    assert status == 0, err
    own = Run.open(run_copy).sae
    assert f"{own.n_features} features of width {own.d} at {SITE}; k 8, groups {own.n_features}" in out
    assert "note: decoder rows had norms from 2 to 2" in out

    status, out, err = call(capsys, "index", *run, "--contexts", "2")
    assert status == 0, err
    opened = Run.open(run_copy)
    features = pd.read_parquet(opened.features_dir("theirs") / "features.parquet")
    before = pd.read_parquet(opened.features_dir() / "features.parquet")
    # The same directions with twice the activations.
    fired = before["max_activation"] > 0
    ratio = features.loc[fired, "max_activation"] / before.loc[fired, "max_activation"]
    assert fired.any()
    assert ratio.between(1.99, 2.01).all()


def test_from_a_copy_of_the_hub_into_a_run_and_out_again(
    run_copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub, d = tmp_path / "models--microsoft--maira-2-sae", Run.open(run_copy).sae.d
    source = released(hub / "snapshots" / "0a1b" / "x2", d, 2)
    released(hub / "snapshots" / "0a1b" / "x4", d, 4)
    imported = ("import", "--run", run_copy, "--site", SITE, "--sae", "maira", "--from")
    status, _, err = call(capsys, *imported, hub)
    assert status == 2
    assert "holds 2 autoencoders in folders of its own; give one of: snapshots/0a1b/x2, snapshots/0a1b/x4" in err

    status, out, err = call(capsys, *imported, source)
    assert status == 0, err
    assert f"{2 * d} features of width {d} at {SITE}; k 16, groups {d}/{d // 2}/{d // 4}/{d // 8}/{d // 8}" in out
    assert f"note: the file says that it reads language.15 of microsoft/maira-2; here it reads {SITE} of" in out

    exported = ("export", "--run", run_copy, "--sae", "maira")
    status, out, err = call(capsys, *exported, "--to", "dictionary-learning", "--out", tmp_path / "out")
    assert status == 0, err
    assert "as MatryoshkaBatchTopKSAE; open it there with dictionary_learning.utils.load_dictionary(" in out
    back, state = (torch.load(folder / "ae.pt", weights_only=True) for folder in (tmp_path / "out", source))
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in state.items())
    configs = [json.loads((folder / "config.json").read_text()) for folder in (tmp_path / "out", source)]
    assert configs[0] == configs[1]


@pytest.mark.parametrize("tool", ["saelens", "dictionary-learning"])
def test_an_own_sae_comes_back_as_it_went_out(
    run_copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], tool: str
) -> None:
    folder, name = tmp_path / "out", f"back-from-{tool}"
    status, _, err = call(capsys, "export", "--run", run_copy, "--to", tool, "--out", folder)
    assert status == 0, err
    status, out, err = call(capsys, "import", "--run", run_copy, "--from", folder, "--site", SITE, "--sae", name)
    assert status == 0, err
    assert "note:" not in out
    run = Run.open(run_copy)
    for file in ("cfg.json", "sae.safetensors"):
        assert (run.sae_dir(name) / file).read_bytes() == (run.sae_dir() / file).read_bytes()

    status, out, err = call(capsys, "export", "--run", run_copy, "--to", tool, "--out", folder)
    assert (status, out) == (2, "")
    assert "there is something already; choose a new or an empty folder" in err
    status, out, err = call(capsys, "export", "--run", run_copy, "--to", tool, "--out", tmp_path / "b", "--sae", "no")
    assert (status, out) == (2, "")
    assert "has no SAE named 'no'; it has" in err


def change(**tensors: torch.Tensor) -> Callable[[Path], None]:
    return lambda folder: torch.save({**torch.load(folder / "ae.pt"), **tensors}, folder / "ae.pt")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda folder: shutil.rmtree(folder), "does not exist"),
        (lambda folder: (folder / "ae.pt").unlink(), "holds no autoencoder"),
        (lambda folder: (folder / "ae.pt").write_bytes(b"no torch file"), "was not opened, because that could run"),
        (lambda folder: (folder / "config.json").unlink(), "BatchTopKSAE or an AutoEncoderTopK"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json is not valid JSON"),
        (
            lambda folder: (folder / "config.json").write_text('{"trainer": {"dict_class": "GatedAutoEncoder"}}'),
            "Gated",
        ),
        (
            lambda folder: (folder / "config.json").write_text('{"trainer": {"dict_class": "BatchTopKSAE", "k": 9}}'),
            "k is 9, but the weights in ae.pt have 8; take both files from one export",
        ),
        (change(threshold=torch.tensor(-1.0)), "threshold is -1: it was never set"),
        (change(b_dec=torch.full((128,), float("nan"))), "b_dec holds 128 NaN"),
        (
            lambda folder: shutil.copytree(released(folder.parent / "wide", 192, 2), folder, dirs_exist_ok=True),
            f"--site {SITE}: its residuals have width 128, the SAE in",
        ),
    ],
)
def test_what_cannot_be_used_ends_with_one_message(
    run_copy: Path, theirs: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], object], reason: str
) -> None:
    spoil(theirs)
    before = set(run_copy.rglob("*"))
    arguments = ("--run", run_copy, "--from", theirs, "--site", SITE, "--sae", "spoiled")
    status, out, err = call(capsys, "import", *arguments)
    assert (status, out) == (2, "")
    assert reason in err
    assert len(err.strip().splitlines()) == 1
    assert set(run_copy.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--site", SITE, "--sae", "main"), "has an SAE named 'main' already; choose another --sae"),
        (("--site", SITE, "--sae", "../main"), "'../main' must be a plain name of a folder"),
        (("--site", "language.15"), "site 'language.15' is not stored; stored are"),
        (("--site", SITE, "--roles", "noise"), "roles: 'noise' is neither a token role"),
        ((), "say which cached site the SAE reads"),
    ],
)
def test_an_import_that_does_not_fit_the_run_is_refused(
    run_copy: Path, theirs: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], reason: str
) -> None:
    before = set(run_copy.rglob("*"))
    status, out, err = call(capsys, "import", "--run", run_copy, "--from", theirs, *arguments)
    assert (status, out) == (2, "")
    assert reason in err
    assert set(run_copy.rglob("*")) == before
