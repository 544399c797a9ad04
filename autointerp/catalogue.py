"""What the texts behind units have in common: findings, words, and which sentences are near-duplicates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from autointerp.reading import Reading, content_words, key_of
from autointerp.schema import Polarity
from autointerp.units import Documents

_SEEN = (Polarity.PRESENT, Polarity.UNCERTAIN)


@dataclass(frozen=True)
class Catalogue:
    """D documents as matrices.

    Attributes:
        readings: the A distinct readings (``concept[:side]=status``) as parsed.
        says: (D, A) float32, 1 where a document says so.
        keys: the K distinct ``concept[:side]`` keys.
        sees: (D, K) float32, 1 where a document calls the key present or uncertain.
        known: (D,) bool, false where nothing tells the findings.
        words: (D, V) sparse, tf-idf weights of content words, rows of norm 1 (0 for reports).
        duplicate: (D,) int64, equal for near-duplicate sentences: same content words, whatever their order.
    """

    readings: tuple[Reading, ...]
    says: np.ndarray
    keys: tuple[str, ...]
    sees: np.ndarray
    known: np.ndarray
    words: sparse.csr_matrix
    duplicate: np.ndarray

    @cached_property
    def key_concepts(self) -> np.ndarray:
        """(K,) concept of each key."""
        return np.array([key.partition(":")[0] for key in self.keys], dtype=object)

    @staticmethod
    def of(documents: Documents) -> Catalogue:
        texts = sorted({text for found in documents.findings for text in found or ()})
        readings = tuple(Reading.parse(text) for text in texts)
        place = {text: i for i, text in enumerate(texts)}
        says = np.zeros((len(documents), len(texts)), dtype=np.float32)
        for document, found in enumerate(documents.findings):
            says[document, [place[text] for text in found or ()]] = 1.0
        keys = tuple(sorted({key_of(reading.concept, reading.side) for reading in readings}))
        sees = np.zeros((len(documents), len(keys)), dtype=np.float32)
        for column, reading in enumerate(readings):
            if reading.status in _SEEN:
                sees[says[:, column] > 0, keys.index(key_of(reading.concept, reading.side))] = 1.0
        words, duplicate = _words(documents)
        known = np.array([found is not None for found in documents.findings], dtype=bool)
        return Catalogue(readings, says, keys, sees, known, words, duplicate)


def _words(documents: Documents) -> tuple[sparse.csr_matrix, np.ndarray]:
    vocabulary: dict[str, int] = {}
    groups: dict[tuple[str, ...], int] = {}
    columns: list[int] = []
    offsets = [0]
    duplicate = np.empty(len(documents), dtype=np.int64)
    for document, sentence in enumerate(documents.sentences):
        found = () if sentence is None else content_words(sentence)
        columns += [vocabulary.setdefault(word, len(vocabulary)) for word in found]
        offsets.append(len(columns))
        # A report, and a sentence of fillers only, is like nothing but itself.
        duplicate[document] = groups.setdefault(found or ("", str(document)), len(groups))
    shape = (len(documents), max(len(vocabulary), 1))
    counts = sparse.csr_matrix((np.ones(len(columns)), columns, offsets), shape=shape)
    n_with_word = np.bincount(columns, minlength=shape[1])
    weighted = counts @ sparse.diags(np.log((1 + len(documents)) / (1 + n_with_word)) + 1)
    norms = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).reshape(-1))
    scaled = sparse.diags(1 / np.maximum(norms, 1e-12)) @ weighted
    return sparse.csr_matrix(scaled), duplicate
