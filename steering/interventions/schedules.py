"""Schedules: how strongly a change acts on the first, second, … token of the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from steering.errors import SteeringError
from steering.interventions.patterns import check_topic


@dataclass(frozen=True)
class Schedule:
    """Weights of the change over the tokens of the report; the report's first token is number 0.

    Tokens of the prompt are not scheduled. The parts multiply: ``Schedule(stop=20, decay=20, every=2)`` acts on every
    second of the first 20 tokens, ever weaker.

    Args:
        start: first token that is steered.
        stop: first token that is not steered any more; ``None``: to the end.
        every: only every n-th token, counted from ``start``.
        decay: the weight falls in a line from 1 at ``start`` to 0 at ``start + decay``.
        until: a finding (``concept`` or ``concept:side``); nothing is changed any more once the report up to the token
            has named it.
    """

    start: int = 0
    stop: int | None = None
    every: int = 1
    decay: int | None = None
    until: str | None = None

    def __post_init__(self) -> None:
        for name, least in (("start", 0), ("stop", 1), ("every", 1), ("decay", 1)):
            value = getattr(self, name)
            if value is None and name in ("stop", "decay"):
                continue
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
                raise SteeringError(f"schedule.{name}: {value!r}; a whole number of at least {least} is needed")
            object.__setattr__(self, name, int(value))
        if self.stop is not None and self.stop <= self.start:
            raise SteeringError(f"schedule.stop: {self.stop} must be more than start ({self.start})")
        if self.until is not None:
            check_topic("schedule.until", self.until)
        if not self.to_json():
            raise SteeringError("schedule: nothing given; set start, stop, every, decay or until, or leave it out")

    def weights(self, index: np.ndarray) -> np.ndarray:
        """Weight in [0, 1] of report tokens by their number, float32; ``until`` is not looked at."""
        since = index - self.start
        on = (since >= 0) & (since % self.every == 0)
        if self.stop is not None:
            on &= index < self.stop
        weights = on.astype(np.float32)
        if self.decay is not None:
            weights *= np.clip(1 - since / np.float32(self.decay), 0, 1).astype(np.float32)
        return weights

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if value != getattr(Schedule, name)}
