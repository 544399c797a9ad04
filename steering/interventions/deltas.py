"""Interventions as pure functions: residuals in, what to add to them out.

Every kind (:mod:`steering.interventions.kinds`) is a change of activation times the unit decoder row of its feature,
computed in float32 from the unsteered residual. A change of exactly zero gives a delta of exactly zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from sae.model import MatryoshkaSAE
from steering.errors import SteeringError
from steering.interventions.gates import OWN, Gate
from steering.interventions.grids import on_grid, peak, table_for
from steering.interventions.kinds import Ablate, Add, Clamp, Floor, Kind, Scale
from steering.interventions.positions import Places
from steering.interventions.spec import Intervention, SteeringSpec


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
class Weighing:
    """What a batch says of one intervention at n tokens.

    Attributes:
        weights_n: factor on the change (a schedule, or 0 for tokens that are not its own); ``None`` is 1 everywhere.
        opens_n: what the text says where its gate reads text and activations.
    """

    weights_n: torch.Tensor | None = None
    opens_n: torch.Tensor | None = None


@dataclass(frozen=True)
class _Prepared:
    """One intervention with its tensors: unit directions (m, d), amount per unit strength (m,), grids of the batch.

    ``constant_d`` is the whole delta where it is the same for every token.
    """

    intervention: Intervention
    directions_md: torch.Tensor
    units_m: torch.Tensor
    constant_d: torch.Tensor | None
    maps: list[np.ndarray] = field(default_factory=list)
    masks: list[np.ndarray] = field(default_factory=list)


class DeltaRule:
    """delta(h) of a spec at one of its sites.

    Example:
        >>> rule = DeltaRule(spec, sae, torch.device("cpu"))
        >>> delta_nd = rule(h_nd, places)  # places[i] says which token row i of h_nd is
    """

    def __init__(
        self, spec: SteeringSpec, sae: MatryoshkaSAE | None, device: torch.device, site: str | None = None
    ) -> None:
        by_site = spec.by_site
        self._site = site if site is not None else next(iter(by_site))
        self._sae = sae
        self._parts = [_prepare(part, sae, device) for part in by_site[self._site]]
        self._redirect = spec.redirect
        self._toward_d = None if spec.redirect is None else _unit_or_none(spec.redirect.at(self._site), device)
        self.for_studies(())

    def for_studies(self, study_ids: Sequence[str]) -> None:
        """Look up the maps and masks of a batch.

        Raises:
            SteeringError: a study without a grid where each study has its own.
        """
        for part in self._parts:
            if part.intervention.shaped and (study_ids or not _per_study(part.intervention)):
                grids = part.intervention
                mask = () if grids.mask is None else (grids.mask,)
                part.maps[:] = [table_for(grid, study_ids, "interventions.maps") for grid in grids.maps]
                part.masks[:] = [table_for(grid, study_ids, "interventions.mask") for grid in mask]

    def __call__(
        self, h_nd: torch.Tensor, places: Places | None, weighings: Sequence[Weighing | None] | None = None
    ) -> torch.Tensor:
        """What to add to the residuals (n, d), float32.

        Args:
            places: of shape (n,); may be left out where nothing has a shape.
            weighings: one an intervention; ``None`` for one that has no token here.
        """
        x_nd = h_nd.float()
        each = weighings if weighings is not None else [Weighing()] * len(self._parts)
        deltas = [
            self._part(x_nd, places, part, weighing)
            for part, weighing in zip(self._parts, each, strict=True)
            if weighing is not None
        ]
        delta = deltas[0]
        for other in deltas[1:]:
            delta = delta + other
        return self._redirected(delta).expand(x_nd.shape)

    def activations(self, x_nd: torch.Tensor, features: tuple[int, ...]) -> torch.Tensor:
        """Activations (n, m) of the features, float32, on the device of x."""
        sae = _needed(self._sae)
        with torch.no_grad():
            acts_nm = sae.encode_features(x_nd.to(sae.W_enc.device), list(features))
        return acts_nm.to(x_nd.device, torch.float32)

    def _part(self, x_nd: torch.Tensor, places: Places | None, part: _Prepared, weighing: Weighing) -> torch.Tensor:
        """The delta of one intervention, (n, d), or (d,) where it is the same for all."""
        intervention = part.intervention
        if part.constant_d is not None:
            constant_d, weights_n = part.constant_d, weighing.weights_n
            return constant_d if weights_n is None else weights_n[:, None] * constant_d
        gate = intervention.gate if intervention.gate is not None and intervention.gate.feature is not None else None
        acts_nm = x_nd.new_zeros(len(x_nd), len(part.directions_md))
        if intervention.features and (
            not isinstance(intervention.kind, Add) or (gate is not None and gate.feature == OWN)
        ):
            acts_nm = self.activations(x_nd, intervention.features)
        change_nm = change_of(intervention.kind, acts_nm, _amounts(intervention, part.units_m, x_nd, places, part.maps))
        if intervention.shaped and part.masks:
            assert places is not None
            change_nm = change_nm * torch.from_numpy(on_grid(part.masks[0], places)).to(x_nd)[:, None]
        if gate is not None:
            open_nm = self._open(gate, x_nd, acts_nm, weighing.opens_n)
            change_nm = torch.where(open_nm, change_nm, torch.zeros_like(change_nm))
        if weighing.weights_n is not None:
            change_nm = change_nm * weighing.weights_n[:, None]
        return change_nm @ part.directions_md

    def _open(
        self, gate: Gate, x_nd: torch.Tensor, acts_nm: torch.Tensor, opens_n: torch.Tensor | None
    ) -> torch.Tensor:
        """Where a gate on a feature is open, (n, 1), or (n, m) where each feature is its own gate."""
        seen = acts_nm if gate.feature == OWN else self.activations(x_nd, (int(gate.feature or 0),))
        open_nm = seen > gate.above
        if opens_n is not None:
            open_nm = open_nm & opens_n[:, None]
        return ~open_nm if gate.negate else open_nm

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


def _per_study(intervention: Intervention) -> bool:
    return any(not isinstance(grid, tuple) for _, grid in intervention.grids)


def _prepare(intervention: Intervention, sae: MatryoshkaSAE | None, device: torch.device) -> _Prepared:
    if intervention.direction is not None:
        vector_d = torch.tensor(intervention.direction.vector, dtype=torch.float32, device=device)
        length = vector_d.norm()
        return _prepared(intervention, (vector_d / length)[None], length[None])
    rows_md = _needed(sae).W_dec[list(intervention.features)].detach().to(device, torch.float32)
    units = intervention.max_activations or (1.0,) * len(intervention.features)
    return _prepared(intervention, rows_md, torch.tensor(units, dtype=torch.float32, device=device))


def _prepared(intervention: Intervention, directions_md: torch.Tensor, units_m: torch.Tensor) -> _Prepared:
    kind, gate = intervention.kind, intervention.gate
    constant = isinstance(kind, Add) and not intervention.shaped and kind.unit != "residual_norm"
    if not constant or (gate is not None and gate.feature is not None):
        return _Prepared(intervention, directions_md, units_m, None)
    amounts_1m = _amounts(intervention, units_m, directions_md.new_zeros(1, directions_md.shape[1]), None, [])
    return _Prepared(intervention, directions_md, units_m, (amounts_1m @ directions_md)[0])


def _amounts(
    intervention: Intervention, units_m: torch.Tensor, x_nd: torch.Tensor, places: Places | None, maps: list[np.ndarray]
) -> torch.Tensor:
    """strength × unit × map, (n, m)."""
    kind = intervention.kind
    if isinstance(kind, Scale | Ablate):
        return x_nd.new_zeros(len(x_nd), len(units_m))
    amounts_nm = x_nd.new_ones(len(x_nd), len(units_m)) * float(kind.strength)  # overflows to inf
    if kind.unit == "residual_norm":
        amounts_nm = amounts_nm * x_nd.norm(dim=-1, keepdim=True)
    elif kind.unit == "max_activation" and (kind.shape != "map" or intervention.direction is not None):
        amounts_nm = amounts_nm * units_m
    if kind.shape != "map":
        return amounts_nm
    assert places is not None
    maps_nm = np.stack([on_grid(table, places) for table in maps], axis=1)
    if kind.unit != "max_activation" or intervention.direction is not None:
        maps_nm = maps_nm / np.array([peak(grid) for grid in intervention.maps], dtype=np.float32)
    return amounts_nm * torch.from_numpy(maps_nm).to(amounts_nm)


def _unit_or_none(vector: tuple[float, ...] | None, device: torch.device) -> torch.Tensor | None:
    if vector is None:
        return None
    vector_d = torch.tensor(vector, dtype=torch.float32, device=device)
    return vector_d / vector_d.norm()
