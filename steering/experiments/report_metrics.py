"""RadFact and LUNGUAGESCORE of steered reports: the unsteered report of the same study is the reference.

Phrases of the steered report that do not follow from the unsteered one were added, phrases of the unsteered report that
do not follow from the steered one were removed (Bannur et al. 2024, arXiv 2406.04449). Judged by the rules of
:mod:`radiology.metrics`, without a language model.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from radiology.metrics.bootstrap import f1_of, nan_mean
from radiology.metrics.entailment import FindingsEntailment
from radiology.metrics.lunguage_score import compare_rows
from radiology.metrics.phrases import GroundedPhrase, split_report
from radiology.metrics.radfact import judge_study
from radiology.metrics.structurer import structure_report
from radiology.metrics.text_encoders import TextEncoder, open_encoder
from steering.experiments.reports import Reports
from steering.statistics import grouped_mean

#: Added, removed, precision, recall of RadFact; F1 of LUNGUAGESCORE.
Values = tuple[float, float, float, float, float]


class ReportMetrics:
    """Compares pairs of texts; each pair once, however many arms wrote it."""

    def __init__(self) -> None:
        self._judge = FindingsEntailment()
        self._known: dict[tuple[str, str], Values] = {}

    @cached_property
    def _encoder(self) -> TextEncoder:
        return _Remembering(open_encoder("hashing"))

    def row(self, baseline: Reports, reports: Reports, seed: int) -> dict[str, Any]:
        """The columns of an arm, means over studies with intervals over patients."""
        patients = [baseline[study].patient for study in reports]
        values_nv = np.array([self._of(baseline[study].text, report.text) for study, report in reports.items()])
        added, removed, precision, recall, lunguage = values_nv.reshape(-1, 5).T
        out: dict[str, Any] = {"radfact_f1": f1_of(nan_mean(precision), nan_mean(recall))}
        for name, column in (("radfact_added", added), ("radfact_removed", removed), ("lunguage_f1", lunguage)):
            mean, low, high = grouped_mean(column, patients, seed=seed, resamples=500)
            out |= {name: mean, f"{name}_low": low, f"{name}_high": high}
        return out

    def _of(self, before: str, after: str) -> Values:
        if (before, after) not in self._known:
            self._known[before, after] = self._compared(before, after)
        return self._known[before, after]

    def _compared(self, before: str, after: str) -> Values:
        judged = judge_study("", _phrases(after), _phrases(before), self._judge)
        scores = judged.scores
        rows = [structure_report(text, "", None) for text in (before, after)]
        return (
            float(len(judged.added)),
            float(len(judged.removed)),
            scores["logical_precision"],
            scores["logical_recall"],
            compare_rows(rows[0], rows[1], (self._encoder,)).f1,
        )


def _phrases(text: str) -> tuple[GroundedPhrase, ...]:
    return tuple(GroundedPhrase(phrase) for phrase in split_report(text))


class _Remembering:
    """A text encoder that keeps its vectors: reports of one model share most of their phrases."""

    def __init__(self, encoder: TextEncoder) -> None:
        self.name = encoder.name
        self._encoder = encoder
        self._phrases: dict[str, np.ndarray] = {}

    def phrases(self, texts: Sequence[str]) -> np.ndarray:
        new = [text for text in dict.fromkeys(texts) if text not in self._phrases]
        if new:
            self._phrases.update(zip(new, self._encoder.phrases(new), strict=True))
        return np.array([self._phrases[text] for text in texts])

    def values(self, texts: Sequence[str]) -> np.ndarray:
        return self._encoder.values(texts) if not len(texts) else self.phrases(texts)
