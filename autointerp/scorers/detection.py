"""Detection without a language model: does the label tell where the feature fires?

A label with a concept and a polarity predicts for every context of the score split whether the feature fires: it reads
what the context says (the sentence, or the report of the image) and compares concept, side and polarity. Hard and
random negatives are scored apart, since a label of the wrong polarity passes the random ones. Beside each score stands
what the labels of other features reach on the very same contexts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from autointerp.reading import Said, fit, read_findings, said
from autointerp.schema import NEGATIVE_KINDS, POSITIVE_KINDS, Kind, Modality, Polarity, Split
from autointerp.scorers.measures import auc, balanced_accuracy, bootstrap
from radiology.errors import InputError

#: Other labels that are tried for the baseline.
N_BASELINE = 10
_NAN = float("nan")


@dataclass(frozen=True)
class Label:
    """The part of an explanation that can be compared: ``concept`` is ``None`` for "any finding of this polarity"."""

    concept: str | None
    side: str | None
    polarity: str
    modality: str

    @property
    def meaning(self) -> tuple[str | None, str | None, str]:
        return self.concept, self.side, self.polarity

    @property
    def predicts(self) -> bool:
        return self.polarity != Polarity.NONE

    @staticmethod
    def of(row: Any) -> Label:
        """From a row of ``explanations.parquet``."""
        missing = {name for name in ("concept", "side") if pd.isna(getattr(row, name))}
        concept, side = (None if name in missing else str(getattr(row, name)) for name in ("concept", "side"))
        return Label(concept, side, str(row.polarity), str(row.modality))


@dataclass(frozen=True)
class DetectionScorer:
    """Scores labels by detection. ``seed`` decides the bootstrap and which other labels make the baseline."""

    seed: int = 0
    name: str = "detection"

    def score(
        self, feature: int, label: Label, contexts: pd.DataFrame, others: Sequence[Label]
    ) -> list[dict[str, Any]]:
        """One row of ``scores.parquet`` per kind of negatives (without the column ``explainer``).

        Args:
            contexts: the feature's contexts of the score split.
            others: labels of other features; those of the same meaning are not used.

        Raises:
            InputError: a context of the explain split is among them.
        """
        if (contexts["split"] != Split.SCORE.value).any():
            raise InputError(f"feature {feature}: labels must be scored on contexts of the score split only")
        if label.modality != Modality.BOTH:
            contexts = contexts[contexts["modality"] == label.modality]
        known = [_said(row) for row in contexts.itertuples()]
        usable = np.array([one is not None for one in known], dtype=bool)
        texts = [one for one in known if one is not None]
        contexts = contexts[usable]
        rng = np.random.default_rng((self.seed, feature))
        rivals = _draw([other for other in others if other.predicts and other.meaning != label.meaning], rng)
        return [self._of_kind(feature, label, kind, contexts, texts, rivals, rng) for kind in NEGATIVE_KINDS]

    def _of_kind(
        self,
        feature: int,
        label: Label,
        negative: Kind,
        contexts: pd.DataFrame,
        texts: list[tuple[Said, bool]],
        rivals: list[Label],
        rng: np.random.Generator,
    ) -> dict[str, Any]:
        kind = contexts["kind"].to_numpy(str)
        fires = np.isin(kind, [one.value for one in POSITIVE_KINDS])
        used = np.flatnonzero(fires | (kind == negative.value))
        fires_n = fires[used]
        row: dict[str, Any] = {"feature": feature, "scorer": self.name, "negative_kind": negative.value}
        note = _why_not(label, fires_n)
        if note:
            return row | _no_score(note)
        here = [texts[i] for i in used]
        prediction_n = _predict(label, here)
        patient_n = contexts["patient_id"].to_numpy(str)[used]
        accuracy, area = bootstrap(prediction_n, fires_n, patient_n, rng)
        rival = [_predict(other, here) for other in rivals]
        return row | {
            "n": len(used),
            "n_patients": len(np.unique(patient_n)),
            "balanced_accuracy": accuracy.value,
            "balanced_accuracy_low": accuracy.low,
            "balanced_accuracy_high": accuracy.high,
            "auc": area.value,
            "auc_low": area.low,
            "auc_high": area.high,
            "baseline_balanced_accuracy": _mean([balanced_accuracy(one, fires_n) for one in rival]),
            "baseline_auc": _mean([auc(one, fires_n) for one in rival]),
            "note": "",
        }


def _said(row: Any) -> tuple[Said, bool] | None:
    """What a context says and whether that is a whole report; ``None`` if nothing tells."""
    if row.modality == Modality.TEXT:
        return said(read_findings(row.sentence)), False
    return None if row.findings is None else (said(tuple(row.findings)), True)


def _predict(label: Label, texts: list[tuple[Said, bool]]) -> np.ndarray:
    concept, side, polarity = label.meaning
    return np.array([fit(concept, side, polarity, table, whole) for table, whole in texts])


def _draw(others: list[Label], rng: np.random.Generator) -> list[Label]:
    if len(others) <= N_BASELINE:
        return others
    return [others[i] for i in rng.choice(len(others), N_BASELINE, replace=False)]


def _why_not(label: Label, fires_n: np.ndarray) -> str:
    if not label.predicts:
        return "the label names no finding"
    if not fires_n.any():
        return "no firing context in the score split"
    return "no such negatives in the score split" if fires_n.all() else ""


def _no_score(note: str) -> dict[str, Any]:
    names = ("balanced_accuracy", "auc")
    empty = {f"{name}{end}": _NAN for name in names for end in ("", "_low", "_high")}
    baseline = {f"baseline_{name}": _NAN for name in names}
    return {"n": 0, "n_patients": 0} | empty | baseline | {"note": note}


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else _NAN
