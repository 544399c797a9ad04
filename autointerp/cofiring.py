"""Which features fire on the same tokens, counted on a sample of tokens that fits in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from scipy import sparse

from autointerp.firing import Firing

N_NEIGHBOURS = 8
#: Fewer tokens in common are chance, not company.
MIN_TOKENS = 3
#: Activations that a sample may hold: 4 bytes each.
MAX_ENTRIES = 1 << 23
#: Cells of the table of counts that are made at once.
_BLOCK_CELLS = 1 << 22
_ALL = np.uint64(2**64 - 1)


class CoFiringSample:
    """The features of a random sample of tokens.

    A token is in the sample if a hash of its row number is below a bound; whenever the sample grows too large, the
    bound is halved. So the sample does not depend on the order in which tokens come, nor on who sees which of them, and
    while the store is small it is all of it.

    Args:
        n_features: F.
        seed: of the hash.
    """

    def __init__(self, n_features: int, seed: int, max_entries: int = MAX_ENTRIES) -> None:
        self._n_features, self._max_entries = n_features, max_entries
        self._salt = np.uint64((seed * 0x9E3779B97F4A7C15 + 1) % 2**64)
        self._bound = _ALL
        self._rows = np.empty(0, dtype=np.int64)
        self._lengths = np.empty(0, dtype=np.int32)
        self._features = np.empty(0, dtype=np.int32)

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row_n: np.ndarray, firing: Firing) -> None:
        """Tokens of a chunk: their rows of the store, and their activations."""
        self._join(self._bound, row_n, np.diff(firing.row_offsets_n).astype(np.int32), firing.by_row_m)

    @property
    def state(self) -> dict[str, np.ndarray]:
        """What :meth:`merge` takes."""
        bound = np.array([self._bound], dtype=np.uint64)
        return {"bound": bound, "rows": self._rows, "lengths": self._lengths, "features": self._features}

    def merge(self, state: Mapping[str, np.ndarray]) -> None:
        """Add the sample that another one has taken with the same seed."""
        self._join(state["bound"][0], state["rows"], state["lengths"], state["features"])

    def _join(self, bound: np.uint64, row_n: np.ndarray, length_n: np.ndarray, feature_m: np.ndarray) -> None:
        if bound < self._bound:
            self._bound = bound
            self._keep(self._hash(self._rows) <= bound)
        within = self._hash(row_n) <= self._bound
        feature_m = feature_m[np.repeat(within, length_n)]
        self._rows = np.concatenate([self._rows, row_n[within]])
        self._lengths = np.concatenate([self._lengths, length_n[within]])
        self._features = np.concatenate([self._features, feature_m])
        while len(self._features) > self._max_entries and len(self._rows) > 1:
            self._bound = self._bound >> np.uint64(1)
            self._keep(self._hash(self._rows) <= self._bound)

    def _keep(self, within: np.ndarray) -> None:
        self._features = self._features[np.repeat(within, self._lengths)]
        self._rows, self._lengths = self._rows[within], self._lengths[within]

    def _hash(self, row_n: np.ndarray) -> np.ndarray:
        """splitmix64 of the row numbers."""
        x = row_n.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + self._salt
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))

    def neighbours(self, n: int = N_NEIGHBOURS) -> list[list[dict[str, Any]]]:
        """Up to n features for each feature, by the Jaccard index of their tokens in the sample, highest first.

        The Jaccard index is (tokens on which both fire) / (tokens on which either fires). Of the features with equal
        index the lower number comes first; with under :data:`MIN_TOKENS` tokens in common none is listed.
        """
        offsets = np.concatenate([[0], np.cumsum(self._lengths)])
        ones = np.ones(len(self._features), dtype=np.int32)
        by_token = sparse.csr_matrix((ones, self._features, offsets), shape=(len(self), self._n_features))
        by_feature = by_token.tocsc()
        fires = np.diff(by_feature.indptr)
        listed: list[list[dict[str, Any]]] = []
        for block in _blocks(self._n_features, max(_BLOCK_CELLS // self._n_features, 1)):
            both = (by_feature[:, block].T @ by_token).tocsr()
            for feature in range(block.start, block.stop):
                span = slice(both.indptr[feature - block.start], both.indptr[feature - block.start + 1])
                listed.append(_nearest(feature, both.indices[span], both.data[span], fires, n))
        return listed


def _nearest(feature: int, other_k: np.ndarray, both_k: np.ndarray, fires: np.ndarray, n: int) -> list[dict[str, Any]]:
    enough = (both_k >= MIN_TOKENS) & (other_k != feature)
    other_k, both_k = other_k[enough], both_k[enough]
    jaccard_k = both_k / (fires[feature] + fires[other_k] - both_k)
    if len(other_k) > 4 * n:  # sorting all of them would take longer than finding the best
        bound = np.partition(jaccard_k, -n)[-n]
        best = jaccard_k >= bound
        other_k, both_k, jaccard_k = other_k[best], both_k[best], jaccard_k[best]
    order = np.lexsort((other_k, -jaccard_k))[:n]
    return [{"feature": int(other_k[i]), "n_tokens": int(both_k[i]), "jaccard": float(jaccard_k[i])} for i in order]


def _blocks(n: int, step: int) -> Iterator[slice]:
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))
