"""Search by meaning: labels whose vectors are nearest to that of the words."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np

from dashboards.app.listing import FeatureList

MOST = 200
#: Cosine below which nothing is taken for alike.
LEAST = 0.25


class Sense:
    """Vectors of labels, made when first asked for.

    Args:
        embed: texts → (n, d) rows of length 1.
    """

    def __init__(self, embed: Callable[[Sequence[str]], np.ndarray]) -> None:
        self._embed, self._lock = embed, threading.Lock()
        self._of: FeatureList | None = None
        self._ids: np.ndarray = np.empty(0, np.int64)
        self._place: np.ndarray = np.empty(0, np.int64)
        self._vectors: np.ndarray = np.empty((0, 1), np.float32)

    def nearest(self, features: FeatureList, text: str) -> list[int]:
        """Features by likeness of their label to ``text``, nearest first; equal labels are embedded once."""
        with self._lock:
            if self._of is not features:
                ids, labels = features.texts()
                distinct = list(dict.fromkeys(labels))
                place = {label: row for row, label in enumerate(distinct)}
                self._vectors = self._embed(distinct) if distinct else np.empty((0, 1), np.float32)
                self._ids, self._place = np.array(ids, np.int64), np.array([place[one] for one in labels], np.int64)
                self._of = features
            if not len(self._ids):
                return []
            cosine_n = (self._vectors @ self._embed([text])[0])[self._place]
        order = np.argsort(-cosine_n, kind="stable")[:MOST]
        return [int(self._ids[at]) for at in order if cosine_n[at] >= LEAST]
