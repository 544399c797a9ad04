"""What the objective and the autoencoder ask of an activation function."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch

from sae.selection import Selection


@dataclass(frozen=True)
class Entries:
    """The selected entries of a batch, in row order.

    Attributes:
        pre_m: pre-activations.
        features_m: int64 feature of each.
        n_rows: B.
        k: features wanted a row.
    """

    pre_m: torch.Tensor
    features_m: torch.Tensor
    n_rows: int
    k: float


@dataclass(frozen=True)
class Penalty:
    """What a rule with thresholds of its own adds to the loss: a scalar, and the gradient of log θ, (F,)."""

    loss: torch.Tensor
    log_threshold: torch.Tensor


class ActivationFunction(ABC):
    """Chooses the entries of a batch that count, and what they are worth afterwards, token by token."""

    name: ClassVar[str]
    learns_threshold: ClassVar[bool] = False
    """Whether log θ, (F,), is a fifth learned tensor."""
    follows_cut: ClassVar[bool] = False
    """Whether the threshold for inference is the moving average of the smallest kept activation."""

    @abstractmethod
    def select(self, pre_nf: torch.Tensor, k: float, log_threshold: torch.Tensor | None = None) -> Selection:
        """The entries of pre_nf, (B, F), that take part in the loss or in a threshold's gradient."""

    def activations(self, entries: Entries, log_threshold: torch.Tensor | None) -> torch.Tensor:
        """(m,) what each selected entry contributes to the reconstruction."""
        return entries.pre_m

    def backward(
        self, entries: Entries, grad_acts_m: torch.Tensor, log_threshold: torch.Tensor | None
    ) -> tuple[torch.Tensor, Penalty | None]:
        """Gradient of the pre-activations from that of the activations, (m,), and the rule's own part of the loss."""
        return grad_acts_m, None

    def keeps(self, pre: torch.Tensor, threshold: torch.Tensor, k: int | None) -> torch.Tensor:
        """Bool mask of pre, (..., F): what counts at inference, each row by itself."""
        # A threshold under zero would let negative pre-activations through, which relu never does.
        return pre > threshold.clamp(min=0)
