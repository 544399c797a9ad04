"""RadFact: the definition on examples counted by hand, and its laws."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from radiology.metrics.bootstrap import bootstrap
from radiology.metrics.boxes import box_mask, covered_share
from radiology.metrics.entailment import FindingsEntailment, Verdict
from radiology.metrics.phrases import GroundedPhrase
from radiology.metrics.radfact import judge_studies, judge_study, summarise
from radiology.metrics.reports import ReportPair, ReportText

LEFT, RIGHT = (0.5, 0.0, 1.0, 1.0), (0.0, 0.0, 0.5, 1.0)


class SameWords:
    """Entailed by phrases of the same words; "?" gets no answer."""

    name = "same words"

    def judge(self, phrase: str, premises: Sequence[str]) -> Verdict:
        if phrase == "?":
            return Verdict(False, failed=True)
        found = tuple(place for place, premise in enumerate(premises) if premise == phrase)
        return Verdict(bool(found), found)


def phrases(*texts: str) -> list[GroundedPhrase]:
    return [GroundedPhrase(text) for text in texts]


def test_a_study_counted_by_hand() -> None:
    candidate = [
        GroundedPhrase("a", (LEFT,)),  # entailed, boxes agree
        GroundedPhrase("b", (LEFT,)),  # entailed, boxes elsewhere
        GroundedPhrase("c", (LEFT,)),  # not entailed
        GroundedPhrase("d"),  # entailed, without boxes
    ]
    reference = [
        GroundedPhrase("a", ((0.4, 0.0, 1.0, 1.0),)),
        GroundedPhrase("b", (RIGHT,)),
        GroundedPhrase("d"),
        GroundedPhrase("e", (RIGHT,)),
        GroundedPhrase("f"),
    ]
    study = judge_study("s", candidate, reference, SameWords())
    assert study.scores == pytest.approx(
        {
            "logical_precision": 3 / 4,
            "grounding_precision": 1 / 2,
            "spatial_precision": 1 / 3,
            "logical_recall": 3 / 5,
            "grounding_recall": 1 / 2,
            "spatial_recall": 1 / 3,
        }
    )
    assert (study.added, study.removed) == (("c",), ("e", "f"))


def test_what_there_is_nothing_of_is_undefined() -> None:
    scores = judge_study("s", phrases("a"), [], SameWords()).scores
    assert scores["logical_precision"] == 0
    assert all(math.isnan(value) for name, value in scores.items() if name != "logical_precision")


@pytest.mark.parametrize(("width", "follows"), [(0.5, False), (0.5 + 1 / 224, True)])
def test_more_than_half_of_a_box_must_be_covered(width: float, follows: bool) -> None:
    candidate = [GroundedPhrase("a", ((0.0, 0.0, 1.0, 1.0),))]
    reference = [GroundedPhrase("a", ((0.0, 0.0, width, 1.0),))]
    study = judge_study("s", candidate, reference, SameWords())
    assert study.candidate[0].boxes_entailed is follows
    assert study.reference[0].boxes_entailed is True


def test_boxes_of_all_the_evidence_count_together() -> None:
    candidate = [GroundedPhrase("a", ((0.0, 0.0, 1.0, 1.0),))]
    reference = [GroundedPhrase("a", (RIGHT,)), GroundedPhrase("a", (LEFT,)), GroundedPhrase("b", (LEFT,))]
    assert judge_study("s", candidate, reference, SameWords()).candidate[0].boxes_entailed
    assert not judge_study("s", candidate, reference[:1], SameWords()).candidate[0].boxes_entailed


def test_overlapping_boxes_count_once() -> None:
    assert box_mask([LEFT, LEFT, (0.5, 0.0, 0.75, 1.0)]).mean() == 0.5
    assert covered_share([(0.0, 0.0, 1.0, 1.0)], [LEFT, LEFT]) == 0.5
    assert math.isnan(covered_share([(0.5, 0.5, 0.5, 0.5)], [LEFT]))


def test_means_skip_the_undefined_and_f1_comes_from_the_means() -> None:
    studies = [
        judge_study("1", phrases("a", "b"), phrases("a"), SameWords()),  # 1/2, 1
        judge_study("2", [], phrases("a", "b"), SameWords()),  # undefined, 0
        judge_study("3", phrases("a"), phrases("a"), SameWords()),  # 1, 1
    ]
    scores = summarise(studies, "x").scores
    assert scores["logical_precision"].value == pytest.approx(3 / 4)
    assert scores["logical_recall"].value == pytest.approx(2 / 3)
    assert scores["logical_f1"].value == pytest.approx(2 * (3 / 4) * (2 / 3) / (3 / 4 + 2 / 3))
    assert math.isnan(scores["spatial_f1"].value)


def test_nothing_right_is_an_f1_of_nought() -> None:
    scores = summarise([judge_study("1", phrases("a"), phrases("b"), SameWords())], "x").scores
    assert scores["logical_f1"].value == 0


def test_an_answer_that_failed_is_not_entailed_and_counted() -> None:
    result = summarise([judge_study("1", phrases("a", "?"), phrases("a", "?"), SameWords())], "x")
    assert result.failures == 2
    assert result.scores["logical_precision"].value == 0.5


def test_exchanged_sides_exchange_precision_and_recall() -> None:
    one, two = phrases("Left effusion.", "No edema.", "Nodule."), phrases("Small left effusion.", "No edema.")
    there = judge_study("s", one, two, FindingsEntailment()).scores
    back = judge_study("s", two, one, FindingsEntailment()).scores
    assert there["logical_precision"] == back["logical_recall"] == pytest.approx(2 / 3)
    assert there["logical_recall"] == back["logical_precision"] == pytest.approx(1 / 2)


def test_many_workers_find_what_one_does() -> None:
    text = "Left effusion. No pneumothorax."
    pairs = [ReportPair(ReportText(str(n), text * (n % 3)), ReportText(str(n), text)) for n in range(20)]
    assert judge_studies(pairs, FindingsEntailment()) == judge_studies(pairs, FindingsEntailment(), workers=4)


def test_a_report_that_could_not_be_cut_counts_as_empty_and_is_counted() -> None:
    pairs = [ReportPair(ReportText("1", "x"), ReportText("1", "y"))]
    studies, unsplit = judge_studies(pairs, SameWords(), lambda text: None if text == "x" else [text])
    assert unsplit == 1
    assert (studies[0].candidate, len(studies[0].reference)) == ((), 1)


def test_the_interval_holds_the_value_and_shrinks_with_studies() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for n in (20, 2000):
        values = rng.random(n)
        interval = bootstrap(lambda rows, values=values: {"mean": float(values[rows].mean())}, n)["mean"]
        assert interval.low <= interval.value <= interval.high
        widths.append(interval.high - interval.low)
    assert widths[1] < widths[0] / 5


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for seed in range(100):
        values = rng.random(60)
        made = bootstrap(lambda rows, values=values: {"m": float(values[rows].mean())}, 60, draws=200, seed=seed)["m"]
        hits += made.low <= 0.5 <= made.high
    assert 85 <= hits <= 100
