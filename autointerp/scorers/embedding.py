"""A judge by likeness of words: the cosine of label and context in a sentence encoder.

Fast and without a language model, but blind to negation: "no effusion" and "effusion" are neighbours. It shows what a
score is worth that cannot tell polarity, and serves labels that name no concept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from autointerp.schema import Modality
from autointerp.scorers.base import Label, Task
from radiology.metrics.text_encoders import TextEncoder, open_encoder


class EmbeddingJudge:
    """Fits are cosines, moved so that the mean of a task's contexts lies at 0.5.

    Args:
        encoder: all-MiniLM-L6-v2 from its package unless given.
    """

    n_rivals = 10

    def __init__(self, encoder: TextEncoder | None = None) -> None:
        self._encoder = encoder or open_encoder("minilm")
        self.name = ""
        self.model: str | None = self._encoder.name
        self._known: dict[str, np.ndarray] = {}

    def can_judge(self, label: Label) -> str:
        return "" if label.text.strip() else "the label has no words"

    def fits(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, np.ndarray]]:
        for task in tasks:
            texts = [words_of(row) for row in task.contexts.itertuples()]
            cosine_n = self._vectors(texts) @ self._vectors([task.label.text])[0]
            yield task, 0.5 + (cosine_n - cosine_n.mean()) / 2 if len(texts) else cosine_n

    def intruders(self, groups: Iterable[pd.DataFrame]) -> Iterator[tuple[int, int | None]]:
        """The context least like the others."""
        for number, group in enumerate(groups):
            vectors = self._vectors([words_of(row) for row in group.itertuples()])
            yield number, int((vectors @ vectors.T).sum(axis=1).argmin())

    def _vectors(self, texts: list[str]) -> np.ndarray:
        new = list(dict.fromkeys(text for text in texts if text not in self._known))
        if new:
            self._known |= dict(zip(new, self._encoder.phrases(new), strict=True))
        return np.stack([self._known[text] for text in texts])


def words_of(row: Any) -> str:
    """A context in words: the sentence, or what the report says of the image."""
    if row.modality == Modality.TEXT.value:
        return str(row.sentence)
    findings = [] if row.findings is None else [str(one).replace("_", " ").replace("=", " ") for one in row.findings]
    return "; ".join(findings) or "unknown"
