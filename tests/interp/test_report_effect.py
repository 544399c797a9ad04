"""Laws of the report-level effect: nothing is lost by a perfect SAE, and agreement counts findings, not words."""

from __future__ import annotations

import math

import pytest
import torch

from activations import open_model
from activations.roles import parse_roles
from interp.evaluation.report_effect import agreement, present, report_effect
from interp.evaluation.splicing import Place
from radiology.phantom.cases import phantom_studies
from sae import MatryoshkaSAE, SAEConfig

BOTH = "Left pleural effusion. The heart is enlarged."
LEFT = "There is a pleural effusion on the left side. Heart size is normal."
RIGHT = "Right pleural effusion. The heart is enlarged."
PATIENTS = ["a", "b", "c"]


def test_findings_have_a_side() -> None:
    assert present(BOTH) == {("pleural_effusion", "left"), ("cardiomegaly", "")}
    assert present("No pleural effusion.") == frozenset()


def test_equal_reports_keep_everything() -> None:
    found = agreement([BOTH, LEFT, RIGHT], [BOTH, LEFT, RIGHT], PATIENTS)
    assert (found["kept"], found["added"], found["same_findings"], found["same_text"]) == (1, 0, 1, 1)
    assert (found["kept_low"], found["kept_high"]) == (1, 1)


def test_kept_and_added_count_findings_on_their_side() -> None:
    found = agreement([BOTH, BOTH, BOTH], [BOTH, LEFT, RIGHT], PATIENTS)
    assert found["kept"] == pytest.approx(4 / 6)  # cardiomegaly once gone, the left effusion once
    assert found["added"] == pytest.approx(1 / 5)  # the right effusion
    assert found["same_findings"] == pytest.approx(1 / 3)
    assert found["kept_low"] < found["kept"] < found["kept_high"]


def test_other_words_for_the_same_are_the_same() -> None:
    found = agreement([BOTH], ["The heart is enlarged. Left pleural effusion."], ["a"])
    assert (found["kept"], found["same_findings"], found["same_text"]) == (1, 1, 0)


def test_without_findings_there_is_no_share() -> None:
    assert math.isnan(agreement(["Lungs are clear."], ["Lungs are clear."], ["a"])["kept"])


def test_a_perfect_sae_changes_no_report() -> None:
    model, d = open_model("phantom"), 128
    sae = MatryoshkaSAE(SAEConfig(d=d, n_features=2 * d, k=d))
    with torch.no_grad():
        both = torch.cat([torch.eye(d), -torch.eye(d)])
        sae.W_enc.copy_(both)
        sae.W_dec.copy_(both)
    place = Place("language.2", tuple(parse_roles("content")))
    effect = report_effect(model, sae, place, list(phantom_studies(2, seed=9)), batch=1)
    assert (effect["studies"], effect["finished"]) == (2, 2)
    assert effect["ways"]["sae"]["same_text"] == 1
    assert effect["ways"]["ablated"]["same_text"] < 1
    assert set(effect["ways"]) == {"sae", "ablated", "random_error", "other_study"}


def test_no_studies_are_refused() -> None:
    with pytest.raises(ValueError, match="no studies"):
        report_effect(open_model("phantom:random"), None, Place("language.2", ()), [])  # type: ignore[arg-type]
