"""What a step asks of the kernels that work on the kept entries only.

With a the activations of the entries and R the gradients of all prefixes, (B · G, d):

    sums         S_b = Σ_{entries of bag b} a_m · W_dec[f_m]       and, backwards, ∂a_m = R_{b_m} · W_dec[f_m]
    gradients    T_f = Σ_{entries of feature f} w_m · table[i_m]   of W_dec (a and R by bag), of W_enc (∂h and x̃ by row)

Every implementation gives the same up to rounding. None uses atomic additions, so each gives the same bits every time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Protocol

import torch

from sae.kernels.pattern import Pattern


class Sums(Protocol):
    """What each group adds to each row, and the way back to the activations."""

    values: torch.Tensor
    """(B · G, d); the way back does not need them, so they may be changed in place."""

    def weights_gradient(self, grad_bd: torch.Tensor) -> torch.Tensor:
        """(m,) gradient of the activations, given that of the sums."""


class SparseKernels(ABC):
    """One way to compute the sums over kept entries."""

    name: ClassVar[str]

    @abstractmethod
    def sums(self, pattern: Pattern, W_dec: torch.Tensor, acts_m: torch.Tensor) -> Sums:
        """Sums over the bags of the pattern, from (F, d) rows and (m,) activations."""

    @abstractmethod
    def encoder_gradient(self, pattern: Pattern, centred_nd: torch.Tensor, grad_pre_m: torch.Tensor) -> torch.Tensor:
        """(F, d): Σ over the entries of a feature of ∂h · x̃."""

    @abstractmethod
    def decoder_gradient(self, pattern: Pattern, suffix_bd: torch.Tensor, acts_m: torch.Tensor) -> torch.Tensor:
        """(F, d): Σ over the entries of a feature of a · R, with R as (B · G, d)."""
