"""Where a training begins: b_dec and the unit of length, from the first batch."""

from __future__ import annotations

import warnings

import torch

from sae.divergence import OUTLIER, outliers
from sae.errors import SAEError


def centre_and_scale(x_nd: torch.Tensor, b_dec_init: str) -> tuple[torch.Tensor, float]:
    """(d,) centre of the rows, and the median distance from it; warns of rows that are far out.

    Args:
        x_nd: (B, d), finite.
        b_dec_init: one of `sae.config.B_DEC_INITS`.

    Raises:
        SAEError: all rows are equal.
    """
    centre_d = x_nd.mean(0) if b_dec_init == "mean" else geometric_median(x_nd)
    distance_n = (x_nd - centre_d).norm(dim=1)
    typical = float(distance_n.median()) or float(distance_n.square().mean().sqrt())
    if typical == 0:
        raise SAEError(f"all {len(x_nd)} rows of the first batch are equal: there is nothing to learn from them")
    n_far = int(outliers(x_nd, centre_d).sum())
    if n_far:
        warnings.warn(
            f"{n_far} of {len(x_nd)} rows of the first batch lie more than {OUTLIER} times the median distance "
            "from the centre (attention sinks?); they will rule the loss, so leave them out of the activations",
            stacklevel=3,
        )
    return centre_d, typical


def geometric_median(x_nd: torch.Tensor, iterations: int = 50) -> torch.Tensor:
    """(d,) point of least summed distance to the rows, by Weiszfeld's iteration from the mean."""
    centre_d = x_nd.mean(0)
    for _ in range(iterations):
        distance_n = (x_nd - centre_d).norm(dim=1)
        # A row at the centre itself would have infinite weight.
        weight_n = 1 / distance_n.clamp(min=1e-6 * float(distance_n.mean()) or 1.0)
        centre_d = (weight_n @ x_nd) / weight_n.sum()
    return centre_d
