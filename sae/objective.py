"""The Matryoshka BatchTopK loss and its gradient, computed on the kept activations only.

With x̃ = x − b_dec, h = W_enc x̃ + b_enc, and S the k·B largest positive entries of h over the batch:

    x̂_g = b_dec + Σ_{f in the first g groups, (n,f) ∈ S} h_nf · W_dec[f]          prefix reconstructions, g = 1 … G
    L_rec = 1/B · Σ_n Σ_g ω_g · ‖x_n − x̂_g,n‖²                                    ω_g = 1/G ("mean") or 1 ("sum")
    e = x − x̂_G, held constant
    ê = Σ_{f ∈ the aux_k largest relu(h) among dead f} relu(h)_f · W_dec[f]        no bias
    L_aux = 1/B · Σ_n ‖e_n − ê_n‖²
    L = L_rec + aux_alpha · L_aux

Choices, because implementations differ. Squared errors are summed over the d axes and averaged over rows. The prefix
with no features (b_dec alone) has no term. One selection serves all prefixes. L_aux is in the units of L_rec and is not
divided by the residual's variance: the whole loss then scales with the square of the data, and Adam does not see the
difference. There is no factor for few dead features.

Formulas: Matryoshka SAEs, arXiv 2503.17547; BatchTopK, arXiv 2412.06410; the auxiliary loss, arXiv 2406.04093.

Only the encoder product and, while features are dead, the auxiliary term are dense. With E_g = 2 ω_g (x̂_g − x) / B and
R_g = Σ_{g' ≥ g} E_g', every gradient is a weighted sum of few rows:

    ∂L/∂h_nf = R_{g(f),n} · W_dec[f]         ∂L/∂W_dec[f] = Σ_n h_nf R_{g(f),n}        ∂L/∂b_enc[f] = Σ_n ∂L/∂h_nf
    ∂L/∂W_enc[f] = Σ_n ∂L/∂h_nf · x̃_n        ∂L/∂b_dec = Σ_n R_{1,n} − W_encᵀ ∂L/∂b_enc
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from sae.selection import Selection, select_largest


@dataclass(frozen=True)
class Weights:
    """The four learned tensors, or their gradients: W_enc (F, d), b_enc (F,), W_dec (F, d), b_dec (d,)."""

    W_enc: torch.Tensor
    b_enc: torch.Tensor
    W_dec: torch.Tensor
    b_dec: torch.Tensor


@dataclass(frozen=True)
class StepResult:
    """What one batch gives.

    Attributes:
        loss: L, a scalar tensor.
        gradient: ∂L of each learned tensor.
        fired_f: (F,) bool, selected at least once.
        cut: smallest kept activation, a scalar tensor; None when nothing was positive.
        residual_nd: x̂_G − x.
        pre_nf: (B, F) pre-activations.
    """

    loss: torch.Tensor
    gradient: Weights
    fired_f: torch.Tensor
    cut: torch.Tensor | None
    residual_nd: torch.Tensor
    pre_nf: torch.Tensor


@dataclass(frozen=True)
class _Kept:
    """The kept activations in row order, and the same in feature order."""

    values_m: torch.Tensor
    rows_m: torch.Tensor
    features_m: torch.Tensor
    bags_m: torch.Tensor
    """row · G + group: entries of one row and one group lie side by side."""
    by_feature_m: torch.Tensor
    """Positions that bring the entries into feature order."""
    feature_offsets_f: torch.Tensor
    counts_f: torch.Tensor


class MatryoshkaObjective:
    """The loss above for fixed groups, k and auxiliary settings.

    Args:
        groups: group sizes in prefix order.
        k: features kept per row, on average over the batch.
        prefix_loss: "mean" or "sum".
        aux_k: dead features used per row; 0 turns the auxiliary loss off.
        aux_alpha: weight of the auxiliary loss.
    """

    def __init__(
        self, groups: tuple[int, ...], k: int, *, prefix_loss: str = "mean", aux_k: int = 0, aux_alpha: float = 1 / 32
    ) -> None:
        self._k = k
        self._n_groups = len(groups)
        self._omega = 1 / len(groups) if prefix_loss == "mean" else 1.0
        self._aux_k = aux_k
        self._aux_alpha = aux_alpha
        self._group_f = torch.repeat_interleave(torch.tensor(groups))
        # The last cut makes the next selection cheap; it never changes what is selected.
        self._hint: float | None = None

    @torch.no_grad()
    def step(self, weights: Weights, x_nd: torch.Tensor, dead_f: torch.Tensor | None = None) -> StepResult:
        """Loss and gradient of one batch.

        Args:
            weights: the learned tensors, in x's floating type.
            x_nd: (B, d) activations.
            dead_f: (F,) bool; None when no feature is dead.
        """
        centred_nd = x_nd - weights.b_dec
        pre_nf = functional.linear(centred_nd, weights.W_enc, weights.b_enc)
        selection = select_largest(pre_nf, self._k * len(x_nd), self._hint)
        self._hint = None if selection.cut is None else float(selection.cut)
        kept = self._kept(pre_nf, selection)

        residual_ngd, contribution = self._prefix_residuals(weights, centred_nd, kept)
        loss = self._omega * _sum_of_squares(residual_ngd) / len(x_nd)
        # R: the sum of the errors of all prefixes that a group takes part in.
        suffix_ngd = residual_ngd * (2 * self._omega / len(x_nd))
        for group in reversed(range(self._n_groups - 1)):
            suffix_ngd[:, group] += suffix_ngd[:, group + 1]
        gradient = self._sparse_gradient(weights, centred_nd, kept, suffix_ngd, contribution)

        residual_nd = residual_ngd[:, -1]
        if dead_f is not None and self._aux_k > 0:
            aux_loss = self._add_auxiliary(weights, centred_nd, pre_nf, residual_nd, dead_f, gradient)
            loss = loss + self._aux_alpha * aux_loss
        # The encoder sees x − b_dec, so b_dec also gets what reached b_enc, with the opposite sign.
        gradient.b_dec.addmv_(weights.W_enc.T, gradient.b_enc, alpha=-1)
        return StepResult(loss, gradient, kept.counts_f > 0, selection.cut, residual_nd, pre_nf)

    def _kept(self, pre_nf: torch.Tensor, selection: Selection) -> _Kept:
        n_features = pre_nf.shape[1]
        if self._group_f.device != pre_nf.device:
            self._group_f = self._group_f.to(pre_nf.device)
        rows_m = torch.div(selection.flat, n_features, rounding_mode="floor")
        features_m = selection.flat - rows_m * n_features
        # A narrow type sorts several times faster.
        narrow_m = features_m.to(torch.int16) if n_features <= 1 << 15 else features_m
        counts_f = torch.bincount(features_m, minlength=n_features)
        return _Kept(
            values_m=pre_nf.reshape(-1)[selection.flat],
            rows_m=rows_m,
            features_m=features_m,
            bags_m=rows_m * self._n_groups + self._group_f[features_m],
            by_feature_m=torch.sort(narrow_m, stable=True).indices,
            feature_offsets_f=counts_f.cumsum(0) - counts_f,
            counts_f=counts_f,
        )

    def _prefix_residuals(
        self, weights: Weights, centred_nd: torch.Tensor, kept: _Kept
    ) -> tuple[torch.Tensor, _Contribution]:
        """x̂_g − x for every prefix, (B, G, d), and the differentiable sums that made it."""
        n_rows, d = centred_nd.shape
        counts = torch.bincount(kept.bags_m, minlength=n_rows * self._n_groups)
        contribution = _Contribution(weights.W_dec, kept, counts.cumsum(0) - counts)
        # The backward of the sums does not need them, so they may become the residuals in place.
        residual_ngd = contribution.sums.detach().view(n_rows, self._n_groups, d)
        residual_ngd[:, 0] -= centred_nd
        for group in range(1, self._n_groups):
            residual_ngd[:, group] += residual_ngd[:, group - 1]
        return residual_ngd, contribution

    def _sparse_gradient(
        self,
        weights: Weights,
        centred_nd: torch.Tensor,
        kept: _Kept,
        suffix_ngd: torch.Tensor,
        contribution: _Contribution,
    ) -> Weights:
        suffix_bd = suffix_ngd.reshape(-1, suffix_ngd.shape[-1])
        grad_values_m = contribution.values_gradient(suffix_bd)
        order, offsets = kept.by_feature_m, kept.feature_offsets_f
        sorted_grad_m = grad_values_m[order]
        W_enc = _bag_sums(kept.rows_m[order], centred_nd, offsets, sorted_grad_m)
        W_dec = _bag_sums(kept.bags_m[order], suffix_bd, offsets, kept.values_m[order])
        b_enc = torch.zeros_like(weights.b_enc).index_add_(0, kept.features_m, grad_values_m)
        return Weights(W_enc, b_enc, W_dec, suffix_ngd[:, 0].sum(0))

    def _add_auxiliary(
        self,
        weights: Weights,
        centred_nd: torch.Tensor,
        pre_nf: torch.Tensor,
        residual_nd: torch.Tensor,
        dead_f: torch.Tensor,
        gradient: Weights,
    ) -> torch.Tensor:
        """L_aux; adds its gradient, times aux_alpha, to W_enc, b_enc and W_dec in place."""
        dead = torch.nonzero(dead_f).squeeze(1)
        if len(dead) == 0:
            return residual_nd.new_zeros(())
        acts_nm = pre_nf[:, dead].relu_()
        if self._aux_k < len(dead):
            top = acts_nm.topk(self._aux_k, dim=1)
            acts_nm = torch.zeros_like(acts_nm).scatter_(1, top.indices, top.values)
        directions_md = weights.W_dec[dead]
        # residual is x̂ − x = −e, so this is ê − e.
        error_nd = acts_nm @ directions_md + residual_nd
        loss = _sum_of_squares(error_nd) / len(error_nd)
        grad_nd = error_nd * (2 * self._aux_alpha / len(error_nd))
        grad_acts_nm = (grad_nd @ directions_md.T) * (acts_nm > 0)
        gradient.W_dec.index_add_(0, dead, acts_nm.T @ grad_nd)
        gradient.W_enc.index_add_(0, dead, grad_acts_nm.T @ centred_nd)
        gradient.b_enc.index_add_(0, dead, grad_acts_nm.sum(0))
        return loss


class _Contribution:
    """Σ value · W_dec[feature] of every (row, group), with the gradient for the values.

    Autograd's backward of the bag takes the dot products without gathering both sides, which is several times faster
    than writing them out.
    """

    def __init__(self, W_dec: torch.Tensor, kept: _Kept, offsets: torch.Tensor) -> None:
        self._values_m = kept.values_m.detach().clone().requires_grad_()
        with torch.enable_grad():
            self.sums = functional.embedding_bag(
                kept.features_m, W_dec.detach(), offsets, mode="sum", per_sample_weights=self._values_m
            )

    def values_gradient(self, grad_bd: torch.Tensor) -> torch.Tensor:
        """(m,) gradient of the values, given that of the sums (B·G, d)."""
        return torch.autograd.grad(self.sums, self._values_m, grad_bd)[0]


def _sum_of_squares(x: torch.Tensor) -> torch.Tensor:
    return torch.dot(x.reshape(-1), x.reshape(-1))


def _bag_sums(
    rows_m: torch.Tensor, table: torch.Tensor, offsets: torch.Tensor, weights_m: torch.Tensor
) -> torch.Tensor:
    """Σ weight · table[row] over each bag of consecutive entries."""
    return functional.embedding_bag(rows_m, table, offsets, mode="sum", per_sample_weights=weights_m)
