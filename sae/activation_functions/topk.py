"""TopK: the k largest activations of each token, in training and afterwards.

arXiv 2406.04093.
"""

from __future__ import annotations

from typing import ClassVar

import torch

from sae.activation_functions.base import ActivationFunction
from sae.errors import SAEError
from sae.selection import Selection, largest_of_rows


class TopK(ActivationFunction):
    """Keeps round(k) positive entries of every row; a threshold plays no part."""

    name: ClassVar[str] = "topk"

    def select(self, pre_nf: torch.Tensor, k: float, log_threshold: torch.Tensor | None = None) -> Selection:
        flat = largest_of_rows(pre_nf, max(1, round(k)))
        values = pre_nf.reshape(-1)[flat]
        return Selection(flat, values, values.min() if len(flat) else None)

    def keeps(self, pre: torch.Tensor, threshold: torch.Tensor, k: int | None) -> torch.Tensor:
        if k is None:
            raise SAEError("k = None: a TopK autoencoder needs the number of features to keep per token")
        mask = torch.zeros(pre.numel(), dtype=torch.bool, device=pre.device)
        mask[largest_of_rows(pre.detach().reshape(-1, pre.shape[-1]), k)] = True
        return mask.view(pre.shape)
