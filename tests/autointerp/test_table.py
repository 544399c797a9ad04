"""Finding features by what they mean."""

from __future__ import annotations

import operator
import shutil
from pathlib import Path

import pandas as pd
import pytest

from autointerp.explanation import Explanation
from autointerp.files import labels_folder, upsert
from autointerp.schema import EXPLANATIONS_FILE, FAILED_LABEL
from autointerp.table import Feature, FeatureTable, read_features
from radiology.errors import InputError

EVERYWHERE = 10


@pytest.fixture(scope="module")
def table(explained_run) -> FeatureTable:
    return read_features(explained_run.run_dir, "main")


def test_a_finding_is_found_in_every_polarity_and_by_its_synonyms(table: FeatureTable) -> None:
    found = table.search("pleural effusion")
    assert set(found["feature"]) >= {0, 1, 2}
    assert dict(zip(found["feature"], found["polarity"], strict=True))[0] == "absent"
    assert found["hard_accuracy"].notna().all()
    assert table.search("enlarged heart")["feature"].tolist() == [3]


def test_words_of_labels_are_found(table: FeatureTable) -> None:
    assert 6 in set(table.search("hedged findings")["feature"])
    assert len(table.search("zebra")) == 0
    assert len(table.search("findings", limit=1)) == 1
    with pytest.raises(InputError, match="no words"):
        table.search("  ")


def test_promoted_tokens_are_found_after_labels(table: FeatureTable) -> None:
    token = table.frame.loc[8, "promoted"][0]["token"]
    assert 8 in set(table.search(token)["feature"])


def test_best_labels_come_first(table: FeatureTable) -> None:
    accuracy = table.labels["hard_accuracy"]
    assert accuracy.dropna().is_monotonic_decreasing
    assert accuracy.isna().to_numpy().tolist() == sorted(accuracy.isna())
    assert sorted(table.labels["feature"]) == list(range(12))


def test_a_feature_is_a_number_with_a_meaning(table: FeatureTable) -> None:
    feature = table[2]
    assert isinstance(feature, Feature)
    assert (int(feature), operator.index(feature), feature.label) == (2, 2, "left pleural effusion present")
    assert feature.max_activation == pytest.approx(feature.row["max_activation"])
    assert feature.mean_map is not None
    assert feature.mean_map.reshape(feature.map_rows, feature.map_cols).argmax() == 15  # lower right: patient's left
    assert set(feature.contexts["feature"]) == {2}
    assert {"hard_negative", "random_negative"} < set(feature.scores["negative_kind"])
    assert feature.explanations["explainer"].tolist() == ["contrast"]
    assert {table[2]: 1}[feature] == 1
    assert len(list(table)) == len(table) == 12


def test_a_feature_knows_its_company_and_its_hard_negatives(table: FeatureTable) -> None:
    company = table[0].co_firing
    assert company.columns.tolist() == ["feature", "label", "n_tokens", "jaccard"]
    assert company["jaccard"].is_monotonic_decreasing
    assert company["feature"].iloc[0] == EVERYWHERE  # whatever fires, this one fires too
    assert table[0].neighbours.columns.tolist() == ["feature", "label", "cosine"]
    assert len(table[0].neighbours) == 8
    assert set(table[0].hard_negatives["hardness"]) == {"other_polarity", "nearest_text", "co_firing"}
    assert table[4].co_firing.empty  # dead
    assert table[4].hard_negatives.empty


def test_contexts_are_asked_in_sql(table: FeatureTable) -> None:
    counted = table.sql("SELECT feature, count(*) AS n FROM contexts WHERE kind = 'top' GROUP BY feature ORDER BY 1")
    own = {int(f): int((f.contexts["kind"] == "top").sum()) for f in table}
    assert dict(zip(counted["feature"], counted["n"], strict=True)) == {f: n for f, n in own.items() if n}


def test_unknown_features_are_refused(table: FeatureTable) -> None:
    with pytest.raises(InputError, match="feature 99 does not exist; there are 0 … 11"):
        table[99]


def test_sql_takes_parameters(table: FeatureTable) -> None:
    found = table.sql("SELECT feature FROM explanations WHERE polarity = $polarity ORDER BY 1", polarity="absent")
    assert found["feature"].tolist() == [0, 3]


def test_a_run_without_labels_can_be_looked_at(explained_run, tmp_path: Path) -> None:
    shutil.copytree(explained_run.run_dir / "sae", tmp_path / "sae")
    shutil.rmtree(labels_folder(tmp_path, "main"))
    bare = read_features(tmp_path, "main")
    assert bare[2].label is None
    assert len(bare[2].explanations) == len(bare[2].scores) == 0
    assert len(bare.search("pleural effusion")) == 0


def test_an_llm_label_comes_before_others_unless_it_failed(explained_run, tmp_path: Path) -> None:
    shutil.copytree(explained_run.run_dir / "sae", tmp_path / "sae")
    path = labels_folder(tmp_path, "main") / EXPLANATIONS_FILE
    rows = [
        Explanation(feature=1, explainer="llm", label="fluid around the lung").row(),
        Explanation(feature=2, explainer="llm", label=FAILED_LABEL).row(),
    ]
    upsert(path, pd.DataFrame(rows), ["feature", "explainer"])
    found = read_features(tmp_path, "main")
    assert found[1].label == "fluid around the lung"
    assert found[2].label == "left pleural effusion present"


def test_a_run_without_index_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="interp index"):
        read_features(tmp_path)
