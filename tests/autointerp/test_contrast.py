"""The offline explainer finds meanings that were put in by hand, with polarity, and admits where there is none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from autointerp.explain import explain_features, read_contexts
from autointerp.explainers.base import FeatureEvidence
from autointerp.explainers.contrast import ContrastExplainer
from autointerp.explainers.findings_contrast import Images, finding_in_images, finding_in_sentences
from autointerp.explainers.places import place_of
from autointerp.files import features_folder, labels_folder, read_frame
from autointerp.schema import CONTEXTS_FILE, EXPLANATIONS_FILE, Split
from radiology.errors import InputError


@pytest.fixture(scope="module")
def labels(explained_run) -> pd.DataFrame:
    return read_frame(labels_folder(explained_run.run_dir, "main") / EXPLANATIONS_FILE).set_index("feature")


@pytest.mark.parametrize(
    ("feature", "label", "concept", "side", "polarity", "modality"),
    [
        (0, "no pleural effusion", "pleural_effusion", None, "absent", "text"),
        (1, "pleural effusion present", "pleural_effusion", None, "present", "text"),
        (2, "left pleural effusion present", "pleural_effusion", "left", "present", "image"),
        (3, "no cardiomegaly", "cardiomegaly", None, "absent", "image"),
        (4, "never fires", None, None, "none", "text"),
        (5, "the token “left”", None, None, "none", "text"),
        (6, "hedged findings of any kind", None, None, "uncertain", "text"),
        (7, "pacemaker present", "pacemaker", None, "present", "image"),
        (8, "no single meaning", None, None, "none", "both"),
        (9, "findings that changed since the prior study", None, None, "changed", "text"),
        (11, "endotracheal tube present", "endotracheal_tube", None, "present", "image"),  # most tokens are full stops
        (10, "fires nearly everywhere, no single meaning", None, None, "none", "both"),
    ],
)
def test_hand_built_meanings(
    labels: pd.DataFrame, feature: int, label: str, concept: str | None, side: str | None, polarity: str, modality: str
) -> None:
    row = labels.loc[feature]
    found = {name: None if pd.isna(row[name]) else row[name] for name in ("concept", "side")}
    assert (row["label"], found["concept"], found["side"]) == (label, concept, side)
    assert (row["polarity"], row["modality"]) == (polarity, modality)


def test_evidence_goes_with_the_label(labels: pd.DataFrame) -> None:
    named = labels[labels["polarity"] != "none"]
    assert (named["z"] >= 3).all()
    assert (named["firing_share"] > named["quiet_share"]).all()
    assert "patches left lower" in labels.loc[2, "reasoning"]
    assert (labels["cost"] == 0).all()


def test_the_same_contexts_give_the_same_label(explained_run) -> None:
    again = explain_features(explained_run.run_dir, "main", ContrastExplainer(), features=[3, 1])
    first = read_frame(labels_folder(explained_run.run_dir, "main") / EXPLANATIONS_FILE)
    assert again["feature"].tolist() == [1, 3]
    merged = first.merge(again, on=["feature", "label", "concept", "polarity"])
    assert merged["feature"].tolist() == [1, 3]
    assert len(first) == 12


def test_contexts_of_the_score_split_are_refused(explained_run) -> None:
    path = features_folder(explained_run.run_dir, "main") / CONTEXTS_FILE
    contexts = read_contexts(path, Split.SCORE, np.array([1]))
    with pytest.raises(InputError, match="score split"):
        FeatureEvidence({"feature": 1}, contexts)


def test_unknown_features_are_named(explained_run) -> None:
    with pytest.raises(InputError, match=r"\[77\] do not exist; there are 0 … 11"):
        explain_features(explained_run.run_dir, "main", ContrastExplainer(), features=[1, 77])


def _many(*groups: tuple[int, tuple[str, ...]]) -> list[tuple[str, ...]]:
    return [found for n, found in groups for _ in range(n)]


def images(findings: list[tuple[str, ...]], frontal: bool | list[bool] = True) -> Images:
    return Images(findings, np.broadcast_to(frontal, len(findings)))


def side_of(firing: list[tuple[str, ...]], quiet: list[tuple[str, ...]], patch_side: str | None) -> str | None:
    found = finding_in_images(images(firing), images(quiet), np.ones(len(firing)), patch_side)
    assert found is not None
    return found.side


LEFT = ("pleural_effusion=present", "pleural_effusion:left=present")
RIGHT = ("pleural_effusion=present", "pleural_effusion:right=present")
NONE = ("pleural_effusion=absent",)


def test_a_co_occurring_finding_is_not_the_meaning() -> None:
    """Every firing report has effusion and most a pacemaker, but the pacemaker is as common where it is quiet."""
    firing = _many((18, (*LEFT, "pacemaker=present")), (2, LEFT))
    quiet = _many((18, (*NONE, "pacemaker=present")), (6, NONE))
    found = finding_in_images(images(firing), images(quiet), np.ones(20), None)
    assert found is not None
    assert (found.concept, found.side, found.polarity) == ("pleural_effusion", "left", "present")


def test_patches_help_to_tell_the_side() -> None:
    firing, quiet = _many((12, LEFT), (7, (*LEFT, *RIGHT)), (1, RIGHT)), _many((24, NONE))
    sides = [side_of(firing, quiet, patch) for patch in (None, "left", "right")]
    assert sides == ["left", "left", "left"]
    firing = _many((9, LEFT), (7, (*LEFT, *RIGHT)), (4, RIGHT))
    sides = [side_of(firing, quiet, patch) for patch in (None, "left", "right")]
    assert sides == [None, "left", None]


def test_a_report_that_does_not_name_a_finding_says_it_is_absent() -> None:
    firing, quiet = _many((10, ()), (10, ("cardiomegaly=absent",))), _many((24, ("cardiomegaly=present",)))
    found = finding_in_images(images(firing), images(quiet), np.ones(20), None)
    assert found is not None
    assert (found.concept, found.polarity) == ("cardiomegaly", "absent")


def test_the_side_is_told_by_pictures_that_show_it() -> None:
    """Lateral pictures show an effusion on either side alike; the frontal ones show that only the left one counts."""
    findings = _many((8, LEFT), (6, LEFT), (6, RIGHT))
    quiet = images(_many((12, NONE), (12, RIGHT)))
    frontal = [True] * 8 + [False] * 12
    found = finding_in_images(images(findings, frontal), quiet, np.ones(20), None)
    assert found is not None
    assert (found.side, found.contrast.firing_share) == ("left", 1.0)
    found = finding_in_images(images(findings, False), images(_many((24, NONE))), np.ones(20), None)
    assert found is not None
    assert (found.concept, found.side) == ("pleural_effusion", None)


def test_half_of_the_firing_reports_and_never_a_quiet_one_is_a_meaning() -> None:
    """Reports leave out much; what they name where the feature fires and nowhere else is what it means."""
    firing = _many((11, ("lung_nodule=present",)), (9, ()))
    found = finding_in_images(images(firing), images(_many((32, ()))), np.ones(20), None)
    assert found is not None
    assert found.concept == "lung_nodule"


def test_no_difference_is_no_meaning() -> None:
    same = _many((10, LEFT), (10, NONE))
    assert finding_in_images(images(same), images(same), np.ones(20), "left") is None
    assert finding_in_sentences(same, same, np.ones(20)) is None


def test_one_negated_finding_wins_over_negation_and_many_do_not() -> None:
    quiet = _many((12, LEFT), (12, ("pneumothorax=present",)))
    one = finding_in_sentences(_many((20, NONE)), quiet, np.ones(20))
    assert one is not None
    assert (one.concept, one.polarity) == ("pleural_effusion", "absent")
    several = _many((7, NONE), (7, ("pneumothorax=absent",)), (6, ("cardiomegaly=absent",)))
    any_kind = finding_in_sentences(several, quiet, np.ones(20))
    assert any_kind is not None
    assert (any_kind.concept, any_kind.polarity) == (None, "absent")


def test_the_patients_left_is_at_the_viewers_right() -> None:
    def at(row: float, col: float, image: str = "frontal") -> pd.DataFrame:
        return pd.DataFrame({"image": [image] * 4, "row": row, "col": col, "map_rows": 10.0, "map_cols": 10.0})

    assert str(place_of(at(9, 9))) == "patches left lower"
    assert str(place_of(at(0, 0))) == "patches right upper"
    assert str(place_of(at(5, 5))) == "patches middle mid"
    assert str(place_of(at(9, 9, "lateral"))) == ""
    spread = pd.concat([at(0, 0), at(9, 9)])
    assert str(place_of(spread)) == ""
