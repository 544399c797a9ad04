"""The activations of a chunk of tokens, put in order feature by feature: everything that is counted is counted so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from sae.codes import SparseCodes


@dataclass(frozen=True)
class Firing:
    """m activations (> 0) of n tokens, sorted by feature, then token.

    Attributes:
        n_features: F.
        active_a: features that fire at all, rising.
        starts_a: where each of them begins in the arrays below.
        feature_m, row_m, value_m: feature, token (0 … n − 1) and value of each activation.
        row_offsets_n: (n + 1,) and ``by_row_m``: the features of each token, token after token.
    """

    n_features: int
    active_a: np.ndarray
    starts_a: np.ndarray
    feature_m: np.ndarray
    row_m: np.ndarray
    value_m: np.ndarray
    row_offsets_n: np.ndarray
    by_row_m: np.ndarray

    @staticmethod
    def of(codes: SparseCodes) -> Firing:
        """The activations of n tokens, by a counting sort (linear in m)."""
        offsets = codes.row_offsets.cpu().numpy()
        features = codes.indices.cpu().numpy().astype(np.int32)
        values = codes.values.detach().float().cpu().numpy()
        rows = sparse.csr_matrix((values, features, offsets), shape=(len(codes), codes.n_features))
        columns = rows.tocsc()
        counts_f = np.diff(columns.indptr)
        active = np.flatnonzero(counts_f)
        return Firing(
            codes.n_features,
            active,
            columns.indptr[active].astype(np.int64),
            np.repeat(active, counts_f[active]),
            columns.indices.astype(np.int64),
            columns.data,
            offsets,
            features,
        )

    def __len__(self) -> int:
        return len(self.value_m)

    def counts(self) -> np.ndarray:
        """(a,) tokens on which each active feature fires."""
        return np.diff(np.append(self.starts_a, len(self)))
