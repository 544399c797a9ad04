"""Steering: change what a feature does while a report is written, and prove what that did.

Names are loaded on first use, so that importing the package costs nothing. Causal tracing is imported from its module:
``from steering.trace import trace``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from steering.apply import Applied, steer
    from steering.controls import Controls
    from steering.design import Experiment
    from steering.directions import decoder_direction, difference_of_means, group_direction, random_direction
    from steering.errors import SteeringError
    from steering.experiment import run_experiment
    from steering.kinds import Ablate, Add, Clamp, Floor, Scale
    from steering.pairs import phantom_pairs
    from steering.proof import Proof
    from steering.reading import Reading
    from steering.recipes import firing_rates, map_experiment
    from steering.spec import Direction, Gate, Intervention, SteeringSpec, Tokens
    from steering.spec_json import spec_from_json, spec_to_json
    from steering.trace import trace_to_parquet

_HOME = {
    "Ablate": "steering.kinds",
    "Add": "steering.kinds",
    "Applied": "steering.apply",
    "Clamp": "steering.kinds",
    "Controls": "steering.controls",
    "Direction": "steering.spec",
    "Experiment": "steering.design",
    "Floor": "steering.kinds",
    "Gate": "steering.spec",
    "Intervention": "steering.spec",
    "Proof": "steering.proof",
    "Reading": "steering.reading",
    "firing_rates": "steering.recipes",
    "map_experiment": "steering.recipes",
    "Scale": "steering.kinds",
    "SteeringError": "steering.errors",
    "SteeringSpec": "steering.spec",
    "Tokens": "steering.spec",
    "decoder_direction": "steering.directions",
    "difference_of_means": "steering.directions",
    "group_direction": "steering.directions",
    "phantom_pairs": "steering.pairs",
    "random_direction": "steering.directions",
    "run_experiment": "steering.experiment",
    "spec_from_json": "steering.spec_json",
    "spec_to_json": "steering.spec_json",
    "steer": "steering.apply",
    "trace_to_parquet": "steering.trace",
}

__all__ = [
    "Ablate",
    "Add",
    "Applied",
    "Clamp",
    "Controls",
    "Direction",
    "Experiment",
    "Floor",
    "Gate",
    "Intervention",
    "Proof",
    "Reading",
    "Scale",
    "SteeringError",
    "SteeringSpec",
    "Tokens",
    "decoder_direction",
    "difference_of_means",
    "firing_rates",
    "group_direction",
    "map_experiment",
    "phantom_pairs",
    "random_direction",
    "run_experiment",
    "spec_from_json",
    "spec_to_json",
    "steer",
    "trace_to_parquet",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'steering' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
