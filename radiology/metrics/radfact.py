"""RadFact: how many phrases of a report follow from another one, and whether their boxes agree.

Definition: Bannur et al. 2024, arXiv 2406.04449. Every phrase of the candidate is judged against the phrases of the
reference (precision) and the other way round (recall), with evidence:

- logical: entailed / all phrases;
- spatial: entailed with entailed boxes / phrases with boxes;
- grounding: entailed with entailed boxes / entailed phrases with boxes.

Boxes are entailed if more than half of their area lies in the boxes of the evidence. A study without such phrases is
NaN and left out of the mean over studies; F1 comes from the means.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from radiology.metrics.bootstrap import DRAWS, Interval, bootstrap, f1_of, nan_mean, share
from radiology.metrics.boxes import covered_share
from radiology.metrics.entailment import Entailment
from radiology.metrics.phrases import GroundedPhrase, split_report
from radiology.metrics.reports import ReportPair

BOX_THRESHOLD = 0.5
ASPECTS = ("logical", "grounding", "spatial")


@dataclass(frozen=True)
class JudgedPhrase:
    """A phrase with its verdict: entailed, by which phrases of the other report, and whether its boxes are.

    ``boxes_entailed`` is ``None`` for a phrase without boxes; ``failed`` marks one that got no usable answer.
    """

    phrase: GroundedPhrase
    entailed: bool
    evidence: tuple[GroundedPhrase, ...]
    boxes_entailed: bool | None
    failed: bool = False


@dataclass(frozen=True)
class StudyRadFact:
    """Judged phrases of both sides of one study."""

    study_id: str
    candidate: tuple[JudgedPhrase, ...]
    reference: tuple[JudgedPhrase, ...]

    @property
    def scores(self) -> dict[str, float]:
        """``logical_precision``, ``logical_recall`` and so on for each aspect; NaN where there is nothing to count."""
        table: dict[str, float] = {}
        for name, side in (("precision", self.candidate), ("recall", self.reference)):
            for aspect, value in _shares(side).items():
                table[f"{aspect}_{name}"] = value
        return table

    @property
    def added(self) -> tuple[str, ...]:
        """What only the candidate says: with an unsteered reference, what steering added."""
        return tuple(judged.phrase.text for judged in self.candidate if not judged.entailed)

    @property
    def removed(self) -> tuple[str, ...]:
        """What only the reference says: with an unsteered reference, what steering removed."""
        return tuple(judged.phrase.text for judged in self.reference if not judged.entailed)

    @property
    def failures(self) -> int:
        """Phrases without a usable answer; they count as not entailed."""
        return sum(judged.failed for judged in (*self.candidate, *self.reference))


@dataclass(frozen=True)
class RadFact:
    """RadFact of a data set: values with intervals, every study, phrases without an answer, and who judged."""

    scores: Mapping[str, Interval]
    studies: tuple[StudyRadFact, ...]
    failures: int
    judge: str


def judge_study(
    study_id: str, candidate: Sequence[GroundedPhrase], reference: Sequence[GroundedPhrase], judge: Entailment
) -> StudyRadFact:
    """Judge the phrases of one study in both directions."""
    return StudyRadFact(study_id, _judge_side(candidate, reference, judge), _judge_side(reference, candidate, judge))


def judge_studies(
    pairs: Sequence[ReportPair],
    judge: Entailment,
    split: Callable[[str], list[str] | None] = split_report,
    workers: int = 1,
) -> tuple[list[StudyRadFact], int]:
    """Judge pairs of reports, ``workers`` at once.

    The number is how many reports ``split`` could not cut; they count as empty.
    """
    from concurrent.futures import ThreadPoolExecutor

    def judged(pair: ReportPair) -> tuple[StudyRadFact, int]:
        candidate, reference = (side.as_phrases(split) for side in (pair.candidate, pair.reference))
        study = judge_study(pair.study_id, candidate or (), reference or (), judge)
        return study, (candidate is None) + (reference is None)

    if workers == 1:
        found = [judged(pair) for pair in pairs]
    else:
        with ThreadPoolExecutor(workers) as pool:
            found = list(pool.map(judged, pairs))
    return [study for study, _ in found], sum(failed for _, failed in found)


def summarise(studies: Sequence[StudyRadFact], judge: str, draws: int = DRAWS, seed: int = 0) -> RadFact:
    """Means over studies, F1 of the means, and bootstrap intervals over studies."""
    names = [f"{aspect}_{side}" for aspect in ASPECTS for side in ("precision", "recall")]
    table = np.array([[study.scores[name] for name in names] for study in studies], dtype=float)
    table = table.reshape(len(studies), len(names))

    def aggregate(rows: np.ndarray) -> dict[str, float]:
        means = {name: nan_mean(table[rows, place]) for place, name in enumerate(names)}
        found: dict[str, float] = {}
        for aspect in ASPECTS:
            precision, recall = means[f"{aspect}_precision"], means[f"{aspect}_recall"]
            found |= {f"{aspect}_precision": precision, f"{aspect}_recall": recall}
            found[f"{aspect}_f1"] = f1_of(precision, recall)
        return found

    scores = bootstrap(aggregate, len(studies), draws, seed)
    return RadFact(scores, tuple(studies), sum(study.failures for study in studies), judge)


def _judge_side(
    phrases: Sequence[GroundedPhrase], others: Sequence[GroundedPhrase], judge: Entailment
) -> tuple[JudgedPhrase, ...]:
    premises = [other.text for other in others]
    judged = []
    for phrase in phrases:
        verdict = judge.judge(phrase.text, premises)
        evidence = tuple(others[place] for place in verdict.evidence)
        boxes = None if phrase.boxes is None else verdict.entailed and _boxes_follow(phrase, evidence)
        judged.append(JudgedPhrase(phrase, verdict.entailed, evidence, boxes, verdict.failed))
    return tuple(judged)


def _boxes_follow(phrase: GroundedPhrase, evidence: Sequence[GroundedPhrase]) -> bool:
    others = [box for other in evidence for box in other.boxes or ()]
    return bool(phrase.boxes and others) and covered_share(phrase.boxes or (), others) > BOX_THRESHOLD


def _shares(side: Sequence[JudgedPhrase]) -> dict[str, float]:
    boxed = [judged for judged in side if judged.boxes_entailed is not None]
    entailed_boxed = [judged for judged in boxed if judged.entailed]
    both = sum(bool(judged.boxes_entailed) for judged in boxed)
    return {
        "logical": share(sum(judged.entailed for judged in side), len(side)),
        "grounding": share(both, len(entailed_boxed)),
        "spatial": share(both, len(boxed)),
    }
