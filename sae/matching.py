"""Matching the features of two autoencoders by their decoder rows, and how stable features are across seeds.

Stability is the mean cosine of matched rows (arXiv 2501.16615 measures alike). Any two large dictionaries match to some
degree, so it stands beside chance: the same rows against as many drawn from a Gaussian with the mean and
covariance of the other side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch.nn import functional

from sae.errors import SAEError
from sae.ranking import group_weights, percentile_interval

EXACT_UP_TO = 8192
"""Rows of the larger side up to which the assignment is exact; its cost grows with their third power."""

SAME = 0.7
"""Cosine from which a matched pair counts as the same feature."""

_CANDIDATES = 32
_CHUNK_ENTRIES = 1 << 24


@dataclass(frozen=True)
class Stability:
    """How well the features of one autoencoder are found again in another.

    Attributes:
        features: rows of the first side that were matched against the other.
        cosine_n: (features,) cosine of each with its partner; 0 where it got none.
        cosine, low, high: their mean, with a 95 % bootstrap interval over features.
        same: share with a cosine of at least SAME.
        nearest: mean cosine with the nearest row of the other side, whether or not it is another feature's partner.
        chance, chance_same: mean and share against rows that were drawn; see the module.
        exact: whether the assignment is the best there is, or a greedy one.
    """

    features: int
    cosine_n: NDArray[np.float64]
    cosine: float
    low: float
    high: float
    same: float
    nearest: float
    chance: float
    chance_same: float
    exact: bool


def match(rows_fd: torch.Tensor, directions_td: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A pairing of rows and directions with a large sum of cosines, each used at most once.

    The sum is the largest there is up to EXACT_UP_TO rows; beyond, pairs are taken greedily by falling cosine among the
    nearest rows of each direction.

    Returns:
        (T,) int64 row of each direction, −1 where it got none; and (T,) their cosine, 0 there.
    """
    if rows_fd.ndim != 2 or directions_td.ndim != 2 or rows_fd.shape[1] != directions_td.shape[1]:
        shapes = f"{tuple(rows_fd.shape)} and {tuple(directions_td.shape)}"
        raise SAEError(f"rows and directions have shapes {shapes}: must be (F, d) and (T, d)")
    rows_fd, directions_td = _unit(rows_fd), _unit(directions_td)
    row_t = torch.full((len(directions_td),), -1)
    cosine_t = torch.zeros(len(directions_td))
    if not len(rows_fd) or not len(directions_td):
        return row_t, cosine_t
    if max(len(rows_fd), len(directions_td)) <= EXACT_UP_TO:
        cosine_ft = rows_fd @ directions_td.T
        rows, directions = (torch.from_numpy(side) for side in linear_sum_assignment(cosine_ft.numpy(), maximize=True))
        row_t[directions], cosine_t[directions] = rows, cosine_ft[rows, directions]
        return row_t, cosine_t
    cosines_tc, rows_tc = _nearest(directions_td, rows_fd, _CANDIDATES)
    free_f = np.ones(len(rows_fd), dtype=bool)
    candidates = rows_tc.shape[1]
    for place in torch.argsort(cosines_tc.flatten(), descending=True, stable=True).tolist():
        direction, candidate = divmod(place, candidates)
        row = int(rows_tc[direction, candidate])
        if row_t[direction] < 0 and free_f[row]:
            row_t[direction], cosine_t[direction] = row, cosines_tc[direction, candidate]
            free_f[row] = False
    return row_t, cosine_t


def stability(rows_fd: torch.Tensor, others_gd: torch.Tensor, *, seed: int = 0, n_samples: int = 500) -> Stability:
    """How well the rows of one decoder are found again in another.

    Args:
        rows_fd, others_gd: decoder rows; leave out features that are dead, they keep the directions they started with.
        seed: of the chance level and of the bootstrap.

    Raises:
        SAEError: a side has no rows, or their widths differ.
    """
    if not len(rows_fd) or not len(others_gd):
        raise SAEError(f"{len(rows_fd)} and {len(others_gd)} features to match: each side needs at least one")
    rows_fd, others_gd = rows_fd.detach().float().cpu(), others_gd.detach().float().cpu()
    cosine_n = match(others_gd, rows_fd)[1].double().numpy()
    chance_n = match(like(others_gd, seed), rows_fd)[1].double().numpy()
    weight_bn = group_weights(np.arange(len(cosine_n)), n_samples=n_samples, seed=seed)
    low, high = percentile_interval(weight_bn @ cosine_n / len(cosine_n))
    return Stability(
        features=len(cosine_n),
        cosine_n=cosine_n,
        cosine=float(cosine_n.mean()),
        low=low,
        high=high,
        same=float((cosine_n >= SAME).mean()),
        nearest=float(_nearest(_unit(rows_fd), _unit(others_gd), 1)[0].mean()),
        chance=float(chance_n.mean()),
        chance_same=float((chance_n >= SAME).mean()),
        exact=max(len(rows_fd), len(others_gd)) <= EXACT_UP_TO,
    )


def like(rows_fd: torch.Tensor, seed: int) -> torch.Tensor:
    """(F, d) unit rows drawn from a Gaussian with the mean and covariance of the given rows."""
    generator = torch.Generator().manual_seed(seed)
    mean_d = rows_fd.double().mean(0)
    centred_fd = rows_fd.double() - mean_d
    values_d, vectors_dd = torch.linalg.eigh(centred_fd.T @ centred_fd / len(rows_fd))
    normal_fd = torch.randn(rows_fd.shape, generator=generator, dtype=torch.float64)
    return _unit((normal_fd * values_d.clamp(min=0).sqrt()) @ vectors_dd.T + mean_d)


def _nearest(rows_fd: torch.Tensor, others_gd: torch.Tensor, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(F, n) largest cosines of each unit row with the others, and which others they are."""
    step = max(1, _CHUNK_ENTRIES // len(others_gd))
    parts = [(part_fd @ others_gd.T).topk(min(n, len(others_gd)), dim=1) for part_fd in rows_fd.split(step)]
    return torch.cat([part.values for part in parts]), torch.cat([part.indices for part in parts])


def _unit(rows_fd: torch.Tensor) -> torch.Tensor:
    return functional.normalize(rows_fd.detach().float().cpu())
