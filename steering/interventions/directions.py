"""Directions to steer along, and to compare with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from sae.model import MatryoshkaSAE
from steering.errors import SteeringError
from steering.interventions.spec import Direction

#: Features whose decoder rows are closer than this cosine are no control for each other: they may share a concept.
PARALLEL = 0.3


def decoder_direction(sae: MatryoshkaSAE, feature: int, length: float = 1.0) -> Direction:
    """Unit decoder row of a feature times ``length`` (for instance its max activation)."""
    row_d = sae.feature_direction(feature).double()
    return Direction(f"feature {feature}", tuple((row_d * length).tolist()))


def group_direction(sae: MatryoshkaSAE, features: Sequence[int], weights: Sequence[float] | None = None) -> Direction:
    """Weighted sum of decoder rows; equal weights unless given."""
    weights_m = torch.ones(len(features)) if weights is None else torch.tensor(list(weights), dtype=torch.float32)
    rows_md = sae.W_dec[list(features)].detach().float().cpu()
    return Direction(f"features {', '.join(map(str, features))}", tuple((weights_m @ rows_md).tolist()))


def random_direction(width: int, seed: int | Sequence[int], length: float = 1.0) -> Direction:
    """Uniform on the sphere of radius ``length`` in ``width`` dimensions."""
    vector_d = np.random.default_rng(seed).standard_normal(width)
    return Direction(f"random {seed}", tuple((vector_d * (length / np.linalg.norm(vector_d))).tolist()))


def difference_of_means(positive_nd: torch.Tensor, negative_nd: torch.Tensor, name: str) -> Direction:
    """Mean of residuals with the finding minus mean without; α = 1 adds the whole difference.

    Raises:
        SteeringError: one side is empty, or both means are equal.
    """
    if not len(positive_nd) or not len(negative_nd):
        raise SteeringError(f"direction {name!r}: {len(positive_nd)} positive and {len(negative_nd)} negative rows")
    vector_d = positive_nd.double().mean(dim=0) - negative_nd.double().mean(dim=0)
    return Direction(name, tuple(vector_d.tolist()))


def equal_rate_feature(
    sae: MatryoshkaSAE, feature: int, firing_rates_f: np.ndarray, exclude: Sequence[int] = ()
) -> int:
    """The feature whose firing rate is nearest (in ratio) to that of ``feature``.

    Left out are ``feature`` itself, ``exclude``, silent features, and those whose decoder row has a cosine of
    :data:`PARALLEL` or more with any of them.

    Raises:
        SteeringError: the feature never fires, the rates are of another SAE, or nothing is left.
    """
    rates_f = np.asarray(firing_rates_f, dtype=np.float64)
    if rates_f.shape != (sae.n_features,):
        raise SteeringError(f"firing_rates: shape {rates_f.shape}, the autoencoder has {sae.n_features} features")
    if not rates_f[feature] > 0:
        raise SteeringError(f"firing_rates: feature {feature} never fires, so no other feature fires as often")
    avoid = sorted({feature, *exclude})
    rows_fd = sae.W_dec.detach().float()
    cosines_f = (rows_fd @ rows_fd[avoid].T).abs().amax(dim=1).cpu().numpy()
    writes_f = rows_fd.any(dim=1).cpu().numpy()
    possible = np.flatnonzero((rates_f > 0) & writes_f & (cosines_f < PARALLEL))
    if not len(possible):
        raise SteeringError(
            f"firing_rates: no other live feature is apart enough from feature {feature} to be its control"
        )
    return int(possible[np.argmin(np.abs(np.log(rates_f[possible] / rates_f[feature])))])
