"""What an experiment is: conditions × strengths × controls about one finding."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np

from sae.model import MatryoshkaSAE
from steering.errors import SteeringError
from steering.experiments.controls import Controls, FeaturePool, control_specs
from steering.interventions.kinds import Ablate, Add, Clamp, Floor, Scale, kind_name
from steering.interventions.spec import SteeringSpec
from steering.interventions.spec_json import spec_from_json, spec_to_json
from steering.schema import ControlKind

Goal = Literal["present", "absent"]
UNSTEERED = "unsteered"


@dataclass(frozen=True)
class Experiment:
    """Frozen description of an experiment; its JSON form is ``spec.json``.

    Args:
        name: folder name of the experiment.
        key: the finding that should change, as the reader names it (``cardiomegaly``, ``pleural_effusion:left``).
        goal: ``present`` to bring it into reports that lack it, ``absent`` to take it out of those that have it.
        conditions: name → what to do.
        strengths: factors on the strengths of the conditions; not 0, which is the unsteered baseline that always runs.
        controls: which controls; by default all but ``prompt_only``.
        max_new_tokens: limit of a report; ``None`` is the model's own.
        without_prior: run everything a second time on the same studies without their earlier picture and report; these
            conditions are called ``NAME (prior removed)``. For features about change over time.
        grounded: ask for grounded reports, and measure how boxes move.
    """

    name: str
    key: str
    conditions: Mapping[str, SteeringSpec]
    goal: Goal = "present"
    strengths: tuple[float, ...] = (1.0,)
    controls: Controls = field(default_factory=Controls)
    max_new_tokens: int | None = None
    without_prior: bool = False
    grounded: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "strengths", tuple(float(value) for value in self.strengths))
        if not self.name or not self.key:
            raise SteeringError("experiment: name and key must not be empty")
        if self.goal not in get_args(Goal):
            raise SteeringError(f"goal: {self.goal!r} is not one of {list(get_args(Goal))}")
        if not self.conditions or any(not name or name == UNSTEERED for name in self.conditions):
            raise SteeringError(
                f"conditions: {list(self.conditions)}; give at least one, none of them named {UNSTEERED!r}"
            )
        if not self.strengths or not all(math.isfinite(value) and value for value in self.strengths):
            raise SteeringError(
                f"strengths: {list(self.strengths)} must be finite and not 0 (0 is the unsteered baseline)"
            )
        if len(set(self.strengths)) != len(self.strengths):
            raise SteeringError(f"strengths: {list(self.strengths)} names one twice")
        for spec in self.conditions.values():
            for strength in self.strengths:
                at_strength(spec, strength)

    def to_json(self) -> dict[str, Any]:
        later = {"without_prior": self.without_prior, "grounded": self.grounded}
        return {
            "name": self.name,
            "key": self.key,
            "goal": self.goal,
            "strengths": list(self.strengths),
            "controls": self.controls.to_json(),
            "max_new_tokens": self.max_new_tokens,
            "conditions": {name: spec_to_json(spec) for name, spec in self.conditions.items()},
        } | {name: value for name, value in later.items() if value}  # as older files have it

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Experiment:
        """Read ``spec.json`` or a file that a person wrote.

        Raises:
            SteeringError: an unknown, missing or wrong field, by name.
        """
        if not isinstance(data, Mapping) or not isinstance(data.get("conditions"), Mapping):
            raise SteeringError("experiment: an object with name, key and conditions (name → spec) is needed")
        rest = {key: value for key, value in data.items() if key not in ("conditions", "controls")}
        conditions = {name: spec_from_json(spec) for name, spec in data["conditions"].items()}
        try:
            return Experiment(conditions=conditions, controls=Controls.from_json(data.get("controls", {})), **rest)
        except TypeError as error:
            raise SteeringError(f"experiment: {error}") from error


@dataclass(frozen=True)
class Arm:
    """One block of an experiment: every study once.

    ``spec`` is ``None`` where nothing is steered; ``prompt`` are words for the indication, for the control
    ``prompt_only``. ``prior`` ``removed``: the studies have lost their earlier picture and report.
    """

    condition: str
    control: ControlKind
    draw: int
    strength: float
    spec: SteeringSpec | None = None
    prompt: str | None = None
    prior: str = "kept"

    @property
    def label(self) -> tuple[str, str, int, float]:
        """What tells arms apart in the tables."""
        return self.condition, self.control, self.draw, self.strength


def arms_of(
    experiment: Experiment,
    width: int,
    sae: MatryoshkaSAE | None,
    firing_rates_f: np.ndarray | None = None,
    pool: FeaturePool | None = None,
) -> list[Arm]:
    """All arms in the order in which they run, the baseline first."""
    arms = [Arm(UNSTEERED, "unsteered", 0, 0.0)]
    if experiment.controls.prompt_only is not None:
        arms.append(Arm("prompt", "prompt_only", 0, 0.0, prompt=experiment.controls.prompt_only))
    for name, base in experiment.conditions.items():
        controls = control_specs(name, base, experiment.controls, width, sae, firing_rates_f, pool)
        for strength in experiment.strengths:
            arms.append(Arm(name, "none", 0, strength, at_strength(base, strength)))
            arms += [Arm(name, c.control, c.draw, strength, at_strength(c.spec, strength)) for c in controls]
    if experiment.without_prior:
        arms += [replace(arm, condition=f"{arm.condition} (prior removed)", prior="removed") for arm in arms]
    return arms


def at_strength(spec: SteeringSpec, factor: float) -> SteeringSpec:
    """The spec with every strength multiplied.

    Raises:
        SteeringError: ``ablate`` and ``scale`` have no strength to multiply and take the factor 1 only.
    """
    parts = []
    for intervention in spec.interventions:
        kind = intervention.kind
        if isinstance(kind, Scale | Ablate):
            if factor != 1:
                raise SteeringError(
                    f"strengths: {kind_name(kind)} has no strength to multiply by {factor:g}; use [1.0]"
                )
        elif isinstance(kind, Add | Clamp | Floor):
            kind = replace(kind, strength=kind.strength * factor)
        parts.append(replace(intervention, kind=kind))
    return replace(spec, interventions=tuple(parts))
