"""One label of one feature, checked when made."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from autointerp.schema import MAX_LABEL_WORDS, Modality, Polarity
from radiology.errors import InputError
from radiology.vocabulary import CONCEPTS


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """A row of ``explanations.parquet``; the columns are described in :mod:`autointerp.schema`.

    Raises:
        InputError: the label is empty or too long, or the concept, polarity or modality does not exist.
    """

    feature: int
    explainer: str
    label: str
    concept: str | None = None
    side: str | None = None
    polarity: str = Polarity.NONE.value
    modality: str = Modality.BOTH.value
    reasoning: str = ""
    n_firing: int = 0
    n_quiet: int = 0
    firing_share: float | None = None
    quiet_share: float | None = None
    z: float | None = None
    model: str | None = None
    prompt_hash: str | None = None
    cost: float | None = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __post_init__(self) -> None:
        where = f"explanation of feature {self.feature}"
        words = len(self.label.split())
        if not 1 <= words <= MAX_LABEL_WORDS:
            raise InputError(f"{where}: the label has {words} words; it must have 1 to {MAX_LABEL_WORDS}")
        if self.concept is not None and self.concept not in CONCEPTS:
            raise InputError(f"{where}: concept {self.concept!r} does not exist; choose one of {sorted(CONCEPTS)}")
        if self.side is not None and self.concept is None:
            raise InputError(f"{where}: side {self.side!r} without a concept")
        if self.polarity not in list(Polarity):
            raise InputError(f"{where}: polarity {self.polarity!r} is not one of {[p.value for p in Polarity]}")
        if self.concept is not None and self.polarity == Polarity.NONE:
            raise InputError(f"{where}: concept {self.concept!r} needs a polarity other than none")
        if self.modality not in list(Modality):
            raise InputError(f"{where}: modality {self.modality!r} is not one of {[m.value for m in Modality]}")

    def row(self) -> dict[str, Any]:
        """The columns of the table."""
        return asdict(self)


def label_words(concept: str, side: str | None, polarity: str) -> str:
    """A label such as ``left pleural effusion present``, ``no pneumothorax``, ``nasogastric tube misplaced``."""
    name = CONCEPTS[concept].name
    if side == "misplaced":
        return f"{name} {'well placed' if polarity == Polarity.ABSENT else 'misplaced'}"
    sided = name if side is None else f"{side} {name}"
    return {
        Polarity.ABSENT: f"no {sided}",
        Polarity.UNCERTAIN: f"possible {sided}",
        Polarity.CHANGED: f"{sided} changed",
    }.get(Polarity(polarity), f"{sided} present")
