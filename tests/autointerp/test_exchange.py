"""Labels go out in the forms of other tools and come back the same."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from autointerp.exchange import export_delphi, export_neuronpedia, import_explanations
from autointerp.files import labels_folder, read_frame
from autointerp.schema import EXPLANATIONS_FILE
from autointerp.score import score_features
from autointerp.table import read_features
from radiology.errors import InputError


@pytest.fixture
def run(explained_run, tmp_path: Path) -> Path:
    shutil.copytree(explained_run.run_dir / "sae", tmp_path / "run" / "sae")
    return tmp_path / "run"


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_neuronpedia_rows(run: Path, tmp_path: Path) -> None:
    assert export_neuronpedia(run, "main", tmp_path / "np", model_id="maira-2", source="15-sae") == 12
    features = lines(tmp_path / "np" / "features.jsonl")
    table = read_features(run)
    for row in features:
        own = table.frame.loc[int(row["index"])]
        assert (row["modelId"], row["layer"]) == ("maira-2", "15-sae")
        assert row["frac_nonzero"] == pytest.approx(own["firing_rate"], abs=1e-6)
        # Neuronpedia reads heights and values side by side: they must have one length.
        assert len(row["freq_hist_data_bar_heights"]) == len(row["freq_hist_data_bar_values"])
        assert sum(row["freq_hist_data_bar_heights"]) == own["n_fires"]
        assert len(row["pos_str"]) == len(row["pos_values"]) == 10
    labels = {row["index"]: row for row in lines(tmp_path / "np" / "explanations.jsonl")}
    assert labels["0"]["description"] == "no pleural effusion"
    assert labels["0"]["scoreV2"] == 1.0
    assert labels["5"]["scoreV2"] is None


def test_exports_hold_no_words_of_reports(run: Path, explained_run, tmp_path: Path) -> None:
    export_neuronpedia(run, "main", tmp_path / "np", model_id="m", source="s")
    export_delphi(run, "main", tmp_path / "delphi", hookpoint="h")
    text = "".join(path.read_text() for folder in ("np", "delphi") for path in (tmp_path / folder).iterdir())
    assert not any(sentence in text for sentence in read_features(run)[1].contexts["sentence"])


def test_delphi_labels_come_back(run: Path, tmp_path: Path) -> None:
    assert export_delphi(run, "main", tmp_path / "delphi", hookpoint="model/layers.15") == 12
    path = tmp_path / "delphi" / "model--layers.15_latent0.txt"
    assert json.loads(path.read_text()) == "no pleural effusion"
    back = import_explanations(run, "main", tmp_path / "delphi", "delphi").set_index("feature")
    assert back.loc[0, ["label", "concept", "polarity"]].tolist() == [
        "no pleural effusion",
        "pleural_effusion",
        "absent",
    ]
    assert back.loc[2, "side"] == "left"
    assert back.loc[8, "polarity"] == "none"


@pytest.mark.parametrize("tool", ["delphi", "neuronpedia"])
def test_a_round_trip_loses_nothing(run: Path, tmp_path: Path, tool: str) -> None:
    if tool == "delphi":
        export_delphi(run, "main", tmp_path / "out", hookpoint="h")
        path = tmp_path / "out"
    else:
        export_neuronpedia(run, "main", tmp_path / "out", model_id="m", source="s")
        path = tmp_path / "out" / "explanations.jsonl"
    import_explanations(run, "main", path, "back")
    table = read_frame(labels_folder(run, "main") / EXPLANATIONS_FILE)
    ours, back = (
        table[table["explainer"] == name].drop(columns="explainer").reset_index(drop=True)
        for name in ("contrast", "back")
    )
    pd.testing.assert_frame_equal(ours, back)


def test_a_label_that_was_changed_elsewhere_wins(run: Path, tmp_path: Path) -> None:
    export_delphi(run, "main", tmp_path / "out", hookpoint="h")
    (tmp_path / "out" / "h_latent0.txt").write_text(json.dumps("small pneumothorax"))
    back = import_explanations(run, "main", tmp_path / "out", "theirs").set_index("feature")
    assert back.loc[0, ["label", "concept", "polarity"]].tolist() == ["small pneumothorax", "pneumothorax", "present"]


def test_columns_may_have_any_name(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text('latent_id,label,text\n0,7,"no pneumothorax"\n')
    back = import_explanations(run, "main", path, "theirs", {"feature": "latent_id", "label": "text"})
    assert back.iloc[0][["feature", "concept", "polarity"]].tolist() == [0, "pneumothorax", "absent"]
    with pytest.raises(InputError, match="colour"):
        import_explanations(run, "main", path, "theirs", {"colour": "text"})


def test_imported_labels_stand_beside_others_and_can_be_scored(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text('index,description\n0,"there is a pleural effusion"\n1,"pleural effusion, affirmed"\n')
    import_explanations(run, "main", path, "theirs")
    assert set(read_frame(labels_folder(run, "main") / EXPLANATIONS_FILE)["explainer"]) == {"contrast", "theirs"}
    scores = score_features(run, "main", explainer="theirs").set_index(["feature", "negative_kind"])
    assert scores.loc[(0, "hard_negative"), "balanced_accuracy"] < 0.25  # it fires on "no pleural effusion"
    assert scores.loc[(1, "hard_negative"), "balanced_accuracy"] == 1


def test_jsonl_keeps_what_is_given_and_whole_long_labels(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    long = " ".join(f"word{i}" for i in range(20))
    rows = [
        {"feature": 0, "label": "a line", "concept": "central_line", "polarity": "uncertain", "modality": "image"},
        {"feature": 1, "label": long},
    ]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    back = import_explanations(run, "main", path, "hand").set_index("feature")
    assert back.loc[0, ["concept", "polarity", "modality"]].tolist() == ["central_line", "uncertain", "image"]
    assert len(back.loc[1, "label"].split()) == 12
    assert back.loc[1, "reasoning"] == long


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "feature,label\n1,x\n1,y\n", "line 3: feature 1 has a label already"),
        ("a.csv", "feature,label\n99,x\n", "line 2: feature 99 does not exist"),
        ("a.csv", "feature,label\none,x\n", "line 2: feature 'one' is no number"),
        ("a.csv", "feature\n1\n", "line 2: 'label' is missing"),
        ("a.csv", "feature,label\n", "no labels"),
        ("a.jsonl", "{", "line 1: not JSON"),
        ("a.jsonl", "[1]", "line 1: must be a JSON object"),
        ("a.jsonl", '{"feature": 1, "label": "x", "concept": "moon", "polarity": "present"}', "'moon' does not exist"),
        ("a.txt", "x", "must end in"),
    ],
)
def test_unusable_files_are_refused_by_line(run: Path, tmp_path: Path, name: str, text: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    before = read_frame(labels_folder(run, "main") / EXPLANATIONS_FILE)
    with pytest.raises(InputError, match=message):
        import_explanations(run, "main", path, "x")
    assert read_frame(labels_folder(run, "main") / EXPLANATIONS_FILE).equals(before)


def test_a_missing_file_is_named(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        import_explanations(run, "main", tmp_path / "none.csv", "x")
