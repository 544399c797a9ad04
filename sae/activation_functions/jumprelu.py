"""JumpReLU: one learned threshold per feature, in training and afterwards.

With H the step function, K(u) = 1 for |u| < 1/2 and else 0, bandwidth ε and θ = exp(log θ):

    a_nf = h_nf · H(h_nf − θ_f)                          L₀ = 1/B · Σ_nf H(h_nf − θ_f)
    L = L_rec + λ · (L₀ / k − 1)²

The step has no useful derivative in θ, so the paper's straight-through estimates stand in for it:

    ∂a_nf/∂θ_f ≔ −θ_f/ε · K((h_nf − θ_f)/ε)              ∂H(h_nf − θ_f)/∂θ_f ≔ −1/ε · K((h_nf − θ_f)/ε)

∂a/∂h = H, as for any gate. The quadratic penalty aims at k active features a token, so that k means the same as for
the other rules. arXiv 2407.14435: section 3 for the estimates, the target in its appendix.
"""

from __future__ import annotations

from typing import ClassVar

import torch

from sae.activation_functions.base import ActivationFunction, Entries, Penalty
from sae.errors import SAEError
from sae.selection import Selection


class JumpReLU(ActivationFunction):
    """Keeps what lies above its feature's threshold.

    Args:
        bandwidth: ε, in training units (median distance of a token from b_dec = 1).
        sparsity_weight: λ.
    """

    name: ClassVar[str] = "jumprelu"
    learns_threshold: ClassVar[bool] = True

    def __init__(self, bandwidth: float = 0.03, sparsity_weight: float = 1.0) -> None:
        self.bandwidth = bandwidth
        self.sparsity_weight = sparsity_weight

    def select(self, pre_nf: torch.Tensor, k: float, log_threshold: torch.Tensor | None = None) -> Selection:
        """The active entries, and those a little under their threshold, which only move the threshold."""
        theta_f = _theta(log_threshold)
        flat = torch.nonzero((pre_nf > theta_f - self.bandwidth / 2).reshape(-1)).squeeze(1)
        return Selection(flat, pre_nf.reshape(-1)[flat], None)

    def activations(self, entries: Entries, log_threshold: torch.Tensor | None) -> torch.Tensor:
        theta_m = _theta(log_threshold)[entries.features_m]
        return entries.pre_m * (entries.pre_m > theta_m)

    def l0(self, n_active: torch.Tensor, n_rows: int) -> torch.Tensor:
        """Active features a row of the batch, a scalar tensor, from the active entries at hand."""
        return n_active / n_rows

    def backward(
        self, entries: Entries, grad_acts_m: torch.Tensor, log_threshold: torch.Tensor | None
    ) -> tuple[torch.Tensor, Penalty | None]:
        theta_f = _theta(log_threshold)
        theta_m = theta_f[entries.features_m]
        active_m = entries.pre_m > theta_m
        near_m = (entries.pre_m - theta_m).abs() < self.bandwidth / 2
        excess = self.l0(active_m.sum().to(grad_acts_m.dtype), entries.n_rows) / entries.k - 1
        per_entry = 2 * self.sparsity_weight * excess / (entries.n_rows * entries.k)
        slope_m = -(theta_m * grad_acts_m + per_entry) / self.bandwidth * near_m
        grad_theta_f = torch.zeros_like(theta_f).index_add_(0, entries.features_m, slope_m)
        # d/d log θ = θ · d/dθ
        return grad_acts_m * active_m, Penalty(self.sparsity_weight * excess.square(), grad_theta_f * theta_f)


def _theta(log_threshold: torch.Tensor | None) -> torch.Tensor:
    if log_threshold is None:
        raise SAEError("JumpReLU learns one threshold per feature: the weights lack log_threshold")
    return log_threshold.exp()
