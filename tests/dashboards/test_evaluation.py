from __future__ import annotations

import pandas as pd
import pytest

from dashboards.evaluation import drawn_rows, quality_figures, truth_means, truth_rows, truth_sentence

ROW = {
    "finding": "x",
    "tokens": "image",
    "feature": 3,
    "auroc": 0.9,
    "low": 0.8,
    "high": 0.95,
    "probe": 0.97,
    "random": 0.5,
}


def test_figures_come_from_the_evaluation_before_the_training_log() -> None:
    metrics = pd.DataFrame({"variance_explained": [0.1, 0.5], "l0": [9.0, 8.0], "dead_share": [0.2, 0.1]})
    measured = {
        "reconstruction": {"variance_explained": 0.9, "l0": 16},
        "control": {"reconstruction": {"variance_explained": 0.8}},
    }
    figures = {one["name"]: one["value"] for one in quality_figures(measured, metrics)}
    assert figures == {
        "variance explained": 0.9,
        "features a token (L0)": 16,
        "variance explained, random weights": 0.8,
    }
    trained = quality_figures(None, metrics)
    assert [one["value"] for one in trained] == [0.5, 8.0, 0.1]
    assert all("last batch of training" in one["name"] for one in trained)
    assert quality_figures(None, None) == []


def test_reports_and_stability_stand_beside_their_yardsticks() -> None:
    ways = {"sae": {"kept": 0.9}, "ablated": {"kept": 0.2}}
    measured = {"reconstruction": {}, "reports": {"ways": ways}, "stability": {"same": 0.8, "chance_same": 0.01}}
    figures = {one["name"]: one["value"] for one in quality_figures(measured, None)}
    assert figures == {
        "findings kept in reports": 0.9,
        "findings kept, mean instead": 0.2,
        "found by other seeds": 0.8,
        "found by chance": 0.01,
    }
    nothing = {"reconstruction": {}, "reports": None, "stability": None, "control": None}
    assert quality_figures(nothing, None) == []


@pytest.mark.parametrize(
    "evaluation", [None, {}, {"truth": []}, {"truth": "x"}, {"truth": [1]}, {"truth": [{"auroc": 1}]}]
)
def test_without_rows_there_is_no_truth_table(evaluation: dict[str, object] | None) -> None:
    assert truth_rows(evaluation) is None


def test_means_leave_out_what_could_not_be_measured() -> None:
    rows = [
        ROW,
        ROW | {"finding": "y", "auroc": 0.7},
        {"finding": "z", "tokens": "image", "auroc": None, "note": "n too small"},
    ]
    truth = truth_rows({"truth": [*rows, ROW | {"tokens": "report", "auroc": 1.0}]})
    assert truth is not None
    assert truth_means(truth).set_index("tokens")["best"].to_dict() == pytest.approx({"image": 0.8, "report": 1.0})
    assert len(drawn_rows(truth)) == 3
    sentence = truth_sentence(truth)
    assert "0.800 over 2 findings" in sentence
    assert "random-weight model 0.500" in sentence


def test_the_sentence_names_only_what_was_measured() -> None:
    truth = truth_rows({"truth": [{"finding": "x", "auroc": 0.9}]})
    assert truth is not None
    assert "probe" not in truth_sentence(truth)
    assert "random" not in truth_sentence(truth)
    nothing = truth_rows({"truth": [{"finding": "x", "auroc": None}]})
    assert nothing is not None
    assert "No finding could be measured" in truth_sentence(nothing)
