"""How well an autoencoder reconstructs, how sparse it is, and how well its features detect a label."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from sae.detection import Detector, Probe, best_single_feature, linear_probe_auroc
from sae.model import MatryoshkaSAE
from sae.ranking import auroc, auroc_per_feature, bootstrap_auroc
from sae.reconstruction import DENSE_RATE, ReconstructionMeter

__all__ = [
    "DENSE_RATE",
    "Detector",
    "Probe",
    "auroc",
    "auroc_per_feature",
    "best_single_feature",
    "bootstrap_auroc",
    "linear_probe_auroc",
    "reconstruction",
]


def reconstruction(sae: MatryoshkaSAE, batches: Iterable[torch.Tensor]) -> dict[str, Any]:
    """Quality of the autoencoder, as it will be used (by threshold), over all given tokens.

    For figures by kind of token and with intervals see :class:`sae.reconstruction.ReconstructionMeter`.

    Args:
        batches: (B, d) activations; read once.

    Returns:
        tokens: number of rows.
        variance_explained: 1 − Σ‖x − x̂‖² / Σ‖x − mean x‖², with all groups; NaN when the rows are all equal.
        variance_explained_by_group: the same for the prefix of 1, 2, … groups.
        mean_squared_error: Σ‖x − x̂‖² / (tokens · d).
        l0: active features a token.
        dead_share: share of features that never fired on these tokens.
        dense_share: share of features that fired on more than DENSE_RATE of them.

    Raises:
        SAEError: no rows, or a row holds NaN or infinity.
    """
    meter = ReconstructionMeter(sae, 1, ("all",))
    for batch_nd in batches:
        here = np.zeros(len(batch_nd), dtype=np.int64)
        meter.add(batch_nd, here, here)
    figures = meter.figures(n_samples=1)
    names = ("tokens", "variance_explained", "variance_explained_by_group", "mean_squared_error")
    return {name: figures[name] for name in (*names, "l0", "dead_share", "dense_share")}
