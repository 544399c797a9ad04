"""The offline judge: reads findings in what a context says and compares concept, side and polarity."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from autointerp.explainers.findings_contrast import LEFT_AND_RIGHT
from autointerp.explainers.places import FRONTAL_LIKE
from autointerp.reading import Said, fit, read_findings, said
from autointerp.schema import Modality
from autointerp.scorers.base import Label, Task
from radiology.findings import read_report


@dataclass(frozen=True)
class RuleJudge:
    """Judges labels with a polarity; no model, no network."""

    name: str = ""
    model: str | None = None
    n_rivals: int = 10

    def can_judge(self, label: Label) -> str:
        return "" if label.predicts else "the label names no finding"

    def fits(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, np.ndarray]]:
        for task in tasks:
            concept, side, polarity = task.label.meaning
            verdicts = []
            for row in task.contexts.itertuples():
                known = said_by(row)
                if known is None:
                    verdicts.append(np.nan)
                elif "marks" in task.contexts and not _marks_concern(row, concept):
                    verdicts.append(0.0)
                else:
                    verdicts.append(fit(concept, _side_seen(row, side), polarity, *known))
            yield task, np.array(verdicts, dtype=np.float64)

    def intruders(self, groups: Iterable[pd.DataFrame]) -> Iterator[tuple[int, int | None]]:
        """The context whose statements have least in common with those of the others; ``None`` if several have."""
        for number, group in enumerate(groups):
            said_n = [_statements(row) for row in group.itertuples()]
            if any(statements is None for statements in said_n):
                yield number, None
                continue
            likeness = np.array([[_jaccard(one, other) for other in said_n] for one in said_n])
            left = likeness.sum(axis=1) - likeness.diagonal()
            lowest = np.flatnonzero(np.isclose(left, left.min()))
            yield number, int(lowest[0]) if len(lowest) == 1 else None


def said_by(row: Any) -> tuple[Said, bool] | None:
    """What a context says and whether that is a whole report; ``None`` if nothing tells."""
    if row.modality == Modality.TEXT:
        return said(read_findings(row.sentence)), False
    return None if row.findings is None else (said(tuple(row.findings)), True)


def _side_seen(row: Any, side: str | None) -> str | None:
    """The side to ask for; none on a lateral picture, which shows left and right alike."""
    sided = row.modality == Modality.TEXT or row.image in FRONTAL_LIKE or side not in LEFT_AND_RIGHT
    return side if sided else None


def _statements(row: Any) -> frozenset[str] | None:
    if row.modality == Modality.TEXT:
        return frozenset(read_findings(row.sentence))
    if row.findings is None:
        return None
    # Of a whole report: what is there. What is not there is nearly everything, in every report.
    return frozenset(text for text in row.findings if not str(text).endswith("=absent"))


def _jaccard(one: frozenset[str] | None, other: frozenset[str] | None) -> float:
    assert one is not None
    assert other is not None
    return len(one & other) / len(one | other) if one or other else 1.0


def _marks_concern(row: Any, concept: str | None) -> bool:
    """Whether a marked word lies in the words that name the concept (any, if the label names none)."""
    sentence = str(row.sentence)
    spans = [found.span for found in read_report(sentence) if concept in (None, found.concept)]
    at = 0
    for number, token in enumerate(row.tokens):
        word = str(token).strip()
        start = sentence.find(word, at)
        if start < 0:
            continue
        at = start + len(word)
        if number in row.marks and any(start < last and first < at for first, last in spans):
            return True
    return False
