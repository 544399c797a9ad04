"""What an explainer is given and what it gives back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd

from autointerp.explanation import Explanation
from autointerp.schema import POSITIVE_KINDS, Modality, Split
from radiology.errors import InputError

#: A feature counts as of one modality when less than this share of its firing tokens is of the other.
MINOR_SHARE = 0.1


@dataclass(frozen=True)
class FeatureEvidence:
    """A feature as an explainer may see it: its row of the feature table and its contexts of the explain split.

    Raises:
        InputError: a context of the score split is among them.
    """

    feature: dict[str, Any]
    contexts: pd.DataFrame

    def __post_init__(self) -> None:
        if (self.contexts["split"] != Split.EXPLAIN.value).any():
            raise InputError(f"feature {self.number}: an explainer must not see contexts of the score split")

    @property
    def number(self) -> int:
        return int(self.feature["feature"])

    @property
    def modality(self) -> Modality:
        """By the share of image patches among the tokens on which the feature fires."""
        share = float(self.feature["image_share"])
        if share >= 1 - MINOR_SHARE:
            return Modality.IMAGE
        return Modality.TEXT if share <= MINOR_SHARE else Modality.BOTH

    def split_by_firing(self, modality: Modality) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Contexts of one modality in which the feature fires, and in which it is quiet."""
        of_modality = self.contexts[self.contexts["modality"] == modality.value]
        fires = of_modality["kind"].isin([kind.value for kind in POSITIVE_KINDS])
        return of_modality[fires], of_modality[~fires]


class Explainer(Protocol):
    """Says what a feature means. ``name`` is stored with every explanation."""

    @property
    def name(self) -> str: ...

    def explain(self, evidence: FeatureEvidence) -> Explanation: ...


@runtime_checkable
class ExplainsMany(Protocol):
    """An explainer that works on many features at once; explanations come in any order."""

    def explain_all(self, evidences: Sequence[FeatureEvidence]) -> Iterator[Explanation]: ...


def grouped(contexts: pd.DataFrame, features: np.ndarray) -> Iterator[tuple[int, pd.DataFrame]]:
    """The contexts of each of the given features, empty for features without any."""
    ordered = contexts.sort_values("feature", kind="stable", ignore_index=True)
    numbers = ordered["feature"].to_numpy()
    starts, stops = np.searchsorted(numbers, features), np.searchsorted(numbers, features, side="right")
    for feature, start, stop in zip(features.tolist(), starts.tolist(), stops.tolist(), strict=True):
        yield feature, ordered.iloc[start:stop]
