"""The Matryoshka loss and its gradient, computed on the kept activations only.

With x̃ = x − b_dec, h = W_enc x̃ + b_enc, S the entries that the activation function keeps and a their activations
(BatchTopK: the k·B largest positive entries of h over the batch, a = h):

    x̂_g = b_dec + Σ_{f in prefix g, (n,f) ∈ S} a_nf · W_dec[f]                   prefix reconstructions, g = 1 … G
    L_rec = 1/B · Σ_n Σ_g ω_g · ‖x_n − x̂_g,n‖²                                    ω: see `sae.prefixes.prefix_weights`
    e = x − x̂_G, held constant
    ê = Σ_{f ∈ the aux_k largest relu(h) among dead f} relu(h)_f · W_dec[f]        no bias
    L_aux = 1/B · Σ_n ‖e_n − ê_n‖²
    L = L_rec + aux_alpha · L_aux + what the activation function adds

Choices, because implementations differ. Squared errors are summed over the d axes and averaged over rows. The prefix
with no features (b_dec alone) has no term. One selection serves all prefixes. L_aux is in the units of L_rec and is not
divided by the residual's variance: the whole loss then scales with the square of the data, and Adam does not see the
difference. There is no factor for few dead features.

Formulas: Matryoshka SAEs, arXiv 2503.17547; BatchTopK, arXiv 2412.06410; the auxiliary loss, arXiv 2406.04093.

Only the encoder product and, while features are dead, the auxiliary term are dense. With E_g = 2 ω_g (x̂_g − x) / B and
R_g = Σ_{g' ≥ g} E_g', every gradient is a weighted sum of few rows (∂L/∂h from ∂L/∂a is the activation function's):

    ∂L/∂a_nf = R_{g(f),n} · W_dec[f]         ∂L/∂W_dec[f] = Σ_n a_nf R_{g(f),n}        ∂L/∂b_enc[f] = Σ_n ∂L/∂h_nf
    ∂L/∂W_enc[f] = Σ_n ∂L/∂h_nf · x̃_n        ∂L/∂b_dec = Σ_n R_{1,n} − W_encᵀ ∂L/∂b_enc
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch

from sae.activation_functions import ActivationFunction, BatchTopK
from sae.activation_functions.base import Entries, Penalty
from sae.errors import SAEError
from sae.kernels import REFERENCE, Kernels, Pattern, pattern_of
from sae.kernels.encoder import ScreeningEncoder
from sae.prefixes import prefix_weights
from sae.selection import Selection, keep_largest
from sae.sparse import Workspace


@dataclass(frozen=True)
class Weights:
    """The learned tensors, or their gradients: W_enc (F, d), b_enc (F,), W_dec (F, d), b_dec (d,); log_threshold (F,)
    for an activation function that learns it."""

    W_enc: torch.Tensor
    b_enc: torch.Tensor
    W_dec: torch.Tensor
    b_dec: torch.Tensor
    log_threshold: torch.Tensor | None = None


@dataclass(frozen=True)
class StepResult:
    """What one batch gives; residual_nd and pre_nf hold until the next step.

    Attributes:
        loss: L, a scalar tensor.
        gradient: ∂L of each learned tensor.
        fired_f: (F,) bool, active at least once.
        cut: smallest kept activation, a scalar tensor; None when nothing was positive.
        residual_nd: x̂_G − x.
        pre_nf: (B, F) pre-activations.
        pre_exact: whether they are right everywhere; if not, only those of kept entries are.
    """

    loss: torch.Tensor
    gradient: Weights
    fired_f: torch.Tensor
    cut: torch.Tensor | None
    residual_nd: torch.Tensor
    pre_nf: torch.Tensor
    pre_exact: bool = True


@dataclass(frozen=True)
class _Kept:
    """The kept entries: where they are, and what they are worth."""

    pattern: Pattern
    entries: Entries
    acts_m: torch.Tensor
    fired_f: torch.Tensor


class MatryoshkaObjective:
    """The loss above for fixed groups, k and auxiliary settings.

    Args:
        groups: group sizes in prefix order.
        k: features kept per row, on average over the batch.
        prefix_loss: "mean" or "sum".
        group_weights: weight of each prefix; empty means 1 each.
        aux_k: dead features used per row; 0 turns the auxiliary loss off.
        aux_alpha: weight of the auxiliary loss.
        activation: which entries are kept; BatchTopK when None.
        kernels: how the products are computed; see `sae.kernels`.
    """

    def __init__(
        self,
        groups: tuple[int, ...],
        k: int,
        *,
        prefix_loss: str = "mean",
        group_weights: tuple[float, ...] = (),
        aux_k: int = 0,
        aux_alpha: float = 1 / 32,
        activation: ActivationFunction | None = None,
        kernels: Kernels = REFERENCE,
    ) -> None:
        self._k = k
        self._widths = tuple(itertools.accumulate(groups))
        self._omega_g = prefix_weights(len(groups), prefix_loss, group_weights)
        self._aux_k = aux_k
        self._aux_alpha = aux_alpha
        self._activation = activation or BatchTopK()
        self._space = Workspace()
        self.use(kernels)
        self._table: tuple[tuple[int, ...], torch.Tensor] | None = None

    def use(self, kernels: Kernels) -> None:
        """Compute the products this way from now on.

        Raises:
            SAEError: the kernels are not installed, or their encoder cannot serve the activation function.
        """
        encoder, self._sparse = kernels.make()
        if not encoder.fits(self._activation):
            raise SAEError(
                f"kernels = {kernels.name!r}: the {kernels.encoder} encoder screens for BatchTopK in one process; "
                "give one of float32+…"
            )
        self._encoder = encoder

    @property
    def can_screen(self) -> bool:
        """Whether an encoder that screens can serve the activation function."""
        return ScreeningEncoder().fits(self._activation)

    def share_buffers(self, other: MatryoshkaObjective) -> None:
        """Use the buffers of another objective whose steps never overlap with this one's."""
        self._space = other._space
        if isinstance(self._activation, BatchTopK) and isinstance(other._activation, BatchTopK):
            self._activation.space = other._activation.space

    @torch.no_grad()
    def step(
        self,
        weights: Weights,
        x_nd: torch.Tensor,
        dead_f: torch.Tensor | None = None,
        *,
        k: float | None = None,
        widths: tuple[int, ...] | None = None,
    ) -> StepResult:
        """Loss and gradient of one batch.

        Args:
            weights: the learned tensors, in x's floating type.
            x_nd: (B, d) activations.
            dead_f: (F,) bool; None when no feature is dead.
            k: features kept per row in this step; the constructor's when None.
            widths: rising prefix widths of this step, as many as there are groups, the last F; the groups' when None.
        """
        widths = self._widths if widths is None else widths
        k = self._k if k is None else k
        centred_nd = torch.sub(x_nd, weights.b_dec, out=self._space.get("centred", tuple(x_nd.shape), x_nd))
        pre_nf = self._encoder.encode(weights.W_enc, weights.b_enc, centred_nd, self._space)
        selection = self._encoder.select(self._activation, pre_nf, k, weights.log_threshold)
        kept = self._kept(pre_nf, selection, k, widths, weights.log_threshold)

        sums = self._sparse.sums(kept.pattern, weights.W_dec, kept.acts_m)
        loss, residual_nd, suffix_bd, scale = self._prefix_loss(sums.values, centred_nd, len(widths))
        grad_acts_m = sums.weights_gradient(suffix_bd).mul_(scale)
        gradient, penalty = self._sparse_gradient(weights, centred_nd, kept, grad_acts_m, suffix_bd, scale)
        if penalty is not None:
            loss = loss + penalty.loss
        if dead_f is not None and self._aux_k > 0:
            aux_loss = self._add_auxiliary(weights, centred_nd, pre_nf, residual_nd, dead_f, gradient)
            loss = loss + self._aux_alpha * aux_loss
        # The encoder sees x − b_dec, so b_dec also gets what reached b_enc, with the opposite sign.
        gradient.b_dec.addmv_(weights.W_enc.T, gradient.b_enc, alpha=-1)
        return StepResult(loss, gradient, kept.fired_f, selection.cut, residual_nd, pre_nf, self._encoder.exact)

    def _kept(
        self,
        pre_nf: torch.Tensor,
        selection: Selection,
        k: float,
        widths: tuple[int, ...],
        log_threshold: torch.Tensor | None,
    ) -> _Kept:
        n_rows, n_features = pre_nf.shape
        groups_f = self._groups_f(widths, pre_nf.device)
        pattern = pattern_of(selection.flat, (n_rows, n_features), widths, groups_f)
        entries = Entries(selection.values, pattern.features_m, n_rows, k)
        acts_m = self._activation.activations(entries, log_threshold)
        # Entries that only move a threshold have activation 0 and do not count as firing.
        fired_f = pattern.counts_f > 0
        if acts_m is not entries.pre_m:
            fired_f = torch.bincount(pattern.features_m[acts_m > 0], minlength=n_features) > 0
        return _Kept(pattern, entries, acts_m, fired_f)

    def _groups_f(self, widths: tuple[int, ...], device: torch.device) -> torch.Tensor:
        """(F,) int64 group of each feature; the table of the last step serves while the prefixes stay."""
        if self._table is None or self._table[0] != widths or self._table[1].device != device:
            sizes = torch.tensor(widths).diff(prepend=torch.zeros(1, dtype=torch.int64))
            self._table = (widths, torch.repeat_interleave(sizes).to(device))
        return self._table[1]

    def _prefix_loss(
        self, sums_bd: torch.Tensor, centred_nd: torch.Tensor, n_prefixes: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, float]:
        """From what each group adds to each row, (B · G, d), to the loss and its gradient, in place.

        Returns:
            L_rec; x̂_G − x, (B, d); and R, (B · G, d), as a tensor and a factor that it still has to be multiplied by.
        """
        n_rows, d = centred_nd.shape
        residual_ngd = sums_bd.view(n_rows, n_prefixes, d)
        residual_ngd[:, 0] -= centred_nd
        for group in range(1, n_prefixes):
            residual_ngd[:, group] += residual_ngd[:, group - 1]
        residual_nd = self._space.get("residual", (n_rows, d), centred_nd).copy_(residual_ngd[:, -1])

        # With few features there may be fewer random prefixes than weights; the last one is always that of all.
        omega_g = self._omega_g[-n_prefixes:]
        if len(set(omega_g)) == 1:
            scale = omega_g[0]
            loss = _sum_of_squares(residual_ngd) * (scale / n_rows)
        else:
            scale = 1.0
            weights_g = residual_ngd.new_tensor(omega_g)
            loss = torch.dot(residual_ngd.square().sum((0, 2)), weights_g) / n_rows
            residual_ngd *= weights_g[:, None]
        for group in reversed(range(n_prefixes - 1)):
            residual_ngd[:, group] += residual_ngd[:, group + 1]
        return loss, residual_nd, sums_bd, 2 * scale / n_rows

    def _sparse_gradient(
        self,
        weights: Weights,
        centred_nd: torch.Tensor,
        kept: _Kept,
        grad_acts_m: torch.Tensor,
        suffix_bd: torch.Tensor,
        scale: float,
    ) -> tuple[Weights, Penalty | None]:
        grad_pre_m, penalty = self._activation.backward(kept.entries, grad_acts_m, weights.log_threshold)
        W_enc = self._sparse.encoder_gradient(kept.pattern, centred_nd, grad_pre_m)
        W_dec = self._sparse.decoder_gradient(kept.pattern, suffix_bd, kept.acts_m * scale)
        b_enc = torch.zeros_like(weights.b_enc).index_add_(0, kept.entries.features_m, grad_pre_m)
        b_dec = suffix_bd.view(len(centred_nd), -1, suffix_bd.shape[1])[:, 0].sum(0).mul_(scale)
        log_threshold = None if penalty is None else penalty.log_threshold
        return Weights(W_enc, b_enc, W_dec, b_dec, log_threshold), penalty

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
        narrow = (len(pre_nf), len(dead))
        acts_nm = self._encoder.columns(pre_nf, dead, self._space.get("dead", narrow, pre_nf)).relu_()
        if self._aux_k < len(dead):
            keep_largest(acts_nm, self._aux_k)
        directions_md = weights.W_dec[dead]
        # residual is x̂ − x = −e, so this is ê − e.
        error_nd = torch.mm(acts_nm, directions_md, out=self._space.get("error", tuple(residual_nd.shape), pre_nf))
        error_nd += residual_nd
        loss = _sum_of_squares(error_nd) / len(error_nd)
        grad_nd = error_nd.mul_(2 * self._aux_alpha / len(error_nd))
        grad_acts_nm = torch.mm(grad_nd, directions_md.T, out=self._space.get("dead gradient", narrow, pre_nf))
        grad_acts_nm *= acts_nm > 0
        gradient.W_dec.index_add_(0, dead, acts_nm.T @ grad_nd)
        gradient.W_enc.index_add_(0, dead, grad_acts_nm.T @ centred_nd)
        gradient.b_enc.index_add_(0, dead, grad_acts_nm.sum(0))
        return loss


def _sum_of_squares(x: torch.Tensor) -> torch.Tensor:
    return torch.dot(x.reshape(-1), x.reshape(-1))
