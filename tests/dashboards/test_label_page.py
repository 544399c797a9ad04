from __future__ import annotations

from pathlib import Path

import pandas as pd

from dashboards.data import RunData
from dashboards.label_page import Labels, label_summary

COLUMNS = {
    "concept": None,
    "side": None,
    "polarity": "present",
    "modality": "image",
    "reasoning": "because",
    "model": None,
}


def explanations(*rows: tuple[int, str, str]) -> pd.DataFrame:
    return pd.DataFrame([{"feature": f, "explainer": e, "label": text} | COLUMNS for f, e, text in rows])


def test_the_label_is_of_the_explainer_that_labelled_most() -> None:
    frame = explanations(
        (0, "contrast", "a"), (1, "contrast", "b"), (1, "llm", "c"), (2, "llm", "d"), (3, "contrast", "e")
    )
    labels = Labels(frame, None, reasoning=True)
    assert labels.main == "contrast"
    assert [(labels.of(f) or {}).get("label") for f in range(5)] == ["a", "b", "d", "e", None]
    assert [other["label"] for other in labels.others(1)] == ["c"]
    assert labels.others(2) == []


def test_reasoning_is_kept_back_when_asked() -> None:
    frame = explanations((0, "contrast", "a"))
    assert Labels(frame, None, reasoning=True).reasoning_of(0) == "because"
    assert Labels(frame, None, reasoning=False).reasoning_of(0) is None


def test_without_labels_nothing_is_said() -> None:
    labels = Labels(None, None, reasoning=True)
    assert labels.of(0) is None
    assert labels.scores_of(0) == []
    assert labels.hard_score(0) is None


def test_the_summary_counts_every_label_once(run_dir: Path) -> None:
    run = RunData.open(run_dir)
    labels = Labels(run.explanations, run.scores, reasoning=True)
    summary = label_summary(run, labels)
    assert summary is not None
    assert run.explanations is not None
    assert sum(map(sum, summary["counts"])) == len(run.explanations)
    assert "hard negatives" in summary["text"]
    assert "random negatives" in summary["text"]
    assert "known factor" not in summary["text"]


def test_the_summary_says_how_many_labels_are_right_where_it_is_known(run_dir: Path) -> None:
    run = RunData.open(run_dir)
    agreement = {"n_features": 8, "right_concept": 0.75, "right_polarity": 0.5}
    run.record = {"stages": {"score:main": {"summary": {"agreement": agreement}}}}
    summary = label_summary(run, Labels(run.explanations, run.scores, reasoning=True))
    assert summary is not None
    assert "Of 8 features that detect a known factor of the phantoms, 75% are labelled" in summary["text"]
    assert "50% with the right concept and polarity" in summary["text"]
