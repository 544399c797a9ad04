"""``interp store merge`` makes a run that the other commands cannot tell from one that was cached."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest

from interp import cli
from interp.plain import restored
from interp.progress import Reporter
from interp.run import Run
from interp.stages.base import Work
from interp.stages.cache import CacheConfig
from interp.stages.eval_sae import EvalSAEConfig, eval_sae
from interp.stages.index import IndexConfig, index

SITE = "language.1"


def cached(run: Path, *sources: str, more: tuple[str, ...] = ()) -> Path:
    studies = [part for source in sources for part in ("--studies", source)]
    arguments = ["cache", "--run", str(run), "--model", "phantom:random", *studies, "--site", SITE, *more]
    assert cli.run(arguments) == 0
    return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("runs")
    return cached(folder / "a", "phantom:n=5,seed=1"), cached(folder / "b", "phantom:n=4,seed=2")


@pytest.fixture(scope="module")
def merged(runs: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("merged") / "both"
    assert cli.run(["store", "merge", *map(str, runs), "--out", str(out)]) == 0
    return out


def test_it_is_the_run_of_one_command_over_all_sources(
    merged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = cached(tmp_path / "whole", "phantom:n=5,seed=1", "phantom:n=4,seed=2")
    ours, theirs = Run.open(merged), Run.open(whole)
    assert ours.study_index.frame["study_id"].tolist() == theirs.study_index.frame["study_id"].tolist()
    with ours.store as one, theirs.store as other:
        assert one.rows == other.rows
        for name in ("study", "position", "token_id", "role"):
            np.testing.assert_array_equal(one.column(name), other.column(name))
    settings, expected = ours.config_of("cache"), theirs.config_of("cache")
    assert {name: settings[name] for name in expected} == expected
    summary, other_summary = (dict(run.require("cache").summary) for run in (ours, theirs))
    for name in ("rows", "studies", "rows_by_role", "studies_by_source", "left_out", "out_of_world", "model"):
        assert summary[name] == other_summary[name]
    assert (merged / "left-out.csv").read_text() == (whole / "left-out.csv").read_text()
    assert [study.study_id for study in ours.studies] == ours.study_index.frame["study_id"].tolist()
    assert restored(CacheConfig, settings).merged_from
    capsys.readouterr()
    assert cli.run(["store", "verify", "--run", str(merged)]) == 0
    assert "sound" in capsys.readouterr().out


@pytest.mark.long
def test_it_can_be_trained_on_evaluated_and_indexed(merged: Path) -> None:
    run = ["--run", str(merged)]
    train = ["--expansion", "1", "--k", "4", "--tokens", "2000", "--batch-size", "512"]
    assert cli.run(["train-sae", *run, *train]) == 0
    made, work = Run.open(merged), Work(Reporter(io.StringIO()))
    with made.writing("the test"):
        eval_sae(made, EvalSAEConfig(findings=("cardiomegaly",), loss_studies=2), work)
        index(made, IndexConfig(contexts_per_kind=2), work)
    assert json.loads((merged / "sae" / "main" / "evaluation.json").read_text())["sae"] == "main"
    assert len(made.features_of("main")) > 0


def test_again_it_is_done_and_caching_over_it_is_refused(
    merged: Path, runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    before = (merged / "activations" / "manifest.json").stat().st_mtime_ns
    assert cli.run(["store", "merge", *map(str, runs), "--out", str(merged)]) == 0
    assert "done before" in capsys.readouterr().err
    assert (merged / "activations" / "manifest.json").stat().st_mtime_ns == before
    sources = ["--studies", "phantom:n=5,seed=1", "--studies", "phantom:n=4,seed=2"]
    assert cli.run(["cache", "--run", str(merged), "--model", "phantom:random", *sources, "--site", SITE]) == 2
    assert "merged_from" in capsys.readouterr().err


def test_inputs_are_never_written_and_what_differs_is_named(
    runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = map(str, runs)
    for out in (a, b):
        assert cli.run(["store", "merge", a, b, "--out", out, "--redo"]) == 2
        assert "is one of the runs to be merged" in capsys.readouterr().err
    assert cli.run(["store", "merge", a, str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "is not a run" in capsys.readouterr().err
    other = cached(tmp_path / "other", "phantom:n=2,seed=3", more=("--roles", "report"))
    capsys.readouterr()
    assert cli.run(["store", "merge", a, str(other), "--out", str(tmp_path / "out")]) == 2
    assert "roles differs" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_study_that_is_there_twice_is_refused_or_left_out_and_listed(
    runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = cached(tmp_path / "more", "phantom:n=7,seed=1")
    capsys.readouterr()
    command = ["store", "merge", str(runs[0]), str(more), "--out", str(tmp_path / "out")]
    assert cli.run(command) == 2
    assert "--skip-duplicates" in capsys.readouterr().err
    assert cli.run([*command, "--skip-duplicates"]) == 0
    assert "left out: 5 studies" in capsys.readouterr().out
    run = Run.open(tmp_path / "out")
    assert len(run.study_index.frame) == 7
    assert (tmp_path / "out" / "left-out.csv").read_text().count("study_id") == 6  # the head and five rows
    assert run.require("cache").summary["left_out"]["phantom:n=7,seed=1"] == 5


def test_reports_of_a_source_must_have_been_treated_alike(runs: tuple[Path, Path], tmp_path: Path) -> None:
    from dataclasses import replace

    from activations.merge_plan import plan
    from interp.plain import plain as plain_settings
    from interp.stages.merge import merged_config
    from radiology.errors import InputError

    inputs = [Run.open(path) for path in runs]
    planned = plan([run.activations_dir for run in inputs])
    stage = inputs[1].require("cache")
    config = restored(CacheConfig, stage.config)
    changed = replace(config, studies=("phantom:n=5,seed=1",), generated_sources=("phantom:n=5,seed=1",))
    cases = {
        "were read for .*a and ignored for .*b": changed,
        "model_dtype differs": replace(config, model_dtype="bfloat16"),
    }
    for message, other in cases.items():
        stage.config = plain_settings(other)
        with pytest.raises(InputError, match=message):
            merged_config(inputs, planned)
