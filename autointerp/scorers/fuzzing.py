"""Fuzzing: does the label hold for the very words on which the feature fires?

Words of a sentence are marked, and the judge says whether the label fits the marked words. In firing sentences the
marks are on the words of the activation. Negatives are the same sentences with the marks moved to other words, and
quiet sentences with marks anywhere. After delphi's fuzzing scorer; there the moved marks are missing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from autointerp.schema import POSITIVE_KINDS, Kind, Modality
from autointerp.scorers.base import Asked
from autointerp.scorers.detection import DetectionScorer

#: A token is marked from this share of the sentence's largest activation on.
_MARK_SHARE = 0.3


@dataclass(frozen=True)
class FuzzingScorer(DetectionScorer):
    """Scores labels of text by fuzzing; images have no words and are left out.

    Rows are those of detection, with marked words; the firing sentences with moved marks stand beside the random
    negatives and the hard ones in the rows of both.
    """

    base: str = "fuzzing"

    def contexts(self, asked: Asked) -> pd.DataFrame:
        """The text contexts with the column ``marks``; firing ones come twice, the second time as negatives."""
        contexts = asked.label.contexts(asked.contexts)
        text = contexts[contexts["modality"] == Modality.TEXT.value]
        rng = np.random.default_rng((self.seed, asked.feature, 2))
        fires = text["kind"].isin([kind.value for kind in POSITIVE_KINDS]).to_numpy(bool)
        true_marks = [_true_marks(row) for row in text[fires].itertuples()]
        usual = round(float(np.mean([len(marks) for marks in true_marks]))) if true_marks else 1
        firing = text[fires].assign(marks=pd.Series(true_marks, index=text.index[fires], dtype=object))
        quiet_marks = [_any_marks(len(row.tokens), usual, rng) for row in text[~fires].itertuples()]
        quiet = text[~fires].assign(marks=pd.Series(quiet_marks, index=text.index[~fires], dtype=object))
        moved = [self._moved(firing, kind, rng) for kind in (Kind.HARD_NEGATIVE, Kind.RANDOM_NEGATIVE)]
        return pd.concat([firing, quiet, *moved], ignore_index=True)

    def _moved(self, firing: pd.DataFrame, kind: Kind, rng: np.random.Generator) -> pd.DataFrame:
        marks = [_moved_marks(row, rng) for row in firing.itertuples()]
        moved = firing.assign(kind=kind.value, marks=pd.Series(marks, index=firing.index, dtype=object))
        return moved[[len(one) > 0 for one in marks]] if len(moved) else moved


def _true_marks(row: object) -> tuple[int, ...]:
    values = np.asarray(row.activations, dtype=np.float64)  # type: ignore[attr-defined]
    return tuple(np.flatnonzero(values >= max(_MARK_SHARE * values.max(), 1e-12)).tolist()) if len(values) else ()


def _moved_marks(row: object, rng: np.random.Generator) -> tuple[int, ...]:
    """As many marks on words where the feature is quiet; none if it fires on all."""
    values = np.asarray(row.activations, dtype=np.float64)  # type: ignore[attr-defined]
    quiet = np.flatnonzero(values <= 0)
    n = min(len(row.marks), len(quiet))  # type: ignore[attr-defined]
    return tuple(np.sort(rng.choice(quiet, n, replace=False)).tolist()) if n else ()


def _any_marks(n_tokens: int, n: int, rng: np.random.Generator) -> tuple[int, ...]:
    return tuple(np.sort(rng.choice(n_tokens, min(n, n_tokens), replace=False)).tolist()) if n_tokens else ()
