"""When a training has gone wrong beyond repair, and what did it.

The measure is the first step: its loss and the norm of its gradient are those of weights that know nothing yet. What
is ten thousand times as large has exploded, whatever the units.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from sae.errors import SAEError

#: Times the first step's loss or gradient norm.
EXPLODED = 1e4
#: Root mean square norm of the encoder rows, which start at 1.
LARGEST_ROWS = 1e3
#: Rows farther from the centre than so many medians are outliers.
OUTLIER = 50


class Watch:
    """Loss and gradient norm of the first step, and the limits that follow from them."""

    def __init__(self) -> None:
        self.first_loss: float | None = None
        self.first_norm: float | None = None

    def verdict(self, loss: float, norm: float) -> str | None:
        """What is wrong with a step of this loss and gradient norm, as the begin of a sentence; None if nothing."""
        for name, value in (("loss", loss), ("norm of the gradient", norm)):
            if not math.isfinite(value):
                return f"the {name} became {value}"
        if self.first_loss is None or self.first_norm is None:
            self.first_loss, self.first_norm = loss, norm
        for name, value, first in (
            ("loss", loss, self.first_loss),
            ("norm of the gradient", norm, self.first_norm),
        ):
            if value > EXPLODED * first > 0:
                return f"the {name} became {value:.3g}, {value / first:.3g} times that of the first step"
        return None

    def numbers(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"first_loss": self.first_loss, "first_gradient_norm": self.first_norm}

    def restore(self, numbers: Mapping[str, Any]) -> None:
        """From a checkpoint; one that says nothing is of an older version, and the next step is the measure."""
        self.first_loss = numbers.get("first_loss")
        self.first_norm = numbers.get("first_gradient_norm")


def cause(verdict: str, step: int, x_nd: torch.Tensor, centre_d: torch.Tensor, rate: float) -> SAEError:
    """The error of a step that went wrong: the rows of its batch if they are to blame, else the learning rate.

    Args:
        x_nd: the batch.
        centre_d: b_dec in the same units.
        rate: peak learning rate.
    """
    bad = int((~torch.isfinite(x_nd)).any(dim=1).sum())
    if bad:
        return SAEError(
            f"step {step}: {bad} of {len(x_nd)} rows of the batch hold NaN or infinity; filter them out. "
            f"Nothing was learned from this batch ({verdict})"
        )
    far = int(outliers(x_nd, centre_d).sum())
    if far:
        return SAEError(
            f"step {step}: {verdict}; {far} of {len(x_nd)} rows of the batch lie more than {OUTLIER} times the median "
            "distance from the centre (attention sinks?): leave them out of the activations"
        )
    return SAEError(
        f"step {step}: {verdict} on finite data without outliers: training diverged. "
        f"Lower learning_rate (now {rate:.2g}) and start again"
    )


def outliers(x_nd: torch.Tensor, centre_d: torch.Tensor) -> torch.Tensor:
    """(n,) bool: rows more than OUTLIER times the median distance from the centre."""
    distance_n = (x_nd - centre_d).norm(dim=1)
    typical = float(distance_n.median()) or float(distance_n.square().mean().sqrt())
    return distance_n > OUTLIER * typical


def refuse_exploded(step: int, squares: Mapping[str, float], n_features: int, rate: float) -> None:
    """SAEError if a weight is not finite or the encoder has grown out of all measure.

    Args:
        squares: sum of the squares of each learned tensor, in training units.
        n_features: rows of W_enc.
        rate: peak learning rate.
    """
    advice = f"training diverged. Lower learning_rate (now {rate:.2g}) and start again"
    for name, square in squares.items():
        if not math.isfinite(square):
            raise SAEError(f"step {step}: {name} holds NaN, infinity or numbers near it: {advice}")
    size = (squares["W_enc"] / n_features) ** 0.5
    if size > LARGEST_ROWS:
        raise SAEError(f"step {step}: the rows of W_enc have a norm of {size:.3g}, and began with 1: {advice}")
