"""Fuzzing, intruders, embeddings, the opposite polarity, judges, and correction for many features."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from autointerp.explain import read_contexts
from autointerp.explainers.llm import terms_of_run
from autointerp.files import features_folder, labels_folder, read_frame
from autointerp.schema import CONTEXTS_FILE, SCORES_FILE, Split
from autointerp.score import score_features
from autointerp.scorers.base import Asked, Label, Task
from autointerp.scorers.detection import DetectionScorer
from autointerp.scorers.embedding import EmbeddingJudge
from autointerp.scorers.fuzzing import FuzzingScorer
from autointerp.scorers.intruder import IntruderScorer
from autointerp.scorers.llm_judge import LLMJudge
from autointerp.scorers.rules import RuleJudge
from autointerp.scorers.significance import benjamini_hochberg, greater
from radiology.errors import InputError
from radiology.llm.client import LLMClient
from radiology.llm.endpoint import Endpoint
from tests.autointerp.conftest import EFFUSION, HEDGE, NO_EFFUSION
from tests.radiology.llm.fake_server import FakeLLM, serving

ABSENT = Label("pleural_effusion", None, "absent", "text", "no pleural effusion")
PRESENT = Label("pleural_effusion", None, "present", "text", "pleural effusion present")
OTHER = Label("pneumothorax", None, "present", "text", "pneumothorax present")


def contexts_of(run: Any, feature: int) -> pd.DataFrame:
    return read_contexts(features_folder(run.run_dir, "main") / CONTEXTS_FILE, Split.SCORE, np.array([feature]))


def rows_of(scorer: Any, run: Any, feature: int, label: Label, *others: Label) -> dict[str, dict[str, Any]]:
    (rows,) = scorer.score_all([Asked(feature, label, contexts_of(run, feature), others)])
    return {row["negative_kind"]: row for row in rows}


def test_the_opposite_polarity_stands_beside_the_score(explained_run) -> None:
    rows = rows_of(DetectionScorer(), explained_run, NO_EFFUSION, ABSENT, OTHER)
    for kind in ("other_polarity", "hard_negative", "random_negative"):
        assert rows[kind]["balanced_accuracy"] > 0.9
        assert rows[kind]["flipped_balanced_accuracy"] <= 0.5  # fits none of the firing, and few or none of the others
    assert rows["other_polarity"]["flipped_balanced_accuracy"] < 0.1
    swapped = rows_of(DetectionScorer(), explained_run, NO_EFFUSION, PRESENT, OTHER)
    assert swapped["other_polarity"]["flipped_auc"] == rows["other_polarity"]["auc"]
    assert rows["hard_negative"]["purity"] == 1.0
    assert swapped["hard_negative"]["purity"] == 0.0


def test_what_has_no_opposite_has_no_flipped_score() -> None:
    assert Label("pneumothorax", "left", "absent", "text").flipped == Label(
        "pneumothorax", "left", "present", "text", "left pneumothorax present"
    )
    assert Label(None, None, "absent", "text").flipped is None
    assert Label("pneumothorax", None, "changed", "text").flipped is None


def test_fuzzing_asks_about_the_marked_words(explained_run) -> None:
    """The feature fires at the word "effusion"; a label of another finding fits no marked word."""
    rows = rows_of(FuzzingScorer(), explained_run, NO_EFFUSION, ABSENT, OTHER)
    assert rows["random_negative"]["balanced_accuracy"] > 0.85
    assert rows["random_negative"]["scorer"] == "fuzzing"
    scorer = FuzzingScorer()
    asked = Asked(NO_EFFUSION, ABSENT, contexts_of(explained_run, NO_EFFUSION), [])
    marked = scorer.contexts(asked)
    fires = marked["kind"].isin(["top", "quantile"])
    words = {row.tokens[mark] for row in marked[fires].itertuples() for mark in row.marks}
    assert words == {"effusion"}
    moved = marked[marked["kind"].eq("hard_negative") & marked["activation"].gt(0)]
    assert len(moved) == fires.sum()
    assert "effusion" not in {row.tokens[mark] for row in moved.itertuples() for mark in row.marks}


def test_intruders_are_found_where_a_feature_has_one_meaning(explained_run) -> None:
    rows = rows_of(IntruderScorer(), explained_run, NO_EFFUSION, ABSENT)
    row = rows["random_negative"]
    assert row["baseline_balanced_accuracy"] == 0.2
    assert row["balanced_accuracy_low"] > 0.3
    assert row["n"] == (contexts_of(explained_run, NO_EFFUSION)["kind"] == "random_negative").sum()
    few = contexts_of(explained_run, NO_EFFUSION).groupby("kind").head(3)
    few = few[few["kind"] != "quantile"]
    (rows_few,) = IntruderScorer().score_all([Asked(NO_EFFUSION, ABSENT, few, [])])
    assert {row["n"] for row in rows_few} == {0}
    assert all(row["note"] for row in rows_few)


def test_a_sentence_encoder_is_blind_to_negation(explained_run) -> None:
    judge = EmbeddingJudge()
    scorer = DetectionScorer(judge, base="embedding")
    rows = rows_of(scorer, explained_run, NO_EFFUSION, ABSENT, OTHER)
    assert rows["random_negative"]["auc"] > 0.8
    assert rows["random_negative"]["flipped_auc"] > 0.8  # the opposite passes just as well
    rules = rows_of(DetectionScorer(), explained_run, NO_EFFUSION, ABSENT, OTHER)
    assert rows["other_polarity"]["auc"] < rules["other_polarity"]["auc"]
    assert rows["random_negative"]["model"] == "all-MiniLM-L6-v2 (mean pooling)"


def test_many_features_are_corrected_together(explained_run, tmp_path) -> None:
    scores = read_frame(labels_folder(explained_run.run_dir, "main") / SCORES_FILE)
    hard = scores[(scores["negative_kind"] == "hard_negative") & scores["p"].notna()]
    assert len(hard) > 3
    assert np.allclose(hard["q"], benjamini_hochberg(hard["p"].to_numpy()))
    assert (hard["q"] >= hard["p"]).all()


def test_benjamini_and_hochberg() -> None:
    """The worked example of their paper: 15 tests, four found at 5 %."""
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344]
    p += [0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000]
    q = benjamini_hochberg(np.array([*p, np.nan]))
    assert (q[:-1] <= 0.05).sum() == 4
    assert np.isnan(q[-1])
    assert (np.diff(q[:-1]) >= 0).all()


def test_patients_count_once() -> None:
    prediction = np.array([1.0, 1, 1, 1, 0, 0, 0])
    fires = np.array([True, True, True, True, False, False, False])
    many = greater(prediction, fires, np.array(list("abcdefg")))
    one = greater(prediction, fires, np.array(list("aaaabbb")))
    assert many < 0.05 < one
    assert greater(np.ones(7), fires, np.array(list("abcdefg"))) == 1.0


# A language model as judge


def judging(fits: Callable[[str, Any], int]) -> Callable[[dict[str, Any]], str]:
    """A model that scores each context of a question by a function of label and context."""

    def answer(body: dict[str, Any]) -> str:
        data = re.search(r"BEGIN CONTEXTS \w+\n(.*)\nEND", body["messages"][-1]["content"], re.S)
        assert data is not None
        shown = json.loads(data[1])
        if "label" not in shown:
            return json.dumps({"intruder": 1})
        return json.dumps({"scores": [fits(shown["label"], one) for one in shown["contexts"].values()]})

    return answer


@pytest.fixture
def server() -> Iterator[FakeLLM]:
    with serving(judging(lambda label, one: 10 * (label.startswith("no ") == ("no" in str(one).lower())))) as state:
        yield state


def judge_of(server: FakeLLM, run: Any, **options: Any) -> LLMJudge:
    client = LLMClient(Endpoint(server.url, "test-model", concurrency=4, attempts=1))
    return LLMJudge(client, terms_of_run(run.run_dir), **options)


def test_a_language_model_judges_like_the_rules_do(explained_run, server: FakeLLM) -> None:
    scorer = DetectionScorer(judge_of(server, explained_run))
    assert scorer.name == "detection:llm"
    rows = rows_of(scorer, explained_run, NO_EFFUSION, ABSENT, OTHER)
    assert (
        rows["hard_negative"]["n"]
        == rows_of(DetectionScorer(), explained_run, NO_EFFUSION, ABSENT)["hard_negative"]["n"]
    )
    assert rows["other_polarity"]["balanced_accuracy"] > rows["other_polarity"]["flipped_balanced_accuracy"]
    assert rows["hard_negative"]["model"] == "test-model"
    told = json.dumps([body["messages"] for body in server.requests])
    assert not any(word in told for word in ("activation", "hard_negative", "quantile", "patient"))


def test_verdicts_that_cannot_be_read_do_not_count(explained_run, server: FakeLLM) -> None:
    judge = judge_of(server, explained_run, per_question=7)
    good = server.answer
    server.answer = lambda body: good(body) if '"8"' not in body["messages"][1]["content"] else "no idea"
    contexts = contexts_of(explained_run, NO_EFFUSION)
    ((_, fits),) = judge.fits([Task(NO_EFFUSION, "own", ABSENT, contexts)])
    assert len(fits) == len(contexts)
    assert judge.failures == 0
    server.answer = lambda body: '{"scores": [1.5, 11]}' if len(body["messages"]) > 1 else "?"
    ((_, fits),) = judge.fits([Task(NO_EFFUSION, "own", OTHER, contexts)])
    assert judge.failures == -(-len(contexts) // 7)
    assert np.isnan(fits).all()
    rows = rows_of(DetectionScorer(judge), explained_run, NO_EFFUSION, OTHER)
    assert {row["n"] for row in rows.values()} == {0}


def test_marked_words_and_intruders_are_asked_about(explained_run, server: FakeLLM) -> None:
    judge = judge_of(server, explained_run)
    rows_of(FuzzingScorer(judge), explained_run, HEDGE, Label(None, None, "uncertain", "text", "hedged findings"))
    assert "«" in server.requests[0]["messages"][1]["content"]
    server.requests.clear()
    rows = rows_of(IntruderScorer(judge), explained_run, EFFUSION, PRESENT)
    assert len(server.requests) == sum(
        rows[kind]["n"] for kind in rows
    )  # the same group is asked about again under the kind of its negative
    assert all(0 <= row["balanced_accuracy"] <= 1 for row in rows.values() if row["n"])


def test_bad_judges_are_named(explained_run, server: FakeLLM) -> None:
    with pytest.raises(InputError, match="per_question"):
        judge_of(server, explained_run, per_question=0)
    assert RuleJudge().can_judge(Label(None, None, "none", "text", "the token “left”")) != ""


def test_scores_of_several_scorers_stand_side_by_side(explained_run, tmp_path) -> None:
    run = shutil.copytree(explained_run.run_dir, tmp_path / "run")
    before = read_frame(labels_folder(run, "main") / SCORES_FILE)
    score_features(run, "main", FuzzingScorer(), features=[NO_EFFUSION])
    after = read_frame(labels_folder(run, "main") / SCORES_FILE)
    assert set(after["scorer"]) == {"detection", "fuzzing"}
    pd.testing.assert_frame_equal(after[after["scorer"] == "detection"].reset_index(drop=True), before)
