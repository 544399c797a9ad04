from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dashboards import plots
from dashboards.data import RunData
from dashboards.encoding import compact
from radiology.errors import InputError


@pytest.fixture(scope="module")
def run(run_dir: Path) -> RunData:
    return RunData.open(run_dir)


def test_sites_stand_in_the_order_of_the_stream() -> None:
    sites = ["language.10", "language.2", "projector", "vision.11", "vision.2", "language.2"]
    assert plots.site_order(sites) == ["vision.2", "vision.11", "projector", "language.2", "language.10"]


def test_names_are_words_and_their_markup_is_literal() -> None:
    assert plots.words("pleural_effusion:left") == "pleural effusion, left"
    assert "<" not in plots.words("<a href='x'>")


@pytest.mark.parametrize("measure", list(plots.TRAINING_MEASURES))
def test_training_curves_show_every_row(run: RunData, measure: str) -> None:
    assert run.metrics is not None
    trace = plots.content(plots.training_curve(run.metrics, measure))["data"][0]
    assert trace["x"] == run.metrics["tokens"].tolist()
    assert trace["y"] == run.metrics[measure].tolist()


def test_the_causal_map_is_the_mean_over_findings(run: RunData) -> None:
    cells = run.causal_map
    assert cells is not None
    heat = plots.content(plots.causal_map(cells, "scope"))["data"][0]
    wanted = cells[(cells["site"] == "projector") & (cells["scope"] == "prompt.image")]["effect"].mean()
    assert heat["y"][0] == "projector"
    assert heat["z"][0][0] == pytest.approx(wanted)


def test_a_missing_cell_of_the_causal_map_stays_empty() -> None:
    cells = pd.DataFrame({"site": ["language.0", "language.1"], "scope": ["a", "b"], "effect": [0.5, 0.25]})
    heat = plots.content(plots.causal_map(cells, "scope"))["data"][0]
    assert heat["text"] == [["0.50", ""], ["", "0.25"]]


@pytest.mark.parametrize("measure", ["on_target", "off_target"])
def test_dose_and_response_has_each_control_once(run: RunData, measure: str) -> None:
    effects = run.experiments[0].effects
    assert effects is not None
    rows = effects[effects["control"] != "unsteered"]
    traces = plots.content(plots.dose_response(rows, measure))["data"]
    named = [trace["name"] for trace in traces if trace.get("showlegend") is not False]
    assert len(named) == len(set(named)) == 5
    steered = next(trace for trace in traces if trace.get("name") == "steered")
    assert steered["y"] == rows[rows["control"] == "none"].sort_values("strength")[measure].tolist()


def test_the_truth_figure_draws_every_series_for_every_finding() -> None:
    rows = pd.DataFrame({"finding": ["a", "b"], "best": [0.9, 0.8], "best_low": [0.85, 0.7], "best_high": [0.95, 0.9],
                         "probe": [0.99, float("nan")], "random": [0.5, 0.6]})  # fmt: skip
    traces = plots.content(plots.truth_table(rows))["data"]
    assert {trace["name"] for trace in traces} == {
        "best single feature",
        "linear probe",
        "SAE of a random-weight model",
    }
    assert all(list(trace["y"]) == ["b", "a"] for trace in traces)


def test_figures_are_plain_json(run: RunData) -> None:
    assert run.causal_map is not None
    figure = plots.content(plots.causal_map(run.causal_map, "key"))
    assert "template" not in figure["layout"]
    json.dumps(compact(figure), allow_nan=False)


def test_every_panel_has_a_figure_that_shows_its_values_and_can_be_saved(tmp_path: Path) -> None:
    counts = pd.DataFrame([[3, 0], [1, 2]], index=["pacemaker", "<b>"], columns=["present", "absent"])
    score = pd.DataFrame(
        [{"negative_kind": "hard_negative", "auc": 0.8, "auc_low": 0.7, "auc_high": 0.9, "baseline_auc": 0.5}]
    )
    points = pd.DataFrame(
        {"x": [0.0, 1.0], "y": [0.0, 1.0], "feature": [4, 7], "label": ["a", None], "concept": ["pacemaker", None]}
    )
    curve = pd.DataFrame({"fpr": [0.0, 0.2, 1.0], "tpr": [0.0, 0.9, 1.0]})
    side = pd.DataFrame([{"finding": "pacemaker", "rate": 0.1, "low": 0.0, "high": 0.2, "random_rate_high": 0.05}])
    along = pd.DataFrame(
        [{"study": s, "finding": "pacemaker", "status": t} for s, t in (("b", "absent"), ("a", "present"))]
    )
    figures = {
        "coverage": plots.coverage(counts), "map": plots.feature_map(points), "scores": plots.scores(score),
        "histogram": plots.histogram([0.1, 0.2, 0.4], [5, 3]),
        "roles": plots.role_shares({"image": 0.9, "report": 0.1}),
        "tokens": plots.tokens([(" fluid", 1.5)], [(" clear", -1.0)]), "patch": plots.patch_map(np.eye(3), b"\x89PNG"),
        "roc": plots.roc(curve, pd.DataFrame([{"name": "Youden", "fpr": 0.2, "tpr": 0.9}])),
        "side": plots.side_effects(side), "time": plots.timeline(along),
    }  # fmt: skip
    for name, figure in figures.items():
        assert compact(plots.content(figure))["data"], name
    text = figures["coverage"].data[0].text
    assert [list(row) for row in text] == [["3", "·"], ["1", "2"]]
    assert "<b>" not in str(figures["coverage"].data[0].y)
    assert figures["histogram"].data[0].y == (5, 3)
    assert figures["scores"].data[1].x == (0.8,)
    assert list(figures["patch"].data[0].z[0]) == [1.0, None, None]
    assert list(figures["time"].layout.xaxis.categoryarray) == ["b", "a"], "in the order given, not of the alphabet"
    page = plots.save(figures["roc"], tmp_path / "roc.html").read_text()
    assert "Youden" in page
    with pytest.raises(InputError, match=r"\.html"):
        plots.save(figures["roc"], tmp_path / "roc.docx")
    if importlib.util.find_spec("kaleido") is None:
        with pytest.raises(InputError, match="kaleido"):
            plots.save(figures["roc"], tmp_path / "roc.svg")
