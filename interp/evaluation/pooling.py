"""From tokens to studies: the largest and the mean activation of every feature, and of every residual dimension."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from activations import ActivationStore
from sae.model import MatryoshkaSAE


@dataclass(frozen=True)
class Pooled:
    """One row a study; studies without a token in the set have ``counts_s`` 0 and rows of zeros.

    Shapes: ``counts_s`` (S,), features (S, F), residuals (S, d); float32.
    """

    counts_s: np.ndarray
    features_max_sf: np.ndarray
    features_mean_sf: np.ndarray
    residual_max_sd: np.ndarray
    residual_mean_sd: np.ndarray

    def features(self, pool: str) -> np.ndarray:
        return self.features_max_sf if pool == "max" else self.features_mean_sf

    def residual(self, pool: str) -> np.ndarray:
        return self.residual_max_sd if pool == "max" else self.residual_mean_sd


@dataclass(frozen=True)
class TokenCodes:
    """Sparse codes of some rows of a store, kept to be pooled over several token sets.

    Attributes:
        row_m, feature_m, value_m: row of the store, feature, and activation of every firing.
        n_features: F.
    """

    row_m: np.ndarray
    feature_m: np.ndarray
    value_m: np.ndarray
    n_features: int


def encode_rows(store: ActivationStore, site: str, sae: MatryoshkaSAE, mask: np.ndarray) -> TokenCodes:
    """Encode the rows of a mask, (rows,) bool, streaming."""
    rows, features, values = [], [], []
    for row_n, acts_nd in _masked(store, site, mask):
        codes = sae.encode(torch.from_numpy(acts_nd)).to("cpu")
        rows.append(row_n[codes.rows().numpy()])
        features.append(codes.indices.numpy())
        values.append(codes.values.float().numpy())
    if not rows:
        return TokenCodes(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32), sae.n_features)
    return TokenCodes(np.concatenate(rows), np.concatenate(features), np.concatenate(values), sae.n_features)


def pool(store: ActivationStore, site: str, codes: TokenCodes, mask: np.ndarray, n_studies: int) -> Pooled:
    """Pool codes and residuals of the rows of a mask by study.

    Args:
        codes: of at least the rows of ``mask``.
        mask: (rows,) bool.
        n_studies: S; studies are numbered from 0.
    """
    study_of_row = store.column("study").astype(np.int64)
    counts_s = np.bincount(study_of_row[mask], minlength=n_studies)
    keep_m = mask[codes.row_m]
    cell_m = torch.from_numpy(study_of_row[codes.row_m[keep_m]] * codes.n_features + codes.feature_m[keep_m])
    value_m = torch.from_numpy(codes.value_m[keep_m])
    most, total = (torch.zeros(n_studies * codes.n_features) for _ in range(2))
    most.scatter_reduce_(0, cell_m, value_m, "amax")
    total.scatter_add_(0, cell_m, value_m)
    divisor_s1 = np.maximum(counts_s, 1)[:, None].astype(np.float32)
    shape = (n_studies, codes.n_features)
    top_sd, mean_sd = _pool_residuals(store, site, mask, n_studies, divisor_s1)
    return Pooled(counts_s, most.reshape(shape).numpy(), total.reshape(shape).numpy() / divisor_s1, top_sd, mean_sd)


def _pool_residuals(
    store: ActivationStore,
    site: str,
    mask: np.ndarray,
    n_studies: int,
    divisor_s1: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    study_of_row = store.column("study").astype(np.int64)
    width = store.width(site)
    top_sd = torch.full((n_studies, width), -torch.inf)
    sum_sd = torch.zeros(n_studies, width)
    for row_n, acts_nd in _masked(store, site, mask):
        index_nd = torch.from_numpy(study_of_row[row_n])[:, None].expand(-1, width)
        top_sd.scatter_reduce_(0, index_nd, torch.from_numpy(acts_nd), "amax")
        sum_sd.scatter_add_(0, index_nd, torch.from_numpy(acts_nd))
    return torch.where(torch.isinf(top_sd), 0.0, top_sd).numpy(), sum_sd.numpy() / divisor_s1


def _masked(store: ActivationStore, site: str, mask: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Row numbers (n,) and activations (n, d) float32 of the rows of a mask."""
    for chunk in store.iter_chunks(site, columns=()):
        inside = np.flatnonzero(mask[chunk.rows])
        if len(inside):
            yield inside + chunk.rows.start, chunk.acts_nd[inside]
