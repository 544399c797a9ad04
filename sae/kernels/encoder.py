"""The encoder product, the only dense part of a step, and the choice of the entries to keep from it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch

from sae.activation_functions import ActivationFunction, BatchTopK
from sae.selection import Selection, ranked, select_largest
from sae.sparse import Workspace, row_dots


class Encoder(ABC):
    """One way to get h = W_enc x̃ + b_enc where it matters."""

    name: ClassVar[str]
    exact: ClassVar[bool] = True
    """Whether the matrix of pre-activations is right everywhere, not only at the entries that are kept."""

    @abstractmethod
    def encode(
        self, W_enc: torch.Tensor, b_enc: torch.Tensor, centred_nd: torch.Tensor, space: Workspace
    ) -> torch.Tensor:
        """(B, F) pre-activations, in a buffer that holds until the next step."""

    def select(
        self,
        activation: ActivationFunction,
        pre_nf: torch.Tensor,
        k: float,
        log_threshold: torch.Tensor | None,
    ) -> Selection:
        """The entries that the activation function keeps of what `encode` gave, with exact values."""
        return activation.select(pre_nf, k, log_threshold)

    def columns(self, pre_nf: torch.Tensor, features: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """(B, m) exact pre-activations of the named features."""
        return torch.index_select(pre_nf, 1, features, out=out)

    def fits(self, activation: ActivationFunction) -> bool:
        """Whether it can serve this activation function."""
        return True


class FullEncoder(Encoder):
    """One product in the type of the weights, float32 in training: the reference."""

    name: ClassVar[str] = "float32"

    def encode(
        self, W_enc: torch.Tensor, b_enc: torch.Tensor, centred_nd: torch.Tensor, space: Workspace
    ) -> torch.Tensor:
        pre_nf = space.get("pre", (len(centred_nd), len(b_enc)), centred_nd)
        return torch.addmm(b_enc, centred_nd, W_enc.T, out=pre_nf)


class ScreeningEncoder(Encoder):
    """A bfloat16 product that only screens; what may be among the k · B largest is computed again, exactly.

    Rounding a number to bfloat16 changes it by at most 2⁻⁹ of itself. So the product of rounded rows lies within
    s_n = (2⁻⁸ + 2⁻⁹ + d · 2⁻²³) · ‖x̃_n‖ · max_f ‖W_enc[f]‖ of the true one, whose terms are: both factors, the rounded
    result, and float32 sums. `encode` gives the lower bounds h − s; k · B of them lie at or above their own cut τ,
    hence so do k · B true values, and nothing with h + s < τ can be among the largest. The rest are few, and are ranked
    by their exact values: the selection is that of the full product, not near it.
    """

    name: ClassVar[str] = "bfloat16"
    exact: ClassVar[bool] = False

    def __init__(self) -> None:
        self._hint: float | None = None
        self._space = Workspace()

    def fits(self, activation: ActivationFunction) -> bool:
        return type(activation) is BatchTopK

    def encode(
        self, W_enc: torch.Tensor, b_enc: torch.Tensor, centred_nd: torch.Tensor, space: Workspace
    ) -> torch.Tensor:
        self._W_enc, self._b_enc, self._centred_nd = W_enc, b_enc, centred_nd
        factor = 2**-8 + 2**-9 + centred_nd.shape[1] * 2**-23
        longest = torch.linalg.vector_norm(W_enc, dim=1).max()
        # What adding the bias in the weights' type rounds is far below the slack that remains.
        self._slack_n1 = torch.linalg.vector_norm(centred_nd, dim=1, keepdim=True) * (factor * longest)
        product_nf = _narrow_product(centred_nd.bfloat16(), W_enc.bfloat16().T)
        pre_nf = space.get("pre", (len(centred_nd), len(b_enc)), centred_nd)
        return torch.add(product_nf, b_enc, out=pre_nf).sub_(self._slack_n1)

    def select(
        self,
        activation: ActivationFunction,
        pre_nf: torch.Tensor,
        k: float,
        log_threshold: torch.Tensor | None,
    ) -> Selection:
        count = max(1, round(k * len(pre_nf)))
        sure = select_largest(pre_nf, count, self._hint, self._space)
        enough = len(sure.flat) == count
        self._hint = float(sure.cut) if enough and sure.cut is not None else None
        floor = self._hint if self._hint is not None else 0.0
        mask_nf = self._space.get("possible", tuple(pre_nf.shape), pre_nf, torch.bool)
        # In a sum of this size one rounding more must not lose an entry: hence the factor.
        torch.ge(pre_nf, floor * (1 - 2**-20) - 2 * self._slack_n1, out=mask_nf)
        flat = torch.nonzero(mask_nf.reshape(-1)).squeeze(1)
        rows = torch.div(flat, pre_nf.shape[1], rounding_mode="floor")
        features = flat - rows * pre_nf.shape[1]
        values = row_dots(self._W_enc, features, self._centred_nd, rows) + self._b_enc[features]
        positive = values > 0
        return ranked(flat[positive], values[positive], count)

    def columns(self, pre_nf: torch.Tensor, features: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        return torch.addmm(self._b_enc[features], self._centred_nd, self._W_enc[features].T, out=out)


def _narrow_product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """A product of bfloat16 matrices, summed in float32."""
    if left.device.type == "cuda":
        # Without this the parts of a long sum may be added up in bfloat16 there.
        return torch.mm(left, right, out_dtype=torch.float32)
    return left @ right
