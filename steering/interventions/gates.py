"""Gates: a change happens only at tokens at which a gate is open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from steering.errors import SteeringError
from steering.interventions.kinds import check_finite
from steering.interventions.patterns import check_pattern, check_topic

#: As a gate's feature: each steered feature opens the gate for its own change.
OWN = "own"


@dataclass(frozen=True)
class Gate:
    """Open at tokens for which all that is given holds; with ``negate``, at all others.

    Args:
        feature: number of a feature that has to be more active than ``above`` there; ``own``: the steered feature
            itself, in a group each for itself.
        above: in the SAE's units.
        topic: a finding (``concept`` or ``concept:side`` of :mod:`radiology.vocabulary`): the sentence up to the token
            names it, as present, absent or anything else.
        pattern: a regular expression that is found in the sentence up to the token.

    What is read of the text ends with the token itself, so that a gate says the same while a report is written and when
    it is teacher-forced. Gates that read text are closed at image tokens.
    """

    feature: int | Literal["own"] | None = None
    above: float = 0.0
    topic: str | None = None
    pattern: str | None = None
    negate: bool = False

    def __post_init__(self) -> None:
        check_finite("gate.above", self.above)
        if self.feature is None and self.topic is None and self.pattern is None:
            raise SteeringError("gate: give at least one of feature, topic and pattern")
        if self.feature is not None and self.feature != OWN:
            if isinstance(self.feature, (bool, str)) or not isinstance(self.feature, (int, np.integer)):
                raise SteeringError(f"gate.feature: {self.feature!r} is neither a feature number nor {OWN!r}")
            object.__setattr__(self, "feature", int(self.feature))
        if not isinstance(self.negate, bool):
            raise SteeringError(f"gate.negate: {self.negate!r} is neither true nor false")
        if self.topic is not None:
            check_topic("gate.topic", self.topic)
        if self.pattern is not None:
            check_pattern("gate.pattern", self.pattern)

    @property
    def reads_text(self) -> bool:
        return self.topic is not None or self.pattern is not None

    def to_json(self) -> dict[str, Any]:
        feature = {} if self.feature is None else {"feature": self.feature, "above": self.above}
        text = {name: value for name in ("topic", "pattern") if (value := getattr(self, name)) is not None}
        return feature | text | ({"negate": True} if self.negate else {})
