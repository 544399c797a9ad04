"""What to steer: frozen, validated records that are saved beside the results.

The kinds of intervention, and their formulas, are in :mod:`steering.interventions.kinds`; tokens, gates, schedules and
grids have modules of their own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from activations.hooks import canonical_site, is_image_site
from steering.errors import SteeringError
from steering.interventions.gates import Gate
from steering.interventions.grids import Grid, Grids, StudyGrids, as_grid, as_grids
from steering.interventions.kinds import Add, Amount, Kind, asks_for_change, kind_name
from steering.interventions.schedules import Schedule
from steering.interventions.tokens import SCOPES, Tokens

__all__ = [
    "SCOPES",
    "Direction",
    "Gate",
    "Grid",
    "Grids",
    "Intervention",
    "Redirect",
    "Schedule",
    "SteeringSpec",
    "StudyGrids",
    "Tokens",
    "as_grid",
]


@dataclass(frozen=True)
class Direction:
    """An explicit direction (d,), for :class:`Add` only. Its length is its unit: α = 1 adds the vector itself."""

    name: str
    vector: tuple[float, ...]

    def __post_init__(self) -> None:
        values = np.asarray(self.vector, dtype=np.float64).reshape(-1)
        if not np.isfinite(values).all() or not values.any():
            raise SteeringError(f"direction {self.name!r}: the vector must be finite and not zero")
        object.__setattr__(self, "vector", tuple(values.tolist()))


@dataclass(frozen=True)
class Intervention:
    """One kind of change applied to a feature, a group of features at once, or a direction.

    Args:
        kind: what to do.
        features: feature numbers of the SAE; several are changed together, each from the unsteered activation.
        direction: instead of features.
        max_activations: one value a feature; needed for the unit ``max_activation``.
        maps: one (rows, columns) map a feature (or one for the direction); needed for the shape ``map``. A mapping from
            study id to map gives each study its own.
        mask: (rows, columns) weights in [0, 1], or a mapping from study id to them; needed for the shape ``mask``.
        site, tokens, gate, schedule: its own; what is ``None`` is taken from the spec.
    """

    kind: Kind
    features: tuple[int, ...] = ()
    direction: Direction | None = None
    max_activations: tuple[float, ...] = ()
    maps: tuple[Grids, ...] = ()
    mask: Grids | None = None
    site: str | None = None
    tokens: Tokens | None = None
    gate: Gate | None = None
    schedule: Schedule | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", tuple(_feature(feature) for feature in self.features))
        object.__setattr__(self, "max_activations", tuple(float(value) for value in self.max_activations))
        object.__setattr__(self, "maps", tuple(as_grids(grid, "interventions.maps") for grid in self.maps))
        if self.mask is not None:
            object.__setattr__(self, "mask", as_grids(self.mask, "interventions.mask", top=1.0))
        self._check_target()
        self._check_amount()

    def _check_target(self) -> None:
        if bool(self.features) == (self.direction is not None):
            raise SteeringError("interventions: give either features or a direction, not both and not neither")
        if len(set(self.features)) != len(self.features):
            raise SteeringError(f"interventions.features: {list(self.features)} names a feature twice")
        if any(feature < 0 for feature in self.features):
            raise SteeringError(f"interventions.features: {list(self.features)} holds a negative number")
        if self.direction is not None and not isinstance(self.kind, Add):
            raise SteeringError(
                f"interventions.kind: {kind_name(self.kind)} needs the activation of a feature, and direction "
                f"{self.direction.name!r} has none; use Add"
            )

    def _check_amount(self) -> None:
        if not isinstance(self.kind, Amount):
            return
        needed = len(self.features) or 1
        if self.features and self.kind.unit == "max_activation" and self.kind.shape != "map":
            if len(self.max_activations) != needed:
                raise SteeringError(
                    f"interventions.max_activations: {len(self.max_activations)} values for {needed} features; the "
                    "unit max_activation needs one each (see the feature table), or use another unit"
                )
            if not all(math.isfinite(value) and value > 0 for value in self.max_activations):
                raise SteeringError(
                    f"interventions.max_activations: {self.max_activations} must be finite and positive"
                )
        if self.kind.shape == "map" and len(self.maps) != needed:
            raise SteeringError(
                f"interventions.maps: {len(self.maps)} maps for {needed} targets; shape map needs one each"
            )
        if self.kind.shape == "mask" and self.mask is None:
            raise SteeringError("interventions.mask: shape mask needs a mask")

    @property
    def grids(self) -> tuple[tuple[str, Grids], ...]:
        """Every map and mask with the name of its field."""
        masks = () if self.mask is None else (("interventions.mask", self.mask),)
        return tuple(("interventions.maps", grid) for grid in self.maps) + masks

    @property
    def shaped(self) -> bool:
        return isinstance(self.kind, Amount) and self.kind.shape != "uniform"


@dataclass(frozen=True)
class Redirect:
    """A control: the same push, token by token of equal length, in another direction.

    ``vector`` ``None`` means backwards, that is the wrong sign. ``vectors`` (site → vector) gives each site its own, as
    sites of different width need.
    """

    name: str
    vector: tuple[float, ...] | None = None
    vectors: tuple[tuple[str, tuple[float, ...]], ...] = ()

    def __post_init__(self) -> None:
        if self.vector is not None:
            object.__setattr__(self, "vector", Direction(self.name, self.vector).vector)
        pairs = self.vectors.items() if isinstance(self.vectors, Mapping) else self.vectors
        checked = tuple((canonical_site(site), Direction(self.name, vector).vector) for site, vector in pairs)
        object.__setattr__(self, "vectors", checked)
        if self.vector is not None and checked:
            raise SteeringError("redirect: give either vector or vectors (site → vector), not both")

    def at(self, site: str) -> tuple[float, ...] | None:
        """The direction at a site; ``None``: backwards.

        Raises:
            SteeringError: ``vectors`` has none for the site.
        """
        if not self.vectors:
            return self.vector
        known = dict(self.vectors)
        if site not in known:
            raise SteeringError(f"redirect.vectors: none for site {site}; there are {sorted(known)}")
        return known[site]


@dataclass(frozen=True)
class SteeringSpec:
    """Interventions, and what they share: site, tokens, gate and schedule of those that have none of their own.

    Interventions at one site are all computed from the same unsteered residual and added up. A later site sees what the
    earlier ones have done.
    """

    site: str
    interventions: tuple[Intervention, ...]
    tokens: Tokens = Tokens()
    gate: Gate | None = None
    redirect: Redirect | None = None
    schedule: Schedule | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "interventions", tuple(self.interventions))
        if not self.interventions:
            raise SteeringError("interventions: none given")
        if not self.site:
            own = [part.site for part in self.interventions]
            if None in own:
                raise SteeringError(
                    "site: missing; name the site that the SAE was trained on, or give each intervention its own"
                )
            object.__setattr__(self, "site", own[0])
        for number, part in enumerate(self.resolved):
            given = self.interventions[number]
            names = ("tokens", "gate", "schedule")
            paths = {
                name: name if getattr(given, name) is None else f"interventions[{number}].{name}" for name in names
            }
            _check_place(part, paths)

    @property
    def resolved(self) -> tuple[Intervention, ...]:
        """The interventions with everything that they take from the spec filled in, canonical names of sites."""
        return tuple(
            replace(
                part,
                site=canonical_site(part.site or self.site),
                tokens=part.tokens or self.tokens,
                gate=part.gate or self.gate,
                schedule=part.schedule or self.schedule,
            )
            for part in self.interventions
        )

    @property
    def by_site(self) -> dict[str, tuple[Intervention, ...]]:
        """Site → its resolved interventions, in the order in which the model computes the sites."""
        parts = self.resolved
        sites = sorted({str(part.site) for part in parts}, key=_order)
        return {site: tuple(part for part in parts if part.site == site) for site in sites}

    @property
    def effective(self) -> bool:
        """Whether anything is asked to change."""
        return any(asks_for_change(intervention.kind) for intervention in self.interventions)

    @property
    def unconditional(self) -> bool:
        """Whether every token in scope must change, whatever its residual holds and whatever is written."""
        return unconditional(self.resolved)


#: What an intervention may have of its own or take from the spec, besides the site.
_SHARED = ("tokens", "gate", "schedule")


def unconditional(parts: tuple[Intervention, ...]) -> bool:
    """Whether resolved interventions must change every token in scope."""
    adds = [part for part in parts if isinstance(part.kind, Add) and part.kind.strength != 0]
    return bool(adds) and len(adds) == len(parts) and not any(part.gate or conditional(part) for part in parts)


def conditional(part: Intervention) -> bool:
    """Whether a batch may hold no token for a resolved intervention although it has its scopes."""
    assert part.tokens is not None
    per_study = any(isinstance(grid, StudyGrids) for _, grid in part.grids) or isinstance(part.tokens.mask, StudyGrids)
    reads_text = part.tokens.reads_text or (part.gate is not None and part.gate.reads_text)
    return per_study or reads_text or part.schedule is not None


def _check_place(part: Intervention, paths: Mapping[str, str]) -> None:
    """Refuse resolved interventions whose tokens do not go with their shape, gate, schedule or site.

    ``paths`` says for each of these fields where it was written: in the intervention or in the spec.
    """
    tokens = part.tokens
    assert tokens is not None
    if part.shaped and (tokens.scopes != ("prompt.image",) or tokens.image is None):
        raise SteeringError(
            f"{paths['tokens']}: a map or a mask lies on one image; use scopes=('prompt.image',) and name the image"
        )
    if part.gate is not None:
        if part.gate.feature == "own" and not part.features:
            raise SteeringError(f"{paths['gate']}.feature: a direction has no activation of its own; name a feature")
        if part.gate.reads_text and not part.gate.negate and tokens.scopes == ("prompt.image",):
            raise SteeringError(
                f"{paths['gate']}: topic and pattern read text, and images have none; add the scope prompt.text or "
                "generated"
            )
    if part.schedule is not None and "generated" not in tokens.scopes:
        raise SteeringError(f"{paths['schedule']}: it counts tokens of the report; add the scope generated to tokens")
    if is_image_site(str(part.site)) and "prompt.image" not in tokens.scopes:
        raise SteeringError(
            f"{paths['tokens']}.scopes: {part.site} holds patches only; use prompt.image, or a site language.L"
        )


def _order(site: str) -> tuple[int, int, str]:
    tower, _, number = site.partition(".")
    towers = ("vision", "projector", "language")
    place = towers.index(tower) if tower in towers else len(towers)
    return place, int(number) if number.isdigit() else -1, site


def _feature(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise SteeringError(f"interventions.features: {value!r} is not a feature number")
    return int(value)
