from __future__ import annotations

from pathlib import Path

import pytest

from dashboards.data import RunData
from dashboards.overview_page import STAGES, causal_figures, run_content, stage_content, summary_content


def test_a_whole_run_says_what_went_in(run_dir: Path) -> None:
    content = run_content(RunData.open(run_dir))
    facts = dict(content["facts"])
    assert facts["Studies"] == "6 phantom, 2 real; 4 patients"
    assert facts["SAE site"] == "language.3"
    assert facts["Reports"] == "6 reference, 2 generated"
    assert "phantom model, a toy" in content["description"]
    assert "Phantom studies are synthetic" in content["ribbon"]
    assert [stage["state"] for stage in content["stages"]] == ["done"] * len(STAGES)
    assert "somebody" not in str(content), "who made the run is nobody's business"


@pytest.mark.parametrize(
    ("records", "state", "note"),
    [
        ({"index": {"state": "done", "seconds": 300}}, "done", "done in 5 min"),
        ({"index:main": {"state": "failed", "error": "disk full"}}, "failed", "failed: disk full"),
        ({"index:main": {"state": "pending", "error": "stopped"}}, "pending", "stopped; the same command goes on"),
        (
            {"index:main": {"state": "done"}, "index:main:b": {"state": "running"}},
            "running",
            "running, or stopped without notice",
        ),
        ({"index:other": {"state": "failed"}}, "done", "done"),
    ],
)
def test_stages_take_their_state_from_the_run_file(
    run_dir: Path, records: dict[str, object], state: str, note: str
) -> None:
    run = RunData(run_dir, "main", {"stages": records})
    stage = stage_content(run, "index")
    assert (stage["state"], stage["note"]) == (state, note)
    assert (stage["command"] is None) == (state == "done")


def test_a_stage_whose_output_is_gone_is_missing(fresh_run: Path) -> None:
    (fresh_run / "sae/main/features/features.parquet").unlink()
    assert stage_content(RunData.open(fresh_run), "index")["state"] == "missing"


def test_an_evaluation_without_truth_table_is_noted(fresh_run: Path) -> None:
    (fresh_run / "sae/main/evaluation.json").write_text('{"reconstruction": {"l0": 3}}')
    run = RunData.open(fresh_run)
    content = summary_content(run)
    assert content["truth"] is None
    assert content["quality"][0]["value"] == 3
    assert [one.what for one in run.missing] == ["The truth table"]


def test_every_finding_and_every_scope_has_its_causal_map(run_dir: Path) -> None:
    cells = RunData.open(run_dir).causal_map
    assert cells is not None
    names = [(one["group"], one["name"]) for one in causal_figures(cells)]
    assert len(names) == 1 + cells["key"].nunique() + cells["scope"].nunique()
    assert len(set(names)) == len(names)
    assert causal_figures(None) == []
