"""Agreement with the truth counts concept, polarity and side apart."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from autointerp.explanation import Explanation
from autointerp.files import labels_folder, read_frame
from autointerp.schema import EXPLANATIONS_FILE
from autointerp.truth import agreement
from radiology.errors import InputError


def label(feature: int, concept: str | None, side: str | None = None, polarity: str = "present") -> dict:
    text = concept or "no single meaning"
    polarity = polarity if concept else "none"
    return Explanation(
        feature=feature, explainer="contrast", label=text, concept=concept, side=side, polarity=polarity
    ).row()


def test_shares() -> None:
    labels = pd.DataFrame(
        [
            label(0, "pleural_effusion", "left"),
            label(1, "pleural_effusion", "right"),
            label(2, "cardiomegaly", polarity="absent"),
            label(3, None),
            label(4, "pacemaker"),
        ]
    )
    detectors = pd.DataFrame(
        {
            "feature": [0, 0, 1, 2, 3, 4],
            "key": ["pleural_effusion:left", "pacemaker", "pleural_effusion:left", "cardiomegaly", *["pacemaker"] * 2],
            "auroc": [0.99, 0.91, 0.95, 0.97, 0.92, 0.6],
        }
    )
    found = agreement(labels, detectors)
    assert (found.n_features, found.n_labelled) == (4, 3)
    assert found.right_concept == 0.75
    assert found.right_polarity == 0.5
    assert found.right_side == 0.5
    assert found.table["feature"].tolist() == [0, 1, 2, 3]


def test_features_of_several_factors_are_counted_apart() -> None:
    labels = pd.DataFrame([label(0, "cardiomegaly", polarity="absent"), label(1, "pacemaker"), label(2, None)])
    detectors = pd.DataFrame(
        {
            "feature": [0, 1, 2],
            "key": ["cardiomegaly", "central_line", "pacemaker"],
            "polarity": ["absent", "present", "present"],
            "others": [[], ["pacemaker"], ["central_line"]],
            "auroc": [0.99, 0.95, 0.95],
        }
    )
    found = agreement(labels, detectors)
    assert (found.n_features, found.right_polarity) == (1, 1.0)
    assert (found.n_several, found.names_one) == (2, 0.5)


def test_unlabelled_features_count_as_not_right() -> None:
    detectors = pd.DataFrame({"feature": [5], "key": ["pacemaker"], "auroc": [0.95]})
    found = agreement(pd.DataFrame([label(0, "pacemaker")]), detectors)
    assert (found.n_features, found.n_labelled, found.right_concept) == (1, 0, 0.0)


def test_no_detector_is_no_share() -> None:
    detectors = pd.DataFrame({"feature": [0], "key": ["pacemaker"], "auroc": [0.5]})
    found = agreement(pd.DataFrame([label(0, "pacemaker")]), detectors)
    assert found.n_features == 0
    assert math.isnan(found.right_concept)


def test_hand_built_features_are_labelled_right(explained_run) -> None:
    labels = read_frame(labels_folder(explained_run.run_dir, "main") / EXPLANATIONS_FILE)
    detectors = pd.DataFrame({"feature": [2, 7], "key": ["pleural_effusion:left", "pacemaker"], "auroc": [1.0, 1.0]})
    found = agreement(labels, detectors)
    assert (found.right_concept, found.right_polarity, found.right_side) == (1, 1, 1)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(InputError, match="auroc"):
        agreement(pd.DataFrame([label(0, None)]), pd.DataFrame({"feature": [0], "key": ["pacemaker"]}))
