"""The reference: torch's embedding bags, which gather only the rows that entries name."""

from __future__ import annotations

from typing import ClassVar

import torch

from sae.kernels.base import SparseKernels, Sums
from sae.kernels.pattern import Pattern
from sae.sparse import BagSums, bag_sums


class Gather(SparseKernels):
    """Plain torch; the cost grows with the number of entries, not with F."""

    name: ClassVar[str] = "gather"

    def sums(self, pattern: Pattern, W_dec: torch.Tensor, acts_m: torch.Tensor) -> Sums:
        return BagSums(W_dec, pattern.features_m, pattern.bag_offsets, acts_m)

    def encoder_gradient(self, pattern: Pattern, centred_nd: torch.Tensor, grad_pre_m: torch.Tensor) -> torch.Tensor:
        order = pattern.by_feature_m
        return bag_sums(centred_nd, pattern.rows_m[order], pattern.feature_offsets_f, grad_pre_m[order])

    def decoder_gradient(self, pattern: Pattern, suffix_bd: torch.Tensor, acts_m: torch.Tensor) -> torch.Tensor:
        order = pattern.by_feature_m
        return bag_sums(suffix_bd, pattern.bags_m[order], pattern.feature_offsets_f, acts_m[order])
