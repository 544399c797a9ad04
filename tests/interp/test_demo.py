"""The whole way on a tiny configuration: everything is written, nothing is done twice, own images are marked."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import interp
from interp.demo import DemoConfig
from interp.demo_report import OUT_OF_WORLD, print_report
from interp.pipeline import own_image_ids, run_demo
from interp.progress import Reporter
from interp.run import Run
from interp.stages.base import Work
from radiology.errors import InputError


def test_every_stage_is_done_and_recorded(tiny_run: Run) -> None:
    record = json.loads((tiny_run.path / "run.json").read_text())
    assert record["kind"] == "interp-run"
    assert {name.split(":")[0] for name in record["stages"]} == {
        "cache", "trace", "train-sae", "eval-sae", "index", "explain", "score", "steer", "dashboard"
    }  # fmt: skip
    assert all(stage["state"] == "done" for stage in record["stages"].values())
    assert all((tiny_run.path / out).exists() for stage in record["stages"].values() for out in stage["outputs"])
    assert "<html" in tiny_run.dashboard_path.read_text()[:2000].lower()


@pytest.fixture
def run_copy(tiny_run: Run, tmp_path: Path) -> Run:
    """For what could write into a run: other processes read the one that all share."""
    return Run.open(shutil.copytree(tiny_run.path, tmp_path / "r"))


def test_nothing_is_done_twice(run_copy: Run, tiny_config: DemoConfig, own_images: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in run_copy.path.rglob("*.parquet")}
    stream = io.StringIO()
    run_demo(run_copy, replace(tiny_config, images=own_images), Work(Reporter(stream)))
    assert {path: path.stat().st_mtime_ns for path in run_copy.path.rglob("*.parquet")} == before
    lines = stream.getvalue().splitlines()
    assert lines
    assert all(line.endswith("done before") for line in lines)


def test_other_settings_do_not_overwrite(run_copy: Run, tiny_config: DemoConfig, own_images: Path) -> None:
    other = replace(tiny_config, images=own_images, studies="phantom:n=41,seed=1")
    with pytest.raises(InputError, match="made with other settings"):
        run_demo(run_copy, other, Work(Reporter(io.StringIO())))
    assert run_copy.is_done("cache")


def test_own_images_go_through_and_are_marked(tiny_run: Run, tiny_config: DemoConfig, own_images: Path) -> None:
    config = replace(tiny_config, images=own_images)
    assert own_image_ids(tiny_run, config) == ["picture-0", "picture-1"]
    frame = tiny_run.study_index.frame.set_index("study_id")
    assert frame.loc["picture-0", "report_source"] == "generated"
    summary = tiny_run.require("cache").summary
    assert summary["out_of_world"] == 2
    assert any("broken.png" in reason for reason in summary["left_out_reasons"])
    generations = pd.read_parquet(tiny_run.steering_dir("main", "own-images-cardiomegaly") / "generations.parquet")
    assert set(generations["study_id"]) == {"picture-0"}


def test_the_end_table_says_what_happened(tiny_run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    print_report(tiny_run)
    shown = capsys.readouterr().out
    assert OUT_OF_WORLD in " ".join(shown.split())
    for part in ("Cached", "variance explained", "cardiomegaly", "Labels", "Steering", "dashboard.html"):
        assert part in shown


def test_python_opens_what_the_demo_made(tiny_run: Run) -> None:
    run = interp.open(tiny_run.path)
    assert run.sae.n_features == len(run.features) == 128
    assert run.store.rows == run.require("cache").summary["rows"]
    study = run.studies["phantom-S1-000003"]
    assert np.array_equal(run.study_index.preview(3, "frontal"), run.model.preview(study, "frontal"))
    with pytest.raises(InputError, match="has no SAE named 'other'; it has main"):
        run.sae_named("other")


def test_images_must_be_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        DemoConfig(images=tmp_path / "nowhere")
