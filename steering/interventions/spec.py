"""What to steer: frozen, validated records that are saved beside the results.

The kinds of intervention, and their formulas, are in :mod:`steering.interventions.kinds`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from steering.errors import SteeringError
from steering.interventions.kinds import Add, Amount, Kind, asks_for_change, check_finite, check_one_of, kind_name

Grid = tuple[tuple[float, ...], ...]

SCOPES: tuple[str, ...] = ("prompt.image", "prompt.text", "generated")


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
        maps: one (rows, columns) map a feature (or one for the direction); needed for the shape ``map``.
        mask: (rows, columns) weights in [0, 1]; needed for the shape ``mask``.
    """

    kind: Kind
    features: tuple[int, ...] = ()
    direction: Direction | None = None
    max_activations: tuple[float, ...] = ()
    maps: tuple[Grid, ...] = ()
    mask: Grid | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", tuple(int(feature) for feature in self.features))
        object.__setattr__(self, "max_activations", tuple(float(value) for value in self.max_activations))
        object.__setattr__(self, "maps", tuple(as_grid(grid, "interventions.maps") for grid in self.maps))
        if self.mask is not None:
            object.__setattr__(self, "mask", as_grid(self.mask, "interventions.mask", top=1.0))
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
    def grids(self) -> tuple[tuple[str, Grid], ...]:
        """Every map and mask with the name of its field."""
        masks = () if self.mask is None else (("interventions.mask", self.mask),)
        return tuple(("interventions.maps", grid) for grid in self.maps) + masks

    @property
    def shaped(self) -> bool:
        return isinstance(self.kind, Amount) and self.kind.shape != "uniform"


@dataclass(frozen=True)
class Tokens:
    """Which tokens are steered.

    ``prompt.image``: patches; ``prompt.text``: template and sections of the prompt, without special tokens (the first
    token is an attention sink); ``generated``: the report as it is written (or as it is teacher-forced). The residual
    that chooses the first word of the report belongs to the last token of the prompt, that is to ``prompt.text``.

    Args:
        scopes: one or more of :data:`SCOPES`, or ``all``.
        image: only patches of this image (``frontal``, ``lateral``, ``prior_frontal``).
        box: only patches whose centre lies in this box, x0 y0 x1 y1 as fractions of the image.
        mask: only patches where this (rows, columns) mask is not zero.
    """

    scopes: tuple[str, ...] = ("prompt.image",)
    image: str | None = None
    box: tuple[float, float, float, float] | None = None
    mask: Grid | None = None

    def __post_init__(self) -> None:
        given = (self.scopes,) if isinstance(self.scopes, str) else tuple(self.scopes)
        scopes = SCOPES if given == ("all",) else given
        for scope in scopes:
            check_one_of("tokens.scopes", scope, (*SCOPES, "all"))
        if not scopes or "all" in scopes:
            raise SteeringError(f"tokens.scopes: {list(given)}; give 'all' alone or some of {list(SCOPES)}")
        object.__setattr__(self, "scopes", tuple(scope for scope in SCOPES if scope in scopes))
        if self.mask is not None:
            object.__setattr__(self, "mask", as_grid(self.mask, "tokens.mask"))
        if self.box is not None:
            object.__setattr__(self, "box", _checked_box(self.box))
        if (self.image or self.box or self.mask) and "prompt.image" not in self.scopes:
            raise SteeringError("tokens: image, box and mask choose among patches; add the scope prompt.image")


@dataclass(frozen=True)
class Gate:
    """Only tokens at which ``feature`` is more active than ``above`` (the SAE's units)."""

    feature: int
    above: float = 0.0

    def __post_init__(self) -> None:
        check_finite("gate.above", self.above)


@dataclass(frozen=True)
class Redirect:
    """A control: the same push, token by token of equal length, in another direction.

    ``vector`` ``None`` means backwards, that is the wrong sign.
    """

    name: str
    vector: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.vector is not None:
            object.__setattr__(self, "vector", Direction(self.name, self.vector).vector)


@dataclass(frozen=True)
class SteeringSpec:
    """Interventions at one site, on the same tokens."""

    site: str
    interventions: tuple[Intervention, ...]
    tokens: Tokens = Tokens()
    gate: Gate | None = None
    redirect: Redirect | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "interventions", tuple(self.interventions))
        if not self.site:
            raise SteeringError("site: missing; name the site that the SAE was trained on")
        if not self.interventions:
            raise SteeringError("interventions: none given")
        shaped = any(intervention.shaped for intervention in self.interventions)
        if shaped and (self.tokens.scopes != ("prompt.image",) or self.tokens.image is None):
            raise SteeringError(
                "tokens: a map or a mask lies on one image; use scopes=('prompt.image',) and name the image"
            )

    @property
    def effective(self) -> bool:
        """Whether anything is asked to change."""
        return any(asks_for_change(intervention.kind) for intervention in self.interventions)

    @property
    def unconditional(self) -> bool:
        """Whether every token in scope must change, whatever its residual holds."""
        adds = [i.kind for i in self.interventions if isinstance(i.kind, Add) and i.kind.strength != 0]
        return bool(adds) and len(adds) == len(self.interventions) and self.gate is None


def as_grid(values: Any, field: str, top: float | None = None) -> Grid:
    """(rows, columns) numbers as nested tuples; finite, not negative, at most ``top``, not all zero."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise SteeringError(f"{field}: not a (rows, columns) table of numbers") from error
    if array.ndim != 2 or not array.size:
        raise SteeringError(f"{field}: shape {array.shape}; (rows, columns) of the patch grid is needed")
    if not np.isfinite(array).all() or (array < 0).any() or not array.any() or (top is not None and array.max() > top):
        limit = "" if top is None else f", at most {top:g}"
        raise SteeringError(f"{field}: values must be finite, not negative{limit}, and not all zero")
    return tuple(tuple(row) for row in array.tolist())


def _checked_box(box: Sequence[float]) -> tuple[float, float, float, float]:
    values = tuple(float(value) for value in box)
    if (
        len(values) != 4
        or not all(0 <= value <= 1 for value in values)
        or values[0] >= values[2]
        or values[1] >= values[3]
    ):
        raise SteeringError(f"tokens.box: {box!r}; needs x0 y0 x1 y1 with 0 ≤ x0 < x1 ≤ 1 and 0 ≤ y0 < y1 ≤ 1")
    return values[0], values[1], values[2], values[3]
