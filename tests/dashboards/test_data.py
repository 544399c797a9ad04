from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from dashboards.data import RunData
from radiology.errors import InputError


def test_a_whole_run_misses_nothing(run_dir: Path) -> None:
    run = RunData.open(run_dir)
    for part in ("manifest", "studies", "cfg", "metrics", "evaluation", "causal_map", "features", "context_index"):
        assert getattr(run, part) is not None, part
    assert run.explanations is not None
    assert run.scores is not None
    assert [experiment.name for experiment in run.experiments] == ["demo"]
    assert run.missing == []


def test_a_bare_run_names_a_command_for_everything_it_lacks(fresh_run: Path) -> None:
    for item in fresh_run.iterdir():
        if item.name != "run.json":
            shutil.rmtree(item) if item.is_dir() else item.unlink()
    run = RunData.open(fresh_run)
    parts = ("manifest", "studies", "cfg", "metrics", "evaluation", "causal_map", "features", "context_index")
    assert [getattr(run, part) for part in (*parts, "explanations", "scores")] == [None] * 10
    assert run.experiments == []
    verbs = {(one.command or "").split()[1] for one in run.missing}
    assert verbs == {"cache", "train-sae", "eval-sae", "trace", "index", "explain", "score", "steer"}


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("studies.parquet", "studies"),
        ("sae/main/metrics.parquet", "metrics"),
        ("sae/main/evaluation.json", "evaluation"),
        ("sae/main/features/features.parquet", "features"),
        ("trace/causal_map.parquet", "causal_map"),
    ],
)
def test_a_damaged_file_is_missing_with_the_reason(fresh_run: Path, name: str, part: str) -> None:
    (fresh_run / name).write_bytes(b"not what it should be")
    run = RunData.open(fresh_run)
    assert getattr(run, part) is None
    assert "damaged" in run.missing[0].why


def test_a_table_without_a_needed_column_is_missing_with_the_reason(fresh_run: Path) -> None:
    shutil.copy(fresh_run / "sae/main/metrics.parquet", fresh_run / "studies.parquet")
    run = RunData.open(fresh_run)
    assert run.studies is None
    assert "lacks the columns" in run.missing[0].why


def test_what_is_no_run_is_refused(tmp_path: Path, run_dir: Path) -> None:
    with pytest.raises(InputError, match="no folder"):
        RunData.open(tmp_path / "nowhere")
    with pytest.raises(InputError, match="not a run"):
        RunData.open(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        RunData.open(tmp_path)
    with pytest.raises(InputError, match="it has main"):
        RunData.open(run_dir, "other")


def test_commands_name_the_sae_where_it_matters(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run_dir.parent)
    run = RunData(run_dir, "wide", {})
    assert run.command("index") == "interp index --run whole --sae wide"
    assert run.command("cache") == "interp cache --run whole"


def test_a_path_elsewhere_is_shown_without_its_folders(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert RunData.open(run_dir).shown_path == "…/whole"


def test_stages_of_an_sae_and_their_parts_are_found(run_dir: Path) -> None:
    stages = {"cache": {"state": "done"}, "steer:main:a": {"state": "done"}, "steer:main:b": {"state": "failed"},
              "steer:other:a": {"state": "running"}}  # fmt: skip
    run = RunData(run_dir, "main", {"stages": stages})
    assert [one["state"] for one in run.stages("steer")] == ["done", "failed"]
    assert [one["state"] for one in run.stages("cache")] == ["done"]
    assert run.stages("trace") == []


@pytest.mark.parametrize(("name", "phantom"), [("phantom", True), ("phantom:late", True), ("maira-2", False)])
def test_the_model_of_the_store_decides_its_world(fresh_run: Path, name: str, phantom: bool) -> None:
    path = fresh_run / "activations" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model": {"name": name}}))
    assert RunData.open(fresh_run).model_is_phantom is phantom
