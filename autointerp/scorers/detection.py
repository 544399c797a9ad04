"""Detection: does the label tell where the feature fires?

A judge says for every context of the score split how well the label fits it. Hard and random negatives are scored
apart, since a label of the wrong polarity passes the random ones. Beside each score stands what labels of other
features reach on the very same contexts, and what the label with the opposite polarity reaches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from autointerp.schema import POSITIVE_KINDS, Kind, Split
from autointerp.scorers.base import AGAINST, NAN, Asked, Judge, Label, Task, against, no_score
from autointerp.scorers.measures import CUT, auc, balanced_accuracy, bootstrap
from autointerp.scorers.rules import RuleJudge
from autointerp.scorers.significance import greater
from radiology.errors import InputError

#: The first kinds get a row even if there are no such negatives; the others only if there are.
_ALWAYS = AGAINST[:2]


@dataclass(frozen=True)
class DetectionScorer:
    """Scores labels by detection.

    Attributes:
        judge: by rules unless given.
        seed: of the bootstrap and of which other labels make the baseline.
        base: the name of the scorer in the table, with the judge's behind it.
    """

    judge: Judge = field(default_factory=RuleJudge)
    seed: int = 0
    base: str = "detection"

    @property
    def name(self) -> str:
        return f"{self.base}:{self.judge.name}" if self.judge.name else self.base

    def score(
        self, feature: int, label: Label, contexts: pd.DataFrame, others: Sequence[Label]
    ) -> list[dict[str, Any]]:
        """The rows of one label; see :meth:`score_all`."""
        return next(self.score_all([Asked(feature, label, contexts, others)]))

    def score_all(self, asked: Sequence[Asked]) -> Iterator[list[dict[str, Any]]]:
        """Rows of ``scores.parquet`` of each label: one per kind of negatives.

        Raises:
            InputError: a context of the explain split is among them.
        """
        for one in asked:
            if (one.contexts["split"] != Split.SCORE.value).any():
                raise InputError(f"feature {one.feature}: labels must be scored on contexts of the score split only")
        waiting = {number: self.tasks(one) for number, one in enumerate(asked)}
        owner = {id(task): number for number, tasks in waiting.items() for task in tasks}
        verdicts: dict[int, dict[str, np.ndarray]] = {number: {} for number in waiting}
        for number in [number for number, tasks in waiting.items() if not tasks]:
            yield self.rows(asked[number], self.contexts(asked[number]), {})
        for task, fits_n in self.judge.fits(task for tasks in waiting.values() for task in tasks):
            number = owner[id(task)]
            verdicts[number][task.part] = fits_n
            if len(verdicts[number]) == len(waiting[number]):
                yield self.rows(asked[number], task.contexts, verdicts.pop(number))

    def contexts(self, asked: Asked) -> pd.DataFrame:
        """The contexts that are judged."""
        return asked.label.contexts(asked.contexts)

    def tasks(self, asked: Asked) -> list[Task]:
        """What the judge is given: the label, its opposite, and labels of other meaning."""
        contexts = self.contexts(asked)
        if self._why_not(asked, contexts):
            return []
        rng = np.random.default_rng((self.seed, asked.feature))
        rivals = [other for other in asked.others if other.predicts and other.meaning != asked.label.meaning]
        if len(rivals) > self.judge.n_rivals:
            rivals = [rivals[i] for i in rng.choice(len(rivals), self.judge.n_rivals, replace=False)]
        labels = {"own": asked.label} | {f"rival {number}": rival for number, rival in enumerate(rivals)}
        if asked.label.flipped is not None:
            labels["flipped"] = asked.label.flipped
        return [Task(asked.feature, part, label, contexts) for part, label in labels.items()]

    def rows(self, asked: Asked, contexts: pd.DataFrame, verdicts: dict[str, np.ndarray]) -> list[dict[str, Any]]:
        """One row per kind of negatives."""
        rng = np.random.default_rng((self.seed, asked.feature, 1))
        if verdicts:
            known = ~np.isnan(verdicts["own"])
            contexts = contexts[known]
            verdicts = {part: fits_n[known] for part, fits_n in verdicts.items()}
        kinds = [kind for kind in AGAINST if kind in _ALWAYS or against(contexts, kind).any()]
        return [self._row(asked, contexts, verdicts, kind, rng) for kind in kinds]

    def _row(
        self, asked: Asked, contexts: pd.DataFrame, verdicts: dict[str, np.ndarray], kind: str, rng: np.random.Generator
    ) -> dict[str, Any]:
        row: dict[str, Any] = {"feature": asked.feature, "scorer": self.name, "negative_kind": kind}
        row |= {"model": self.judge.model}
        fires = _fires(contexts)
        used = np.flatnonzero(fires | against(contexts, kind))
        fires_n = fires[used]
        note = self._why_not(asked, contexts) or _one_sided(fires_n)
        if note:
            return row | no_score(note)
        own_n = verdicts["own"][used]
        patient_n = contexts["patient_id"].to_numpy(str)[used]
        accuracy, area = bootstrap(own_n, fires_n, patient_n, rng)
        rivals = [fits[used] for part, fits in verdicts.items() if part.startswith("rival")]
        flipped = [verdicts["flipped"][used]] if "flipped" in verdicts else []
        return row | {
            "n": len(used),
            "n_patients": len(np.unique(patient_n)),
            "balanced_accuracy": accuracy.value,
            "balanced_accuracy_low": accuracy.low,
            "balanced_accuracy_high": accuracy.high,
            "auc": area.value,
            "auc_low": area.low,
            "auc_high": area.high,
            "baseline_balanced_accuracy": _mean(balanced_accuracy, rivals, fires_n),
            "baseline_auc": _mean(auc, rivals, fires_n),
            "flipped_balanced_accuracy": _mean(balanced_accuracy, flipped, fires_n),
            "flipped_auc": _mean(auc, flipped, fires_n),
            "purity": _purity(verdicts["own"], contexts),
            "p": greater(own_n, fires_n, patient_n),
            "q": NAN,
            "note": "",
        }

    def _why_not(self, asked: Asked, contexts: pd.DataFrame) -> str:
        return self.judge.can_judge(asked.label) or (
            "" if _fires(contexts).any() else "no firing context in the score split"
        )


def _fires(contexts: pd.DataFrame) -> np.ndarray:
    return np.asarray(contexts["kind"].isin([kind.value for kind in POSITIVE_KINDS]), dtype=bool)


def _one_sided(fires_n: np.ndarray) -> str:
    if not fires_n.any():
        return "no firing context in the score split"
    return "no such negatives in the score split" if fires_n.all() else ""


def _purity(own_n: np.ndarray, contexts: pd.DataFrame) -> float:
    """Share of the contexts of strongest activation that the label fits."""
    top = np.asarray(contexts["kind"] == Kind.TOP.value, dtype=bool)
    return float((own_n[top] >= CUT).mean()) if top.any() else NAN


def _mean(measure: Any, predictions: list[np.ndarray], fires_n: np.ndarray) -> float:
    """Over other labels; a verdict that is missing counts as undecided."""
    values = [measure(np.nan_to_num(one, nan=CUT / 2), fires_n) for one in predictions]
    return float(np.mean(values)) if values else NAN


__all__ = ["DetectionScorer", "Label"]
