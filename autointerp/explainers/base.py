"""What an explainer is given and what it gives back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd

from autointerp.explanation import Explanation
from autointerp.schema import POSITIVE_KINDS, Modality, Split
from radiology.errors import InputError

#: A feature counts as of one modality when less than this share of its firing tokens is of the other.
MINOR_SHARE = 0.1
_FIRING = frozenset(kind.value for kind in POSITIVE_KINDS)


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

    @cached_property
    def fires(self) -> np.ndarray:
        """(n,) bool: contexts in which the feature fires."""
        return np.array([kind in _FIRING for kind in self.contexts["kind"].tolist()], dtype=bool)

    @cached_property
    def studies(self) -> frozenset[int]:
        """Numbers of the studies that the contexts are from."""
        return frozenset(map(int, self.contexts["study"].tolist()))

    @cached_property
    def rows(self) -> list[Any]:
        """The contexts as plain objects, a column an attribute: taking rows out of a frame costs far more."""
        columns = {str(name): column.tolist() for name, column in self.contexts.items()}
        return [
            SimpleNamespace(**dict(zip(columns, values, strict=True))) for values in zip(*columns.values(), strict=True)
        ]

    def split_by_firing(self, modality: Modality) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Contexts of one modality in which the feature fires, and in which it is quiet."""
        of_modality = self.contexts[self.contexts["modality"] == modality.value]
        fires = self.fires[(self.contexts["modality"] == modality.value).to_numpy(bool)]
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
