"""The evaluation as a whole: two seeds beside their controls, what is printed, and what older files look like."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from interp.cli import app
from interp.evaluation.stability import differing, other_seeds
from interp.evaluation.tables import evaluation_tables
from interp.plain import plain
from interp.progress import Reporter
from interp.run import Run
from interp.stages.base import Work
from interp.stages.eval_sae import EvalSAEConfig, discard_older, eval_sae
from interp.stages.train_sae import train_sae
from interp.tables import console
from radiology.errors import InputError

FINDINGS = ("pleural_effusion:left", "lung_nodule:left", "pacemaker")


@pytest.fixture(scope="module")
def seeded(tiny_run: Run, tiny_config: Any, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A copy of the tiny run with a second seed, evaluated against it from the command line."""
    folder = tmp_path_factory.mktemp("seeded") / "run"
    shutil.copytree(tiny_run.path, folder)
    run = Run.open(folder)
    with run.writing("a test"):
        train_sae(run, replace(tiny_config.sae, name="main-s1", seed=1), Work(Reporter(io.StringIO())))
    return Run.open(folder)


@pytest.fixture(scope="module")
def printed(seeded: Run) -> str:
    command = ["eval-sae", "--run", str(seeded.path), "--loss-studies", "4", "--report-studies", "2", "--make-control"]
    for finding in FINDINGS:
        command += ["--finding", finding]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def content(seeded: Run, printed: str) -> dict[str, Any]:
    return dict(json.loads((seeded.sae_dir() / "evaluation.json").read_text()))


def test_every_figure_has_an_interval_around_it(content: dict[str, Any]) -> None:
    quality = content["reconstruction"]
    rows = [quality, *quality["by_role"].values(), *quality["by_prefix"], content["control"]["reconstruction"]]
    for row in rows:
        for name in ("variance_explained", "l0"):
            assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]
    for way in content["reports"]["ways"].values():
        assert way["same_findings_low"] <= way["same_findings"] <= way["same_findings_high"]
    for row in content["truth"] + content["sparse"]:
        if row["auroc"] is not None:
            assert row["low"] <= row["auroc"] <= row["high"]
            assert row["gain"] == pytest.approx(row["auroc"] - row["random"])


def test_roles_and_prefixes_add_up(content: dict[str, Any]) -> None:
    quality = content["reconstruction"]
    assert sum(role["tokens"] for role in quality["by_role"].values()) == quality["tokens"]
    assert quality["by_prefix"][-1]["variance_explained"] == quality["variance_explained"]
    assert {"dead_share", "dense_share"} <= set(quality["by_prefix"][0]) & set(quality["by_role"]["image"])
    assert quality["by_prefix"][-1]["features"] == 128


def test_the_second_seed_is_found_and_stands_beside_its_control(content: dict[str, Any]) -> None:
    found = content["stability"]
    assert found["saes"] == ["main-s1"]
    assert found["pairs"][0]["differs_in"] == []
    assert found["low"] <= found["cosine"] <= found["high"]
    assert 0 < found["chance"] < found["cosine"]
    assert found["random"]["saes"] == ["main-s1"]
    assert found["features"] == sum(value is not None for value in found["cosine_by_feature"])
    assert sum(group["features"] for group in found["by_group"]) == found["features"]


def test_absorption_looks_at_concepts_and_their_sub_forms(content: dict[str, Any]) -> None:
    rows = {row["finding"]: row for row in content["absorption"]}
    assert "pleural_effusion" in rows
    row = rows["pleural_effusion"]
    assert row["split"] == len(row["main"]) >= 1
    assert row["absorbed"] <= row["silent"] <= row["n"]
    assert row["random"] is not None


def test_the_terminal_shows_the_control_beside_every_figure(printed: str) -> None:
    for part in ("the same on random weights", "By token role", "Reports with SAE", "best 5", "Splitting", "Stability"):
        assert part in printed


def test_without_a_control_the_command_that_makes_it_is_named(seeded: Run, content: dict[str, Any]) -> None:
    assert content["control_command"] is None
    bare = {**content, "control": None, "control_command": "interp eval-sae --run RUN --sae main --make-control"}
    out = console()
    with out.capture() as captured:
        for made in evaluation_tables([bare], "runs/x", whole=True):
            out.print(made)
    shown = " ".join(captured.get().split())
    assert "not measured" in shown
    assert "interp eval-sae --run runs/x --sae main --make-control" in shown


def test_files_of_version_1_are_still_printed() -> None:
    figures = {"variance_explained": 0.9, "l0": 3.0, "dead_share": 0.1, "dense_share": 0.2, "by_role": {}}
    row = {"finding": "x", "tokens": "image", "pool": "max", "feature": 3, "auroc": 0.9, "low": 0.8, "high": 1.0}
    row |= {"probe": 0.9, "random": None, "random_low": None, "random_high": None, "positives": 3, "negatives": 4}
    mean = {"auroc": 0.9, "probe": 0.9, "random": None, "random_probe": None, "n_findings": 1}
    old = {"sae": "main", "site": "language.2", "reconstruction": figures, "control": None, "truth": [row]}
    out = console()
    with out.capture() as captured:
        for made in evaluation_tables([{**old, "summary": {"image": mean}}], "runs/x", whole=True):
            out.print(made)
    assert "0.900 (0.80–1.00)" in captured.get()


def test_an_older_evaluation_is_made_anew(seeded: Run, content: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(seeded.path, folder)
    run = Run.open(folder)
    discard_older(run, "main")
    assert run.is_done("eval-sae:main")
    (run.sae_dir() / "evaluation.json").write_text(json.dumps({**content, "version": 1}))
    discard_older(run, "main")
    assert not run.is_done("eval-sae:main")


def test_settings_that_came_later_leave_older_hashes_alone() -> None:
    assert set(plain(EvalSAEConfig())) == {
        "name", "findings", "token_sets", "seed", "reconstruction_tokens", "loss_studies", "control"
    }  # fmt: skip


def test_only_the_seed_may_differ(seeded: Run) -> None:
    assert other_seeds(seeded, "main") == ("main-s1",)
    assert differing({"k": 1, "seed": 0, "name": "a"}, {"k": 2, "seed": 1, "name": "b"}) == ["k"]
    with pytest.raises(InputError, match="is the SAE itself"):
        eval_sae(seeded, EvalSAEConfig(seeds_of=("main",)), Work())
    with pytest.raises(InputError, match="main-s7"):
        eval_sae(seeded, EvalSAEConfig(seeds_of=("main-s7",)), Work())
