"""Laws that hold for every metric: range, identity, order of sentences, missing studies, intervals."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from radiology.errors import InputError
from radiology.metrics.evaluation import DEFAULT_METRICS, METRICS, Result, Tools, evaluate
from radiology.metrics.reports import Pairing, ReportText, pair_reports
from radiology.phantom.factors import sample_factors
from radiology.phantom.grammar import report_text, write_report

N = 24
#: Values that are no share: words, and their ratio.
_NO_SHARE = {"words_candidate", "words_reference", "ratio"}
_MEANING = ("radfact", "lunguage", "lunguage-sequential", "chexpert")
_OWN = (*DEFAULT_METRICS, "lunguage-sequential")
TOOLS = Tools(draws=40)


def reports(seed: int) -> dict[str, ReportText]:
    rng = np.random.default_rng(seed)
    texts = [report_text(write_report(rng, sample_factors(rng))) for _ in range(N)]
    return {
        f"s{n}": ReportText(f"s{n}", text, patient_id=f"p{n // 3}", sequence=n % 3 + 1) for n, text in enumerate(texts)
    }


def values(result: Result) -> dict[str, float]:
    return {name: interval.value for name, interval in result.values.items()}


@pytest.fixture(scope="module")
def apart() -> dict[str, Result]:
    return evaluate(pair_reports(reports(0), reports(1)), _OWN, TOOLS)


def test_every_share_and_its_interval_are_in_range(apart: dict[str, Result]) -> None:
    for metric, result in apart.items():
        for name, interval in result.values.items():
            numbers = [number for number in (interval.low, interval.value, interval.high) if not math.isnan(number)]
            assert numbers == sorted(numbers) or name == "bleu", (metric, name)
            assert all(number >= 0 for number in numbers)
            assert name in _NO_SHARE or all(number <= 1 for number in numbers), (metric, name)
        for name, column in result.columns.items():
            assert len(column) == N
            assert name in _NO_SHARE or np.nanmax([*column, 0.0]) <= 1, (metric, name)


def test_a_report_is_like_itself_and_less_like_another(apart: dict[str, Result]) -> None:
    same = evaluate(pair_reports(reports(0), reports(0)), _OWN, TOOLS)
    for metric, name in (
        *(("radfact", f"logical_{part}") for part in ("precision", "recall", "f1")),
        *((metric, part) for metric in ("lunguage", "lunguage-sequential") for part in ("precision", "recall", "f1")),
        *(("chexpert", part) for part in ("micro_f1", "macro_f1")),
        ("bleu", "bleu"),
        ("rouge", "rouge_l"),
        ("length", "ratio"),
    ):
        assert values(same[metric])[name] == pytest.approx(1), (metric, name)
        if metric != "length":
            assert values(apart[metric])[name] < 0.95, (metric, name)
    assert same["lunguage"].notes == ()
    assert all(study.added == study.removed == () for study in same["radfact"].radfact)


def test_the_order_of_sentences_changes_no_metric_of_meaning(apart: dict[str, Result]) -> None:
    shuffled = {
        name: replace(report, text=" ".join(part + "." for part in reversed(report.text.rstrip(".").split(". "))))
        for name, report in reports(0).items()
    }
    assert any(shuffled[name].text != report.text for name, report in reports(0).items())
    found = evaluate(pair_reports(shuffled, reports(1)), _MEANING, TOOLS)
    for metric in _MEANING:
        assert values(found[metric]) == pytest.approx(values(apart[metric]), abs=1e-9, nan_ok=True), metric


def test_the_order_of_studies_changes_nothing(apart: dict[str, Result]) -> None:
    backwards = dict(reversed(reports(1).items()))
    found = evaluate(pair_reports(reports(0), backwards), _OWN, TOOLS)
    for metric in _OWN:
        assert values(found[metric]) == pytest.approx(values(apart[metric]), nan_ok=True)


def test_a_missing_study_lowers_recall_and_is_counted() -> None:
    candidates = reports(0)
    del candidates["s0"]
    found = evaluate(pair_reports(candidates, reports(0)), _OWN, TOOLS)
    assert values(found["radfact"])["logical_recall"] == pytest.approx((N - 1) / N)
    assert values(found["radfact"])["logical_precision"] == 1
    assert found["radfact"].counted["logical_precision"] == N - 1
    assert values(found["lunguage"])["f1"] == pytest.approx((N - 1) / N)
    assert any("studies without candidate, counted as 0: 1" in note for note in found["lunguage"].notes)
    assert values(found["chexpert"])["micro_f1"] < 1
    assert values(found["rouge"])["rouge_l"] == pytest.approx((N - 1) / N)


def test_results_say_who_computed_them(apart: dict[str, Result]) -> None:
    assert apart["radfact"].by == "judge findings, phrases by rules"
    assert apart["lunguage"].by == "encoders hashing-1024"


def test_it_says_which_attribute_moved() -> None:
    pairing = pair_reports(
        {"a": ReportText("a", "Small left effusion.")}, {"a": ReportText("a", "Small right effusion.")}
    )
    found = evaluate(pairing, ("lunguage",), TOOLS)["lunguage"]
    assert [(move.attribute, move.reference, move.candidate) for move in found.lunguage["a"].moves] == [
        ("location", "right", "left")
    ]
    assert found.notes == ("attributes that differ within matched findings: location 1",)


def test_the_same_seed_gives_the_same_interval(apart: dict[str, Result]) -> None:
    again = evaluate(pair_reports(reports(0), reports(1)), ("rouge",), TOOLS)
    other = evaluate(pair_reports(reports(0), reports(1)), ("rouge",), replace(TOOLS, seed=1))
    assert again["rouge"].values == apart["rouge"].values
    assert other["rouge"].values["rouge_l"].low != apart["rouge"].values["rouge_l"].low


def test_what_cannot_be_asked_for_is_one_message() -> None:
    pairing = pair_reports(reports(0), reports(0))
    with pytest.raises(InputError, match="metric 'bertscore' does not exist; choose of radfact"):
        evaluate(pairing, ("bertscore",))
    with pytest.raises(InputError, match="no study is in both"):
        evaluate(Pairing(()), ("bleu",))
    assert set(DEFAULT_METRICS) < set(METRICS)
