"""The objective on some of the features, whose processes together have all; see `sae.objective` for the formulas.

Every process has all rows. Sums over features are partial sums here, so they are added up over the processes: the
prefix reconstructions, the reconstruction by dead features, and the part of b_dec's gradient that came through the
encoder. Everything else concerns one feature, and stays where the feature is.
"""

from __future__ import annotations

from typing import Any

import torch

from sae.activation_functions.base import Penalty
from sae.objective import MatryoshkaObjective, Weights
from sae.peers import Peers


class ShardedObjective(MatryoshkaObjective):
    """Loss of all features, gradient of those at hand; b_dec's gradient is a summand of the whole one."""

    def __init__(self, peers: Peers, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._peers = peers

    def _prefix_loss(self, sums_bd: torch.Tensor, *rest: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, float]:
        return super()._prefix_loss(self._peers.sum_(sums_bd), *rest)

    def _sparse_gradient(self, *arguments: Any) -> tuple[Weights, Penalty | None]:
        gradient, penalty = super()._sparse_gradient(*arguments)
        # Σ R is the same everywhere, and the parts are going to be added up.
        gradient.b_dec.div_(self._peers.world)
        return gradient, penalty

    def _add_auxiliary(
        self,
        weights: Weights,
        centred_nd: torch.Tensor,
        pre_nf: torch.Tensor,
        residual_nd: torch.Tensor,
        dead_f: torch.Tensor,
        gradient: Weights,
    ) -> torch.Tensor:
        dead = torch.nonzero(dead_f).squeeze(1)
        narrow_nm = pre_nf.new_empty(len(pre_nf), len(dead))
        acts_nm = self._largest_of_rows(self._encoder.columns(pre_nf, dead, narrow_nm).relu_())
        directions_md = weights.W_dec[dead]
        error_nd = self._peers.sum_(acts_nm @ directions_md) + residual_nd
        grad_nd = error_nd * (2 * self._aux_alpha / len(error_nd))
        grad_acts_nm = (grad_nd @ directions_md.T) * (acts_nm > 0)
        gradient.W_dec.index_add_(0, dead, acts_nm.T @ grad_nd)
        gradient.W_enc.index_add_(0, dead, grad_acts_nm.T @ centred_nd)
        gradient.b_enc.index_add_(0, dead, grad_acts_nm.sum(0))
        return error_nd.square().sum() / len(error_nd)

    def _largest_of_rows(self, acts_nm: torch.Tensor) -> torch.Tensor:
        """The same with zeros for what is not among the aux_k largest of its row over all processes."""
        here = acts_nm.shape[1]
        if sum(self._peers.each(here)) <= self._aux_k:
            return acts_nm
        top_nk = acts_nm.new_zeros((len(acts_nm), self._aux_k))
        top_nk[:, : min(here, self._aux_k)] = acts_nm.topk(min(here, self._aux_k), dim=1).values
        everywhere = self._peers.gather(top_nk.reshape(-1))
        all_nk = torch.cat([one.view_as(top_nk) for one in everywhere], dim=1)
        cut_n1 = all_nk.topk(self._aux_k, dim=1).values[:, -1:]
        return acts_nm * (acts_nm >= cut_n1)
