"""JumpReLU over a batch whose rows several processes share: the penalty is that of the whole batch."""

from __future__ import annotations

import torch

from sae.activation_functions import JumpReLU
from sae.peers import Peers


class SharedJumpReLU(JumpReLU):
    """All processes have equally many rows, so that what each adds to a gradient is averaged as everything else.

    Only λ · (L0 / k − 1)² is not a mean over rows. With the L0 of the whole batch in it, its gradient is one.
    """

    def __init__(self, peers: Peers, alone: JumpReLU) -> None:
        super().__init__(alone.bandwidth, alone.sparsity_weight)
        self._peers = peers

    def l0(self, n_active: torch.Tensor, n_rows: int) -> torch.Tensor:
        return self._peers.sum_(n_active.clone()) / (n_rows * self._peers.world)
