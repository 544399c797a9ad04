"""Fields: a vector of its own for every patch, kept as a few directions with signed maps.

A field (P, d) is cut to its leading singular pairs, u · s · vᵀ. A map may not be negative, so that a pair becomes two
parts: the patches where u is positive are pushed along v, the others along −v.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from activations.models.base import ReportModel
from activations.roles import Role
from radiology.study import Study
from steering.errors import SteeringError
from steering.experiments.design import Goal
from steering.interventions.grids import as_grid
from steering.interventions.kinds import Add
from steering.interventions.positions import image_number, prompt_places
from steering.interventions.spec import Direction, Intervention, SteeringSpec
from steering.interventions.tokens import Tokens
from steering.methods.features import FRONTAL, sign_of
from steering.tracing.pairs import Pair
from steering.tracing.patching import record, residual

#: Parts smaller than this share of the field's length are left out.
_NEGLIGIBLE = 1e-6


def field_spec(
    site: str, field_pd: np.ndarray, grid: tuple[int, int], goal: Goal, *, name: str, rank: int = 12
) -> SteeringSpec:
    """Add strength × field to the patches of the frontal image.

    Args:
        field_pd: (rows · columns, d).
        rank: singular pairs kept; :func:`kept_share` says how much of the field they hold.

    Raises:
        SteeringError: the field is zero or does not fit the grid.
    """
    if field_pd.shape[0] != grid[0] * grid[1]:
        raise SteeringError(f"field {name!r}: {field_pd.shape[0]} patches, the grid {grid} has {grid[0] * grid[1]}")
    if not np.isfinite(field_pd).all() or not field_pd.any():
        raise SteeringError(f"field {name!r}: it must be finite and not zero")
    u_pr, s_r, v_rd = np.linalg.svd(field_pd.astype(np.float64), full_matrices=False)
    parts = []
    for r in range(min(rank, len(s_r))):
        for sign in (1.0, -1.0):
            map_p = np.maximum(sign * u_pr[:, r], 0)
            if map_p.max() * s_r[r] <= _NEGLIGIBLE * s_r[0]:
                continue
            vector = Direction(f"{name} {r}{'+' if sign > 0 else '-'}", tuple(sign * s_r[r] * map_p.max() * v_rd[r]))
            patches = as_grid(map_p.reshape(grid), "map")
            parts.append(Intervention(Add(sign_of(goal), shape="map"), direction=vector, maps=(patches,)))
    return SteeringSpec(site, tuple(parts), FRONTAL)


def kept_share(field_pd: np.ndarray, rank: int) -> float:
    """Share of the squared length of a field that its leading singular pairs hold."""
    s_r = np.linalg.svd(field_pd.astype(np.float64), compute_uv=False)
    return float((s_r[:rank] ** 2).sum() / (s_r**2).sum())


def mean_direction(site: str, field_pd: np.ndarray, goal: Goal, *, name: str, tokens: Tokens = FRONTAL) -> SteeringSpec:
    """The plain difference of means: the field's mean over patches, added to all tokens in scope alike."""
    vector = Direction(name, tuple(field_pd.astype(np.float64).mean(axis=0)))
    return SteeringSpec(site, (Intervention(Add(sign_of(goal)), direction=vector),), tokens)


def counterfactual_field(model: ReportModel, site: str, pairs: Sequence[Pair], *, batch: int = 16) -> np.ndarray:
    """Mean over pairs of the donor's residual minus the recipient's on the frontal patches, (rows · columns, d).

    With pairs that differ in one finding only it is the most that a fixed push can know of the finding.

    Raises:
        SteeringError: no pairs.
    """
    if not pairs:
        raise SteeringError("counterfactual field: no pairs")
    recipients, donors = zip(*pairs, strict=True)
    return mean_field(model, site, donors, batch=batch) - mean_field(model, site, recipients, batch=batch)


def mean_field(model: ReportModel, site: str, studies: Sequence[Study], *, batch: int = 16) -> np.ndarray:
    """Mean residual of the frontal patches of studies, (rows · columns, d); for sites that no store holds."""
    return image_residuals(model, site, studies, batch=batch).double().mean(dim=0).numpy()


def over_sites(specs: Sequence[SteeringSpec]) -> SteeringSpec:
    """Several specs as one, each part at its own site; a later site sees what the earlier ones have done."""
    parts = [part for spec in specs for part in spec.resolved]
    return SteeringSpec(specs[0].site, tuple(parts), specs[0].tokens)


def image_residuals(
    model: ReportModel, site: str, studies: Sequence[Study], *, image: str = "frontal", batch: int = 16
) -> torch.Tensor:
    """Residuals of the patches of one image, (studies, rows · columns, d) float32; patches row by row.

    Raises:
        SteeringError: no studies, or a study without the image.
    """
    if not studies:
        raise SteeringError("image residuals: no studies")
    missing = [study.study_id for study in studies if image not in study.images]
    if missing:
        raise SteeringError(f"image residuals: study {missing[0]!r} has no image {image!r}")
    return torch.cat(
        [_patches(model, site, studies[i : i + batch], image_number(image)) for i in range(0, len(studies), batch)]
    )


def _patches(model: ReportModel, site: str, studies: Sequence[Study], image: int) -> torch.Tensor:
    inputs = model.encode_batch(studies)
    _, outputs = record(model, [site], inputs)
    places = prompt_places(inputs)
    b, t = np.nonzero((places.role == Role.IMAGE) & (places.image == image))
    order = np.lexsort((places.col[b, t], places.row[b, t], b))
    x_nd = residual(outputs[site])[torch.from_numpy(b[order]), torch.from_numpy(t[order])].float().cpu()
    return x_nd.reshape(len(studies), -1, x_nd.shape[1])
