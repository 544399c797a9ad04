"""Single commands on a run that is there: each does its stage again and prints what came of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from autointerp.latent_cache import read_latents
from autointerp.neuronpedia import read_activations
from interp import cli
from interp.run import Run


@pytest.fixture(scope="module")
def run_copy(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("copy") / "r"
    shutil.copytree(tiny_run.path, target)
    return target


def call(capsys: pytest.CaptureFixture[str], run: Path, *arguments: str) -> str:
    status = cli.run([arguments[0], "--run", str(run), *arguments[1:], "--debug"])
    captured = capsys.readouterr()
    assert status == 0, captured.err
    return captured.out


def test_explaining_two_features_keeps_the_labels_of_the_others(
    run_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Run.open(run_copy).labels_dir() / "explanations.parquet"
    before = pd.read_parquet(path)
    assert "of 2 labels name" in call(capsys, run_copy, "explain", "--feature", "1", "--feature", "2")
    pd.testing.assert_frame_equal(pd.read_parquet(path), before)


@pytest.mark.usefixtures("short_reports")
def test_explaining_by_pushing(run_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Run.open(run_copy)
    frame = run.features.frame
    feature = int(frame[frame["mean_map"].notna() & ~frame["dead"]]["feature"].iloc[0])
    options = ("--explainer", "steer", "--feature", str(feature), "--push-studies", "1", "--push-strength", "8")
    assert "of 1 labels name" in call(capsys, run_copy, "explain", *options)
    labels = pd.read_parquet(run.labels_dir() / "explanations.parquet")
    (row,) = labels[labels["explainer"] == "steer"].to_dict("records")
    assert (row["feature"], row["modality"], row["n_firing"], row["n_quiet"]) == (feature, "text", 1, 1)
    assert row["label"] != "cannot be pushed"


def test_scoring(run_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "labels scored" in call(capsys, run_copy, "score")


def test_evaluating(run_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = call(capsys, run_copy, "eval-sae", "--finding", "cardiomegaly", "--loss-studies", "0")
    assert "cardiomegaly" in shown
    assert "pacemaker" not in shown


def test_tracing(run_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = call(capsys, run_copy, "trace", "--finding", "pacemaker", "--pairs", "1", "--site", "language.2")
    assert "language.2" in shown
    assert set(pd.read_parquet(run_copy / "trace" / "causal_map.parquet")["key"]) == {"pacemaker"}


def test_steering_one_feature_from_the_command_line(run_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Run.open(run_copy)
    frame = run.features.frame
    feature = int(frame[frame["mean_map"].notna() & ~frame["dead"]]["feature"].iloc[0])
    options = (
        "--finding",
        "cardiomegaly",
        "--studies",
        "2",
        "--random",
        "1",
        "--strength",
        "1",
        "--max-new-tokens",
        "4",
    )
    shown = call(capsys, run_copy, "steer", "--feature", str(feature), *options, "--name", "mine")
    assert f"feature {feature}" in " ".join(shown.split())
    effects = pd.read_parquet(run.steering_dir("main", "mine") / "effects.parquet")
    assert set(effects["control"]) == {"unsteered", "none", "random", "wrong_sign", "equal_rate"}


def test_labels_go_out_and_come_back(run_copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(capsys, run_copy, "export", "--to", "delphi", "--out", str(tmp_path / "labels"))
    arguments = ("--labels", str(tmp_path / "labels"), "--sae", "main", "--explainer", "theirs")
    assert "labels of explainer 'theirs'" in call(capsys, run_copy, "import", *arguments)
    labels = pd.read_parquet(Run.open(run_copy).labels_dir() / "explanations.parquet")
    ours, theirs = (
        labels[labels["explainer"] == name].set_index("feature")["label"] for name in ("contrast", "theirs")
    )
    assert (theirs == ours.loc[theirs.index]).all()
    assert "labels scored" in call(capsys, run_copy, "score", "--explainer", "theirs")


def test_what_fires_goes_out_for_other_tools(
    run_copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = call(capsys, run_copy, "export", "--to", "delphi", "--out", str(tmp_path / "d"), "--studies", "3")
    assert "activations of 3 studies in latents/language.2" in shown
    assert read_latents(tmp_path / "d" / "latents" / "language.2").tokens.shape[0] == 3
    shown = call(capsys, run_copy, "export", "--to", "neuronpedia", "--out", str(tmp_path / "n"), "--studies", "3")
    assert f"; {len(read_activations(tmp_path / 'n'))} sentences in activations/" in shown


def test_words_of_credentialed_studies_go_nowhere(
    run_copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "r"
    shutil.copytree(run_copy, run)
    studies = pq.read_table(run / "studies.parquet")
    at = studies.column_names.index("terms")
    terms = pa.array(["credentialed"] * len(studies), studies.schema.types[at])
    pq.write_table(studies.set_column(at, studies.schema.field(at), terms), run / "studies.parquet")
    for tool in ("delphi", "neuronpedia"):
        out = ["--to", tool, "--out", str(tmp_path / tool), "--studies", "3"]
        assert cli.run(["export", "--run", str(run), *out]) == 2
        assert "all studies of the run are credentialed" in capsys.readouterr().err
        assert not (tmp_path / tool).exists()


def test_the_dashboard_of_a_run_in_one_file(run_copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = call(capsys, run_copy, "dashboard", "--export", str(tmp_path / "d.html"))
    assert "128 features" in shown
    assert (tmp_path / "d.html").stat().st_size > 100_000


def test_training_anew_makes_later_stages_stale(run_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--site", "language.2", "--expansion", "1", "--k", "8", "--batch-size", "1024")
    status = cli.run(["train-sae", "--run", str(run_copy), *options, "--tokens", "2000"])
    assert status == 2
    assert "tokens: 20000 → 2000" in capsys.readouterr().err
    assert "128 features" in call(capsys, run_copy, "train-sae", *options, "--tokens", "2000", "--redo")
    run = Run.open(run_copy)
    assert not run.is_done("index:main")
    assert not run.labels_dir().exists()
    assert cli.run(["explain", "--run", str(run_copy)]) == 2
    assert "Run `interp index --run" in capsys.readouterr().err
