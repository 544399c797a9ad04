from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dashboards.data import RunData
from dashboards.study_page import choose_studies, study_content, study_list, top_features


@pytest.fixture(scope="module")
def run(run_dir: Path) -> RunData:
    return RunData.open(run_dir)


def test_real_and_referenced_studies_are_chosen_and_withheld_ones_never(run: RunData) -> None:
    assert choose_studies(run, shown={0, 1, 2, 6}, referenced={2, 7}) == [0, 1, 2, 6]
    assert 7 in choose_studies(run, shown=range(8), referenced=set())


def test_unreferenced_phantoms_are_capped(run: RunData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboards.study_page.UNREFERENCED", 2)
    assert choose_studies(run, shown=range(8), referenced={5}) == [0, 1, 5, 6, 7]


def test_only_real_studies_are_marked(run: RunData) -> None:
    assert run.studies is not None
    listed = study_list(run.studies)
    assert listed["real"] == [False] * 6 + [True] * 2
    assert study_list(None)["id"] == []


def test_a_real_study_carries_the_banner_of_a_foreign_world(run: RunData) -> None:
    assert run.studies is not None
    pages = [study_content(run, run.studies.loc[number].to_dict(), ["frontal"], []) for number in (0, 6)]
    assert pages[0]["banner"] is None
    assert "mean nothing clinically" in pages[1]["banner"]
    assert "Machine-written" in pages[1]["report_by"]
    assert pages[0]["texts"]["indication"] == "Shortness of breath."
    assert pages[0]["texts"]["technique"] is None


def test_sides_stand_for_their_concept(run: RunData) -> None:
    assert run.studies is not None
    rows = run.studies.copy()
    rows["labels"] = (
        '{"pleural_effusion": "present", "pleural_effusion:left": "present", "nodule": "uncertain", "x": "absent"}'
    )
    assert study_list(rows)["findings"][0] == ["pleural_effusion:left", "nodule"]
    rows["labels"] = None
    assert study_list(rows)["findings"][0] == []


def feature(number: int, top: float, *contexts: tuple[int, float]) -> dict[str, Any]:
    rows = [{"study": study, "act": act, "image": "frontal", "map": None, "sentence": None} for study, act in contexts]
    return {"id": number, "max": top, "contexts": {"top": rows, "random_negative": [{"study": 0, "act": 0.0}]}}


def test_features_of_a_study_stand_by_their_share_of_the_largest() -> None:
    found = top_features(
        [[feature(1, 10.0, (0, 5.0), (0, 6.0)), feature(2, 2.0, (0, 1.9))], [feature(3, 0.0, (1, 0.0))]]
    )
    assert [(one["feature"], one["act"]) for one in found[0]] == [(2, 1.9), (1, 6.0)]
    assert [one["feature"] for one in found[1]] == [3]
