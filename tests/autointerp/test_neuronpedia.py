"""What Neuronpedia's rows hold comes back without loss."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from autointerp import neuronpedia
from autointerp.exchange import export_neuronpedia
from autointerp.neuronpedia import export_activations, read_activations, read_feature_records
from autointerp.table import read_features
from radiology.errors import InputError

PLACE = {"model_id": "maira-2", "source": "15-sae"}


@pytest.fixture(scope="module")
def folder(explained_run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("np")
    export_neuronpedia(explained_run.run_dir, "main", out, **PLACE)
    export_activations(explained_run.run_dir, "main", out, **PLACE, studies=range(300))
    return out


def test_features_come_back(explained_run, folder: Path) -> None:
    back = read_feature_records(folder).set_index("feature")
    table = read_features(explained_run.run_dir).frame
    assert back.index.tolist() == table.index.tolist()
    for number, row in back.iterrows():
        own = table.loc[number]
        for name in ("max_activation", "firing_rate"):
            assert row[name] == own[name]
        for name in ("promoted", "suppressed", "neighbours"):
            assert row[name] == [dict(one) for one in own[name]]
        for name in ("histogram", "histogram_edges"):
            assert np.asarray(row[name]).tolist() == own[name].tolist()


def test_sentences_in_which_it_fires_come_back(explained_run, folder: Path) -> None:
    back = read_activations(folder).set_index("context")
    table = read_features(explained_run.run_dir)
    n = 0
    for feature in table:
        own = feature.contexts
        own = own[(own["modality"] == "text") & own["kind"].isin(["top", "quantile"])].set_index("context")
        n += len(own)
        for context, row in own.iterrows():
            found = back.loc[context]
            assert [found[name] for name in ("feature", "kind", "split")] == [row["feature"], row["kind"], row["split"]]
            assert list(found["tokens"]) == list(row["tokens"])
            assert found["activations"].tolist() == row["activations"].tolist()
            assert found["activation"] == row["activation"]
    assert len(back) == n > 0


def test_rows_have_neuronpedias_names_and_no_identifiers(folder: Path) -> None:
    text = (folder / "activations" / "batch-0.jsonl").read_text()
    row = json.loads(text.splitlines()[0])
    assert (row["modelId"], row["layer"]) == ("maira-2", "15-sae")
    assert row["values"][row["maxValueTokenIndex"]] == row["maxValue"] == max(row["values"])
    assert row["minValue"] == min(row["values"])
    assert "study-" not in text
    assert "patient-" not in text


def test_only_named_studies_are_written_in_batches(explained_run, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(neuronpedia, "BATCH", 5)
    written = export_activations(explained_run.run_dir, "main", tmp_path, **PLACE, studies=range(0, 300, 2))
    contexts = {context for f in read_features(explained_run.run_dir) for context in even_contexts(f)}
    assert len(list((tmp_path / "activations").iterdir())) == 3
    assert set(read_activations(tmp_path)["context"]) <= contexts
    assert len(read_activations(tmp_path)) == written


def even_contexts(feature) -> set[int]:
    own = feature.contexts
    return set(own[own["study"] % 2 == 0]["context"])


def test_what_is_no_row_is_named_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "features.jsonl").write_text('{"index": "0"}\n')
    with pytest.raises(InputError, match=r"features.jsonl, line 1: not a row of features"):
        read_feature_records(tmp_path)
    with pytest.raises(InputError, match="no batch"):
        read_activations(tmp_path)
