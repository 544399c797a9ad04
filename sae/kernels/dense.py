"""Dense products over matrices that are mostly zero: what tensor cores are fast at when k is not small against F."""

from __future__ import annotations

import itertools
from typing import ClassVar

import torch

from sae.kernels.base import SparseKernels, Sums
from sae.kernels.pattern import Pattern


class Dense(SparseKernels):
    """Scatters the entries into (B, F) and multiplies; the cost grows with F."""

    name: ClassVar[str] = "dense"

    def sums(self, pattern: Pattern, W_dec: torch.Tensor, acts_m: torch.Tensor) -> Sums:
        return _DenseSums(pattern, W_dec, _scattered(pattern, acts_m))

    def encoder_gradient(self, pattern: Pattern, centred_nd: torch.Tensor, grad_pre_m: torch.Tensor) -> torch.Tensor:
        return _scattered(pattern, grad_pre_m).T @ centred_nd

    def decoder_gradient(self, pattern: Pattern, suffix_bd: torch.Tensor, acts_m: torch.Tensor) -> torch.Tensor:
        acts_nf, suffix_ngd = _scattered(pattern, acts_m), _by_group(pattern, suffix_bd)
        out_fd = suffix_bd.new_empty(pattern.n_features, suffix_bd.shape[1])
        for group, columns in enumerate(_columns(pattern)):
            torch.mm(acts_nf[:, columns].T, suffix_ngd[:, group], out=out_fd[columns])
        return out_fd


class _DenseSums:
    def __init__(self, pattern: Pattern, W_dec: torch.Tensor, acts_nf: torch.Tensor) -> None:
        self._pattern, self._W_dec = pattern, W_dec
        values_ngd = W_dec.new_empty(pattern.n_rows, len(pattern.widths), W_dec.shape[1])
        for group, columns in enumerate(_columns(pattern)):
            values_ngd[:, group] = acts_nf[:, columns] @ W_dec[columns]
        self.values = values_ngd.view(pattern.n_bags, -1)

    def weights_gradient(self, grad_bd: torch.Tensor) -> torch.Tensor:
        grad_ngd = _by_group(self._pattern, grad_bd)
        grad_nf = grad_bd.new_empty(self._pattern.n_rows, self._pattern.n_features)
        for group, columns in enumerate(_columns(self._pattern)):
            grad_nf[:, columns] = grad_ngd[:, group] @ self._W_dec[columns].T
        return grad_nf[self._pattern.rows_m, self._pattern.features_m]


def _columns(pattern: Pattern) -> list[slice]:
    """The features of each group."""
    return [slice(first, last) for first, last in itertools.pairwise((0, *pattern.widths))]


def _by_group(pattern: Pattern, table_bd: torch.Tensor) -> torch.Tensor:
    return table_bd.view(pattern.n_rows, len(pattern.widths), -1)


def _scattered(pattern: Pattern, weights_m: torch.Tensor) -> torch.Tensor:
    """(B, F), zero but at the entries."""
    dense_nf = weights_m.new_zeros(pattern.n_rows, pattern.n_features)
    dense_nf[pattern.rows_m, pattern.features_m] = weights_m
    return dense_nf
