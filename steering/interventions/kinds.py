"""Kinds of intervention.

Every kind of intervention is a change of a feature's activation, counted in activation units and added to the residual
along the feature's unit decoder row. With the activation f of the feature at a token, and the amount a (see
:class:`Add`), the change is

=========  =====================  ==========================================
``add``    a                      push, whatever is there
``clamp``  a − f                  the feature's part becomes a, the rest stays
``ablate`` −f                     clamp to zero
``scale``  (factor − 1) · f       nothing where the feature is silent
``floor``  max(a − f, 0)          raise to a where it is below
=========  =====================  ==========================================

so that the error term of the SAE is never touched and a change of zero is no change at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from steering.errors import SteeringError

Unit = Literal["max_activation", "residual_norm", "activation"]
Shape = Literal["uniform", "map", "mask"]


@dataclass(frozen=True)
class Amount:
    """An amount of activation: strength × unit × shape.

    Args:
        strength: α; may be negative.
        unit: ``max_activation`` (of the feature; for a direction, its length), ``residual_norm`` (L2 norm of the
            token's own residual) or ``activation`` (the SAE's own units).
        shape: ``uniform``; ``map``: patch by patch in proportion to the feature's own mean activation map, so that with
            ``max_activation`` the amount is α × the map itself and with the other units α is the value at the map's
            peak; ``mask``: the change is multiplied by a given mask.
    """

    strength: float
    unit: Unit = "max_activation"
    shape: Shape = "uniform"

    def __post_init__(self) -> None:
        name = type(self).__name__
        check_finite(f"{name}.strength", self.strength)
        check_one_of(f"{name}.unit", self.unit, get_args(Unit))
        check_one_of(f"{name}.shape", self.shape, get_args(Shape))


@dataclass(frozen=True)
class Add(Amount):
    """Push along the direction by the amount."""


@dataclass(frozen=True)
class Clamp(Amount):
    """Set the feature's activation to the amount; the rest of the residual stays."""


@dataclass(frozen=True)
class Floor(Amount):
    """Raise the feature's activation to the amount where it is below."""


@dataclass(frozen=True)
class Scale:
    """Multiply the feature's activation by ``factor``."""

    factor: float

    def __post_init__(self) -> None:
        check_finite("Scale.factor", self.factor)


@dataclass(frozen=True)
class Ablate:
    """Set the feature's activation to zero."""


Kind = Add | Clamp | Floor | Scale | Ablate


def kind_name(kind: Kind) -> str:
    return type(kind).__name__.lower()


def asks_for_change(kind: Kind) -> bool:
    if isinstance(kind, Add):
        return kind.strength != 0
    return not (isinstance(kind, Scale) and kind.factor == 1)


def check_finite(field: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not math.isfinite(value):
        raise SteeringError(f"{field}: {value!r} is not a finite number")


def check_one_of(field: str, value: Any, allowed: Iterable[Any]) -> None:
    if value not in tuple(allowed):
        raise SteeringError(f"{field}: {value!r} is not one of {list(allowed)}")
