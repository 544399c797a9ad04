"""A label passes where it is true and fails where polarity or side is wrong; random negatives alone do not show it."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from autointerp.explain import read_contexts
from autointerp.files import features_folder, labels_folder, read_frame
from autointerp.schema import CONTEXTS_FILE, SCORES_FILE, Split
from autointerp.score import score_features
from autointerp.scorers.detection import DetectionScorer, Label
from radiology.errors import InputError

NO_EFFUSION, EFFUSION, LEFT_EFFUSION_PATCH = 0, 1, 2


def contexts_of(run, feature: int, split: Split = Split.SCORE) -> pd.DataFrame:
    path = features_folder(run.run_dir, "main") / CONTEXTS_FILE
    return read_contexts(path, split, np.array([feature]))


def scores_of(run, feature: int, label: Label) -> dict[str, dict]:
    others = [Label("pneumothorax", None, "present", "both"), Label("cardiomegaly", None, "absent", "both")]
    rows = DetectionScorer().score(feature, label, contexts_of(run, feature), others)
    return {row["negative_kind"]: row for row in rows}


def test_effusion_is_no_label_for_no_effusion(explained_run) -> None:
    """The feature fires on "no pleural effusion". Its true label tells where; the affirming label is caught."""
    true = scores_of(explained_run, NO_EFFUSION, Label("pleural_effusion", None, "absent", "text"))
    wrong = scores_of(explained_run, NO_EFFUSION, Label("pleural_effusion", None, "present", "text"))
    assert true["hard_negative"]["balanced_accuracy"] == 1
    assert true["hard_negative"]["auc"] == 1
    assert wrong["hard_negative"]["balanced_accuracy"] < 0.25
    assert wrong["hard_negative"]["auc"] < 0.2
    assert wrong["hard_negative"]["balanced_accuracy_high"] < wrong["random_negative"]["balanced_accuracy_low"]


def test_hard_negatives_of_a_negating_feature_affirm_the_finding(explained_run) -> None:
    contexts = contexts_of(explained_run, NO_EFFUSION)
    hard = contexts[contexts["hardness"] == "other_polarity"]["findings"]
    said = [{str(one).partition("=")[2] for one in found if one.startswith("pleural_effusion=")} for found in hard]
    assert all(statuses & {"present", "uncertain"} for statuses in said)


def test_a_label_that_ignores_polarity_passes_random_negatives_only(explained_run) -> None:
    """What a scorer that only looks for the words would say: right on random negatives, chance on hard ones."""
    contexts = contexts_of(explained_run, NO_EFFUSION)
    mentions = contexts["sentence"].str.contains("effusion").to_numpy()
    fires = contexts["kind"].isin(["top", "quantile"]).to_numpy()
    by_kind = {}
    for kind, column in (("other_polarity", "hardness"), ("random_negative", "kind")):
        quiet = (contexts[column] == kind).to_numpy()
        by_kind[kind] = (mentions[fires].mean() + (~mentions)[quiet].mean()) / 2
    assert by_kind["random_negative"] > 0.8
    assert by_kind["other_polarity"] <= 0.6


def test_the_wrong_side_is_caught(explained_run) -> None:
    right = scores_of(explained_run, LEFT_EFFUSION_PATCH, Label("pleural_effusion", "right", "present", "image"))
    left = scores_of(explained_run, LEFT_EFFUSION_PATCH, Label("pleural_effusion", "left", "present", "image"))
    assert left["random_negative"]["balanced_accuracy"] == 1
    assert right["random_negative"]["balanced_accuracy"] < 0.7


def test_labels_that_are_true_beat_the_labels_of_other_features(explained_run) -> None:
    scores = read_frame(labels_folder(explained_run.run_dir, "main") / SCORES_FILE)
    scored = scores[scores["n"] > 0]
    assert sorted(scored["feature"].unique()) == [0, 1, 2, 3, 6, 7, 9, 11]
    many = scored["negative_kind"].isin(["hard_negative", "random_negative"])  # of one way to be hard there may be two
    assert (scored[many]["balanced_accuracy"] > 0.9).all()
    assert (scored["baseline_balanced_accuracy"] < 0.7).all()
    assert (scored["balanced_accuracy_low"] <= scored["balanced_accuracy"]).all()


def test_labels_without_a_finding_have_a_row_with_n_0(explained_run) -> None:
    scores = read_frame(labels_folder(explained_run.run_dir, "main") / SCORES_FILE)
    always = scores[scores["negative_kind"].isin(["hard_negative", "random_negative"])]
    assert always.groupby("feature").size().tolist() == [2] * 12
    unscored = scores[scores["n"] == 0]
    assert unscored["balanced_accuracy"].isna().all()
    assert set(unscored["note"]) == {"the label names no finding"}


def test_lacking_contexts_are_counted_not_guessed(explained_run) -> None:
    contexts = contexts_of(explained_run, EFFUSION)
    label = Label("pleural_effusion", None, "present", "text")
    scorer = DetectionScorer()
    empty = scorer.score(1, label, contexts.iloc[:0], [])
    assert [row["n"] for row in empty] == [0, 0]
    assert {row["note"] for row in empty} == {"no firing context in the score split"}
    no_hard = scorer.score(1, label, contexts[contexts["kind"] != "hard_negative"], [])
    assert [row["n"] > 0 for row in no_hard] == [False, True]
    assert math.isnan(no_hard[0]["auc"])
    assert no_hard[0]["note"] == "no such negatives in the score split"


def test_images_of_which_nothing_is_known_are_left_out(explained_run) -> None:
    contexts = contexts_of(explained_run, LEFT_EFFUSION_PATCH).reset_index(drop=True)
    contexts.loc[contexts.index % 2 == 0, "findings"] = None
    rows = DetectionScorer().score(2, Label("pleural_effusion", "left", "present", "image"), contexts, [])
    known = contexts[contexts["findings"].notna()]
    assert rows[0]["n"] == (known["kind"] != "random_negative").sum()


def test_contexts_of_the_explain_split_are_refused(explained_run) -> None:
    contexts = contexts_of(explained_run, EFFUSION, Split.EXPLAIN)
    with pytest.raises(InputError, match="score split only"):
        DetectionScorer().score(1, Label("pleural_effusion", None, "present", "text"), contexts, [])


def test_the_same_seed_gives_the_same_scores(explained_run) -> None:
    first = read_frame(labels_folder(explained_run.run_dir, "main") / SCORES_FILE)
    again = score_features(explained_run.run_dir, "main", explainer="contrast")
    keys = ["feature", "negative_kind"]
    again = again.sort_values(keys, ignore_index=True)
    pd.testing.assert_frame_equal(first.sort_values(keys, ignore_index=True), again, check_dtype=False)


def test_an_unknown_explainer_is_named(explained_run) -> None:
    with pytest.raises(InputError, match=r"'nobody'.*contrast"):
        score_features(explained_run.run_dir, "main", explainer="nobody")
