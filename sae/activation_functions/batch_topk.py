"""BatchTopK: the k · B largest activations of the whole batch in training, one threshold afterwards.

arXiv 2412.06410.
"""

from __future__ import annotations

from typing import ClassVar

import torch

from sae.activation_functions.base import ActivationFunction
from sae.selection import Selection, select_largest
from sae.sparse import Workspace


class BatchTopK(ActivationFunction):
    """Keeps round(k · B) positive entries of the batch, so that a token may use more or fewer than k."""

    name: ClassVar[str] = "batch_topk"
    follows_cut: ClassVar[bool] = True

    def __init__(self) -> None:
        # The last cut makes the next selection cheap; it never changes what is selected.
        self._hint: float | None = None
        self._space = Workspace()

    def select(self, pre_nf: torch.Tensor, k: float, log_threshold: torch.Tensor | None = None) -> Selection:
        selection = select_largest(pre_nf, max(1, round(k * len(pre_nf))), self._hint, self._space)
        self._hint = None if selection.cut is None else float(selection.cut)
        return selection
