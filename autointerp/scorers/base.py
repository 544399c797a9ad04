"""What scorers and judges hand to each other.

A *judge* says how well a label fits a context: by rules, by asking a language model, or by likeness of words. A
*scorer* chooses what to have judged and turns the verdicts into rows of ``scores.parquet``. Any scorer goes with any
judge that can judge its contexts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pandas as pd

from autointerp.explanation import label_words
from autointerp.schema import Hardness, Kind, Modality, Polarity

NAN = float("nan")
#: What labels are scored against: all hard negatives, random ones, and each kind of hard ones where there are any.
AGAINST: tuple[str, ...] = (Kind.HARD_NEGATIVE.value, Kind.RANDOM_NEGATIVE.value, *(kind.value for kind in Hardness))
#: The polarity that says the opposite; "changed" has none.
_OPPOSITE = {Polarity.PRESENT: Polarity.ABSENT, Polarity.ABSENT: Polarity.PRESENT, Polarity.UNCERTAIN: Polarity.ABSENT}


@dataclass(frozen=True)
class Label:
    """The part of an explanation that can be compared: ``concept`` is ``None`` for "any finding of this polarity"."""

    concept: str | None
    side: str | None
    polarity: str
    modality: str
    text: str = ""

    @property
    def meaning(self) -> tuple[str | None, str | None, str]:
        return self.concept, self.side, self.polarity

    @property
    def predicts(self) -> bool:
        return self.polarity != Polarity.NONE

    @property
    def flipped(self) -> Label | None:
        """The same finding with the opposite polarity; ``None`` where there is no opposite."""
        opposite = _OPPOSITE.get(Polarity(self.polarity))
        if opposite is None or self.concept is None:
            return None
        return replace(self, polarity=opposite.value, text=label_words(self.concept, self.side, opposite.value))

    @staticmethod
    def of(row: Any) -> Label:
        """From a row of ``explanations.parquet``."""
        missing = {name for name in ("concept", "side") if pd.isna(getattr(row, name))}
        concept, side = (None if name in missing else str(getattr(row, name)) for name in ("concept", "side"))
        return Label(concept, side, str(row.polarity), str(row.modality), str(row.label))

    def contexts(self, contexts: pd.DataFrame) -> pd.DataFrame:
        """Those of the modality for which the label holds."""
        return contexts if self.modality == Modality.BOTH else contexts[contexts["modality"] == self.modality]


@dataclass(frozen=True, eq=False)
class Task:
    """One label to judge on contexts.

    Attributes:
        feature: whose contexts they are.
        part: what the verdicts are for: ``own``, ``flipped``, ``rival 0`` …
        contexts: n rows of ``contexts.parquet``; a column ``marks`` (token numbers) asks about the marked words only.
    """

    feature: int
    part: str
    label: Label
    contexts: pd.DataFrame


class Judge(Protocol):
    """Says how well labels fit contexts.

    Attributes:
        name: empty for the offline rules; it stands behind the name of the scorer in the table.
        model: written into the table; ``None`` for rules.
        n_rivals: labels of other features that are worth being judged for the baseline.
    """

    @property
    def name(self) -> str: ...

    @property
    def model(self) -> str | None: ...

    @property
    def n_rivals(self) -> int: ...

    def can_judge(self, label: Label) -> str:
        """Empty, or why a label cannot be judged."""
        ...

    def fits(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, np.ndarray]]:
        """(n,) from 0 (does not fit) to 1, NaN where it cannot tell; in any order."""
        ...

    def intruders(self, groups: Iterable[pd.DataFrame]) -> Iterator[tuple[int, int | None]]:
        """For each group of contexts (by its number) the row that does not belong; ``None`` if it cannot tell."""
        ...


class Scorer(Protocol):
    """Turns verdicts into rows of ``scores.parquet`` (without the column ``explainer``)."""

    @property
    def name(self) -> str: ...

    def score_all(self, asked: Sequence[Asked]) -> Iterator[list[dict[str, Any]]]:
        """The rows of each label, in any order."""
        ...


@dataclass(frozen=True, eq=False)
class Asked:
    """A label to score: its contexts of the score split, and the labels of other features."""

    feature: int
    label: Label
    contexts: pd.DataFrame
    others: Sequence[Label]


def against(contexts: pd.DataFrame, kind: str) -> np.ndarray:
    """(n,) bool: which contexts are negatives of a kind of :data:`AGAINST`."""
    if kind in set(Hardness):
        hardness = contexts["hardness"] if "hardness" in contexts else pd.Series(None, index=contexts.index)
        return np.asarray(hardness == kind, dtype=bool)
    return np.asarray(contexts["kind"] == kind, dtype=bool)


def no_score(note: str) -> dict[str, Any]:
    """The columns of a row without a score."""
    names = ("balanced_accuracy", "auc")
    empty: dict[str, Any] = {f"{name}{end}": NAN for name in names for end in ("", "_low", "_high")}
    empty |= {f"{front}_{name}": NAN for name in names for front in ("baseline", "flipped")}
    return {"n": 0, "n_patients": 0} | empty | {"purity": NAN, "p": NAN, "q": NAN, "note": note}
