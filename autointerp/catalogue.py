"""What the texts behind units have in common: findings, words, and which sentences are near-duplicates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from autointerp.duplicates import near_duplicates
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
        duplicate: (D,) int64, equal for near-duplicate sentences (:mod:`autointerp.duplicates`).
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

    @cached_property
    def documents_saying(self) -> sparse.csr_matrix:
        """(A, D) sparse, the transpose of ``says``."""
        return sparse.csr_matrix(self.says.T)

    @cached_property
    def word_documents(self) -> sparse.csr_matrix:
        """(V, D) sparse, the transpose of ``words``."""
        return sparse.csr_matrix(self.words.T)

    @cached_property
    def _contradicting(self) -> dict[int, np.ndarray]:
        return {}

    def contradicting(self, reading: int) -> np.ndarray:
        """(D,) bool: documents that tell another status of the concept of a reading, and not the same status."""
        if reading not in self._contradicting:
            mark = self.readings[reading]
            same_concept = np.array([one.concept == mark.concept for one in self.readings])
            same_status = np.array([one.status == mark.status for one in self.readings])
            other, same = same_concept & ~same_status, same_concept & same_status
            says_other, says_same = self.says[:, other].any(axis=1), self.says[:, same].any(axis=1)
            self._contradicting[reading] = np.asarray(says_other & ~says_same)
        return self._contradicting[reading]

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
    columns: list[int] = []
    offsets = [0]
    # A report, and a sentence of fillers only, is like nothing but itself.
    words = [() if sentence is None else content_words(sentence) for sentence in documents.sentences]
    for found in words:
        columns += [vocabulary.setdefault(word, len(vocabulary)) for word in found]
        offsets.append(len(columns))
    shape = (len(documents), max(len(vocabulary), 1))
    counts = sparse.csr_matrix((np.ones(len(columns)), columns, offsets), shape=shape)
    n_with_word = np.bincount(columns, minlength=shape[1])
    weighted = counts @ sparse.diags(np.log((1 + len(documents)) / (1 + n_with_word)) + 1)
    norms = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).reshape(-1))
    scaled = sparse.diags(1 / np.maximum(norms, 1e-12)) @ weighted
    return sparse.csr_matrix(scaled), near_duplicates(words, documents.findings)
