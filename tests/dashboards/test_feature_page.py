from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from autointerp.schema import Kind
from dashboards.data import RunData
from dashboards.feature_page import FeaturePages, choose_contexts, feature_list
from dashboards.label_page import Labels


def contexts(n: int = 200, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    kinds = [str(kind) for kind in Kind]
    return pd.DataFrame(
        {
            "context": np.arange(n),
            "feature": rng.integers(0, 5, n),
            "kind": rng.choice(kinds, n),
            "study": rng.integers(0, 20, n),
            "image": "frontal",
            "activation": rng.random(n),
        }
    )


@pytest.mark.parametrize("per_kind", [1, 2, 3, 7, 50])
def test_choosing_takes_the_strongest_and_no_more_than_asked(per_kind: int) -> None:
    index = contexts()
    chosen, withheld = choose_contexts(index, range(20), per_kind)
    assert withheld.empty
    sizes = chosen.groupby(["feature", "kind"]).size()
    wanted = index.groupby(["feature", "kind"]).size().clip(upper=per_kind)
    pd.testing.assert_series_equal(sizes.sort_index(), wanted.sort_index())
    strongest = index.groupby(["feature", "kind"])["activation"].max()
    pd.testing.assert_series_equal(chosen.groupby(["feature", "kind"])["activation"].max(), strongest)


def test_quantile_contexts_span_the_range_and_top_ones_do_not() -> None:
    index = contexts(400)
    index["feature"] = 0
    chosen, _ = choose_contexts(index, range(20), 4)
    weakest = index.groupby("kind")["activation"].median()
    lowest = chosen.groupby("kind")["activation"].min()
    assert lowest["quantile"] < weakest["quantile"]
    assert lowest["top"] > weakest["top"]


def test_contexts_of_other_studies_are_counted_and_never_chosen() -> None:
    index = contexts()
    chosen, withheld = choose_contexts(index, {1, 2, 3}, 100)
    assert set(chosen["study"]) <= {1, 2, 3}
    assert withheld.sum() + len(chosen) == len(index)


def test_no_contexts_are_no_error() -> None:
    chosen, withheld = choose_contexts(None, {1}, 3)
    assert len(chosen) == len(withheld) == 0


@pytest.fixture(scope="module")
def run(run_dir: Path) -> RunData:
    return RunData.open(run_dir)


def test_the_list_holds_every_feature_with_what_it_is_searched_by(run: RunData) -> None:
    assert run.features is not None
    listed = feature_list(run.features, Labels(run.explanations, run.scores, reasoning=True), [3])
    n = len(run.features)
    assert {len(column) for column in listed.values()} == {n}
    assert listed["id"] == list(range(n))
    assert all("fluid" in text for text in listed["search"])
    assert listed["label"][-1] is None
    assert listed["group"][0] == 1
    assert listed["page"] == [0 if feature == 3 else None for feature in range(n)]


def test_a_page_holds_the_chosen_contexts_and_the_maps_on_their_grid(run: RunData) -> None:
    assert run.features is not None
    assert run.context_index is not None
    chosen, withheld = choose_contexts(run.context_index, range(8), 2)
    labels = Labels(run.explanations, run.scores, reasoning=False)
    rows = {study: study for study in range(8)}
    pages = FeaturePages(run.features, run.contexts_path, chosen, withheld, labels, rows, {1: [0]})
    block = pages.block(0, len(run.features))
    for feature in block:
        wanted = chosen[chosen["feature"] == feature["id"]].groupby("kind").size().to_dict()
        assert {kind: len(rows) for kind, rows in feature["contexts"].items()} == wanted
        assert feature["reasoning"] is None
        for one in (context for rows in feature["contexts"].values() for context in rows):
            if one["modality"] == "image":
                assert (one["map"]["rows"], one["map"]["cols"]) == (6, 6)
            else:
                assert len(one["tokens"]) == len(one["acts"])
    assert block[1]["steering"] == [0]
    assert block[-1]["dead"]
    assert block[-1]["histogram"] is None
