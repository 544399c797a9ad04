"""How well an autoencoder reconstructs, how sparse it is, and how well its features detect a label."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from sae.detection import Detector, Probe, best_single_feature, linear_probe_auroc
from sae.errors import SAEError
from sae.model import MatryoshkaSAE
from sae.ranking import auroc, auroc_per_feature, bootstrap_auroc

__all__ = [
    "Detector",
    "Probe",
    "auroc",
    "auroc_per_feature",
    "best_single_feature",
    "bootstrap_auroc",
    "linear_probe_auroc",
    "reconstruction",
]

DENSE_RATE = 0.1
"""A feature that fires on more than this share of the tokens is called dense."""


@torch.no_grad()
def reconstruction(sae: MatryoshkaSAE, batches: Iterable[torch.Tensor]) -> dict[str, Any]:
    """Quality of the autoencoder, as it will be used (by threshold), over all given tokens.

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
    device = sae.W_dec.device
    n_tokens = 0
    errors_g = torch.zeros(len(sae.groups), dtype=torch.float64)
    sum_d = torch.zeros(sae.d, dtype=torch.float64)
    sum_squares = 0.0
    fired_f = torch.zeros(sae.n_features, dtype=torch.int64)
    for batch_nd in batches:
        if not bool(torch.isfinite(batch_nd).all()):
            raise SAEError(f"the batch after {n_tokens} tokens holds NaN or infinity; filter such rows out")
        x_nd = batch_nd.to(device)
        codes = sae.encode(x_nd)
        for group in range(len(sae.groups)):
            error_nd = (sae.decode(codes, group + 1) - x_nd).double()
            errors_g[group] += float(error_nd.square().sum())
        wide_nd = x_nd.double().cpu()
        sum_d += wide_nd.sum(0)
        sum_squares += float(wide_nd.square().sum())
        fired_f += codes.counts().cpu()
        n_tokens += len(x_nd)
    if n_tokens == 0:
        raise SAEError("no tokens to evaluate on: the batches were empty")
    spread = sum_squares - float(sum_d.square().sum()) / n_tokens
    explained_g = [1 - error / spread if spread > 0 else float("nan") for error in errors_g.tolist()]
    return {
        "tokens": n_tokens,
        "variance_explained": explained_g[-1],
        "variance_explained_by_group": explained_g,
        "mean_squared_error": float(errors_g[-1]) / (n_tokens * sae.d),
        "l0": float(fired_f.sum()) / n_tokens,
        "dead_share": float((fired_f == 0).double().mean()),
        "dense_share": float((fired_f > DENSE_RATE * n_tokens).double().mean()),
    }
