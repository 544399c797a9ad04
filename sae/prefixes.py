"""Which prefixes of the features a step reconstructs from, and how much each counts."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import dataclass


@dataclass(frozen=True)
class PrefixSchedule:
    """The prefix widths of each step.

    Fixed prefixes are the running sums of the groups. Random ones are drawn anew for every step, as many as there are
    groups, the last always all F features. Widths are drawn without replacement from 1 … F − 1 with probability
    √w − √(w − 1) over their sum: the truncated Pareto law of github.com/noanabeshima/matryoshka-saes. They depend on
    the seed and the step only, so a resumed run draws the same.
    """

    groups: tuple[int, ...]
    randomly: bool = False
    seed: int = 0

    def widths(self, step: int) -> tuple[int, ...]:
        """Rising prefix widths of a step, the last one F."""
        if not self.randomly:
            return tuple(itertools.accumulate(self.groups))
        total = sum(self.groups)
        generator = random.Random(f"prefixes {self.seed} {step}")
        drawn: set[int] = set()
        while len(drawn) < min(len(self.groups), total) - 1:
            # Inverse of the distribution function √w / √(F − 1).
            drawn.add(max(1, math.ceil(generator.random() ** 2 * (total - 1))))
        return (*sorted(drawn), total)


def prefix_weights(n_groups: int, prefix_loss: str, group_weights: tuple[float, ...] = ()) -> tuple[float, ...]:
    """ω_g of each prefix: the given weights (else 1 each), divided by their sum for "mean"."""
    weights = group_weights or (1.0,) * n_groups
    total = sum(weights) if prefix_loss == "mean" else 1.0
    return tuple(weight / total for weight in weights)
