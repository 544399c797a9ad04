"""LUNGUAGESCORE against the published package, and its laws."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from radiology.metrics.lunguage_score import WEIGHTS, compare_rows, lunguage_score
from radiology.metrics.structurer import number_episodes, structure_report
from radiology.metrics.text_encoders import HashingEncoder
from radiology.structured import StructuredFinding
from tests.radiology.metrics.published_lunguage import BIOLORD, MEDCPT, StubEncoder, load_scorer, published_scores

HASHING = [HashingEncoder()]
_ENTITIES = ("effusion", "opacity", "edema", "tube", "nodule", "cardiomegaly")
_WORDS = {
    "location": ("left", "right base", "left lower lobe", "bilateral"),
    "severity": ("small", "large", "mild"),
    "morphology": ("patchy", "linear"),
    "measurement": ("3 cm", "12 mm"),
    "no_change": ("stable", "unchanged"),
    "improved": ("improved", "resolving"),
    "placement": ("tip in the stomach", "above the carina"),
    "past_hx": ("known",),
}


def draw_rows(rng: np.random.Generator, n: int, studies: int = 1) -> list[StructuredFinding]:
    """Random rows in order of study; every attribute is sometimes empty."""
    rows = []
    for _ in range(n):
        study = int(rng.integers(1, studies + 1))
        cells = {name: str(rng.choice(words)) for name, words in _WORDS.items() if rng.random() < 0.4}
        entity = str(rng.choice(_ENTITIES))
        row = StructuredFinding(
            study_id=f"s{study}",
            ent=entity,
            sequence=study,
            dx_status=str(rng.choice(["positive", "negative"])),
            dx_certainty=str(rng.choice(["definitive", "tentative"])) if rng.random() < 0.8 else None,
            entity_group=f"{entity} group",
            temporal_group=str(int(rng.integers(1, 3))),
            **cells,
        )
        rows.append(row)
    return sorted(rows, key=lambda row: row.sequence or 0)


@pytest.mark.parametrize("sequential", [False, True])
def test_the_published_package_gives_the_same_scores(sequential: bool) -> None:
    module = load_scorer()
    rng = np.random.default_rng(3)
    for sizes in ((1, 1), (4, 4), (6, 3), (2, 7), (8, 8)):
        reference, candidate = (draw_rows(rng, n, studies=3 if sequential else 1) for n in sizes)
        expected = published_scores(module, reference, candidate, sequential)
        ours = compare_rows(reference, candidate, [StubEncoder(BIOLORD), StubEncoder(MEDCPT)], sequential)
        assert (ours.precision, ours.recall, ours.f1) == pytest.approx(expected, abs=1e-6)


def test_a_report_compared_with_itself_is_one_and_nothing_moves() -> None:
    rows = structure_report("Small left effusion, unchanged. No pneumothorax. ET tube in place.", "a")
    result = compare_rows(rows, rows, HASHING)
    assert (result.precision, result.recall, result.f1) == pytest.approx((1, 1, 1))
    assert (result.moves, result.only_reference, result.only_candidate) == ((), (), ())


def test_scores_stay_in_range_and_the_order_of_rows_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        reference, candidate = draw_rows(rng, int(rng.integers(1, 9))), draw_rows(rng, int(rng.integers(1, 9)))
        result = compare_rows(reference, candidate, HASHING)
        assert min(result.precision, result.recall, result.f1) >= 0
        assert max(result.precision, result.recall, result.f1) <= 1
        shuffled = compare_rows(list(rng.permutation(np.array(reference, dtype=object))), candidate[::-1], HASHING)
        assert shuffled.f1 == pytest.approx(result.f1, abs=1e-12)


def test_equal_numbers_of_rows_make_all_three_the_mean_likeness_of_pairs() -> None:
    rng = np.random.default_rng(1)
    reference, candidate = draw_rows(rng, 5), draw_rows(rng, 5)
    result = compare_rows(reference, candidate, HASHING)
    mean = float(np.mean([likeness for *_, likeness in result.pairs]))
    assert (result.precision, result.recall, result.f1) == pytest.approx((mean, mean, mean))


@pytest.mark.parametrize(
    ("changed", "attribute"),
    [
        ({"location": "right"}, "location"),
        ({"severity": "large"}, "severity"),
        ({"dx_status": "negative"}, "dx_status"),
        ({"dx_certainty": "tentative"}, "dx_certainty"),
        ({"no_change": None, "worsened": "increased"}, "worsened"),
    ],
)
def test_it_says_which_attribute_moved(changed: dict[str, str | None], attribute: str) -> None:
    row = StructuredFinding(
        "a", "pleural effusion", dx_status="positive", dx_certainty="definitive", location="left", severity="small",
        no_change="unchanged",
    )  # fmt: skip
    moves = compare_rows([row], [replace(row, **changed)], HASHING).moves
    assert attribute in {move.attribute for move in moves}
    assert {move.attribute for move in moves} == set(changed)
    assert all(0 < move.loss <= 1 for move in moves)


def test_a_row_without_partner_is_named() -> None:
    rows = structure_report("Small left effusion. Right nodule.", "a")
    result = compare_rows(rows, rows[:1], HASHING)
    assert result.only_reference == ("lung nodule",)
    assert result.precision == pytest.approx(1)
    assert result.recall < 1


def test_a_missing_study_counts_zero_and_is_listed() -> None:
    rows = {name: structure_report("Left effusion.", name) for name in "abc"}
    result = lunguage_score(rows, {name: rows[name] for name in "ab"}, HASHING)
    assert result.missing == ("c",)
    assert result.scores["f1"].value == pytest.approx(2 / 3)
    assert result.encoders == ("hashing-1024",)


def test_a_study_that_says_nothing_on_both_sides_is_undefined() -> None:
    result = lunguage_score({"a": [], "b": structure_report("Left effusion.", "b")}, {"a": [], "b": []}, HASHING)
    assert math.isnan(result.studies["a"].f1)
    assert result.scores["f1"].value == 0


def test_over_time_the_wrong_study_costs_half() -> None:
    reference = StructuredFinding("s1", "effusion", sequence=1, dx_status="positive", entity_group="effusion")
    late = replace(reference, study_id="s2", sequence=2)
    assert compare_rows([reference], [late], HASHING, sequential=True).f1 == pytest.approx(0.5)
    assert compare_rows([reference], [reference], HASHING, sequential=True).f1 == pytest.approx(1)


def test_a_finding_that_comes_back_is_a_new_episode() -> None:
    texts = ["Left pleural effusion.", "No pleural effusion.", "Left pleural effusion.", "Left pleural effusion."]
    studies = [structure_report(text, f"s{n}", n) for n, text in enumerate(texts)]
    groups = [{row.temporal_group for row in rows} for rows in number_episodes(studies)]
    assert groups == [{"1"}, {"1"}, {"2"}, {"2"}]


def test_the_weights_are_those_of_the_definition() -> None:
    assert sum(WEIGHTS.values()) == pytest.approx(1.86)
    assert max(WEIGHTS, key=lambda name: WEIGHTS[name]) == "dx_status"
