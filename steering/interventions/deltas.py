"""Interventions as pure functions: residuals in, what to add to them out.

Every kind (:mod:`steering.interventions.kinds`) is a change of activation times the unit decoder row of its feature,
computed in float32 from the unsteered residual. A change of exactly zero gives a delta of exactly zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from sae.model import MatryoshkaSAE
from steering.errors import SteeringError
from steering.interventions.kinds import Ablate, Add, Clamp, Floor, Kind, Scale
from steering.interventions.positions import Places
from steering.interventions.selection import on_grid
from steering.interventions.spec import Intervention, Redirect, SteeringSpec


def change_of(kind: Kind, acts_nm: torch.Tensor, amounts_nm: torch.Tensor) -> torch.Tensor:
    """Change of activation (n, m) for activations f and amounts a of the same shape."""
    match kind:
        case Add():
            return amounts_nm
        case Clamp():
            return amounts_nm - acts_nm
        case Floor():
            return (amounts_nm - acts_nm).clamp(min=0)
        case Scale():
            return (kind.factor - 1) * acts_nm
        case Ablate():
            return -acts_nm


@dataclass(frozen=True)
class _Prepared:
    """One intervention with its tensors: unit directions (m, d), amount per unit strength (m,), peak-scaled maps."""

    intervention: Intervention
    directions_md: torch.Tensor
    units_m: torch.Tensor


class DeltaRule:
    """delta(h) of a whole spec.

    Example:
        >>> rule = DeltaRule(spec, sae, torch.device("cpu"))
        >>> delta_nd = rule(h_nd, places)  # places[i] says which token row i of h_nd is
    """

    def __init__(self, spec: SteeringSpec, sae: MatryoshkaSAE | None, device: torch.device) -> None:
        self._sae = sae
        self._gate = spec.gate
        self._parts = [_prepare(intervention, sae, device) for intervention in spec.interventions]
        self._redirect = spec.redirect
        self._toward_d = None if spec.redirect is None else _unit_or_none(spec.redirect, device)

    def __call__(self, h_nd: torch.Tensor, places: Places) -> torch.Tensor:
        """What to add to the residuals (n, d), float32. ``places`` has shape (n,)."""
        x_nd = h_nd.float()
        delta_nd = torch.zeros_like(x_nd)
        for part in self._parts:
            delta_nd = delta_nd + self._part(x_nd, places, part)
        if self._gate is not None:
            open_n1 = self.activations(x_nd, (self._gate.feature,)) > self._gate.above
            delta_nd = torch.where(open_n1, delta_nd, torch.zeros_like(delta_nd))
        return self._redirected(delta_nd)

    def activations(self, x_nd: torch.Tensor, features: tuple[int, ...]) -> torch.Tensor:
        """Activations (n, m) of the features, float32, on the device of x."""
        sae = _needed(self._sae)
        with torch.no_grad():
            acts_nm = sae.encode_features(x_nd.to(sae.W_enc.device), list(features))
        return acts_nm.to(x_nd.device, torch.float32)

    def _part(self, x_nd: torch.Tensor, places: Places, part: _Prepared) -> torch.Tensor:
        intervention = part.intervention
        features = intervention.features
        acts_nm = x_nd.new_zeros(len(x_nd), len(part.directions_md))
        if features and not isinstance(intervention.kind, Add):
            acts_nm = self.activations(x_nd, features)
        change_nm = change_of(intervention.kind, acts_nm, _amounts(part, x_nd, places))
        if intervention.shaped and intervention.mask is not None:
            change_nm = change_nm * torch.from_numpy(on_grid(intervention.mask, places)).to(x_nd)[:, None]
        return change_nm @ part.directions_md

    def _redirected(self, delta_nd: torch.Tensor) -> torch.Tensor:
        if self._redirect is None:
            return delta_nd
        if self._toward_d is None:
            return -delta_nd
        return delta_nd.norm(dim=-1, keepdim=True) * self._toward_d


def _needed(sae: MatryoshkaSAE | None) -> MatryoshkaSAE:
    if sae is None:
        raise SteeringError("sae: the spec names features, so the autoencoder they belong to is needed")
    return sae


def _prepare(intervention: Intervention, sae: MatryoshkaSAE | None, device: torch.device) -> _Prepared:
    if intervention.direction is not None:
        vector_d = torch.tensor(intervention.direction.vector, dtype=torch.float32, device=device)
        length = vector_d.norm()
        return _Prepared(intervention, (vector_d / length)[None], length[None])
    rows_md = _needed(sae).W_dec[list(intervention.features)].detach().to(device, torch.float32)
    units = intervention.max_activations or (1.0,) * len(intervention.features)
    return _Prepared(intervention, rows_md, torch.tensor(units, dtype=torch.float32, device=device))


def _amounts(part: _Prepared, x_nd: torch.Tensor, places: Places) -> torch.Tensor:
    """strength × unit × map, (n, m)."""
    intervention, kind = part.intervention, part.intervention.kind
    if isinstance(kind, Scale | Ablate):
        return x_nd.new_zeros(len(x_nd), len(part.units_m))
    amounts_nm = x_nd.new_ones(len(x_nd), len(part.units_m)) * float(kind.strength)
    if kind.unit == "residual_norm":
        amounts_nm = amounts_nm * x_nd.norm(dim=-1, keepdim=True)
    elif kind.unit == "max_activation" and (kind.shape != "map" or intervention.direction is not None):
        amounts_nm = amounts_nm * part.units_m
    if kind.shape != "map":
        return amounts_nm
    maps_nm = np.stack([on_grid(grid, places) for grid in intervention.maps], axis=1)
    if kind.unit != "max_activation" or intervention.direction is not None:
        maps_nm = maps_nm / np.array([np.max(grid) for grid in intervention.maps], dtype=np.float32)
    return amounts_nm * torch.from_numpy(maps_nm).to(amounts_nm)


def _unit_or_none(redirect: Redirect, device: torch.device) -> torch.Tensor | None:
    if redirect.vector is None:
        return None
    vector_d = torch.tensor(redirect.vector, dtype=torch.float32, device=device)
    return vector_d / vector_d.norm()
