"""A group's push without what it would disturb: its components along features that it moves by accident are removed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from sae.model import MatryoshkaSAE


def push_pd(sae: MatryoshkaSAE, features: Sequence[int], maps_pm: np.ndarray) -> np.ndarray:
    """What a group in its maps adds to each patch, (P, d); ``maps_pm`` is (P, features)."""
    return np.asarray(maps_pm @ sae.W_dec[list(features)].detach().float().cpu().numpy())


def disturbed(
    sae: MatryoshkaSAE, field_pd: np.ndarray, group: Sequence[int], x_nd: np.ndarray, patch_n: np.ndarray, n: int
) -> tuple[int, ...]:
    """The ``n`` features outside the group whose activation a push changes most on ordinary patches.

    Args:
        field_pd: the push, (P, d).
        x_nd: residuals of patches, (n, d).
        patch_n: which patch of the field each of them is.
    """
    with torch.no_grad():
        before_nf = sae.encode(torch.from_numpy(x_nd).float()).dense()
        after_nf = sae.encode(torch.from_numpy(x_nd + field_pd[patch_n]).float()).dense()
    change_f = (after_nf - before_nf).abs().mean(dim=0)
    change_f[list(group)] = 0
    order = torch.argsort(change_f, descending=True)[:n]
    return tuple(int(f) for f in order if change_f[f] > 0)


def without(field_pd: np.ndarray, directions_md: np.ndarray) -> np.ndarray:
    """The field with its components in the span of the directions removed, (P, d)."""
    if not len(directions_md):
        return field_pd
    u_dm, s_m, _ = np.linalg.svd(directions_md.astype(np.float64).T, full_matrices=False)
    basis_dm = u_dm[:, s_m > 1e-6 * s_m[0]]
    return np.asarray(field_pd - (field_pd @ basis_dm) @ basis_dm.T)
