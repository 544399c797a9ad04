"""The causal label: what a push brings into reports and takes out of them."""

from __future__ import annotations

import pandas as pd

from autointerp.explainers.base import FeatureEvidence
from autointerp.explainers.steer import SteerExplainer, shifts

CLEAR = "The lungs are clear. No pleural effusion. Heart size is normal."
EFFUSION = "The lungs are clear. Small left pleural effusion. Heart size is normal."
EVIDENCE = FeatureEvidence({"feature": 3, "dead": False}, pd.DataFrame({"split": [], "kind": []}))


def explained(before: list[str], after: list[str]):
    return SteerExplainer(lambda evidence: (before, after)).explain(EVIDENCE)


def test_what_the_push_brings_in_is_the_label() -> None:
    found = explained([CLEAR] * 16, [EFFUSION] * 14 + [CLEAR] * 2)
    assert (found.concept, found.polarity) == ("pleural_effusion", "present")
    assert found.label.startswith("writes ")
    assert (found.quiet_share, found.firing_share) == (0.0, 14 / 16)
    assert "no pleural effusion" in found.reasoning


def test_the_other_way_round_it_writes_the_negation() -> None:
    found = explained([EFFUSION] * 16, [CLEAR] * 16)
    assert (found.concept, found.polarity) == ("pleural_effusion", "absent")


def test_chance_is_no_label() -> None:
    found = explained([CLEAR] * 16, [EFFUSION] * 2 + [CLEAR] * 14)
    assert (found.concept, found.label) == (None, "changes nothing that reports say")
    assert "more than chance would; the largest changes:" in found.reasoning
    assert "pleural effusion present 0% → 12%" in found.reasoning
    assert explained([CLEAR] * 16, [CLEAR] * 16).label == "changes nothing that reports say"


def test_reports_that_fall_apart_are_told() -> None:
    assert explained([CLEAR] * 16, ["of of of"] * 16).label == "breaks the report"


def test_a_feature_that_cannot_be_pushed() -> None:
    assert SteerExplainer(lambda evidence: None).explain(EVIDENCE).label == "cannot be pushed"
    dead = FeatureEvidence({"feature": 3, "dead": True}, EVIDENCE.contexts)
    assert SteerExplainer(lambda evidence: ([CLEAR], [CLEAR])).explain(dead).label == "cannot be pushed"


def test_shifts_count_each_way_and_are_corrected() -> None:
    a, b = frozenset({"x=present"}), frozenset({"y=absent"})
    table = shifts([a] * 8, [b] * 8)
    assert {(one.reading.concept, one.gained, one.lost) for one in table} == {("x", 0, 8), ("y", 8, 0)}
    assert all(one.p == 2 * 2 * 0.5**8 for one in table)  # two-sided, two statements
