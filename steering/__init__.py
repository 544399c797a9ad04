"""Steering: change what a feature does while a report is written, and prove what that did.

Names are loaded on first use, so that importing the package costs nothing. Causal tracing is imported from its module:
``from steering.tracing.trace import trace``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from steering.errors import SteeringError
    from steering.experiments.calibration import Calibration, calibrate, calibrate_strength
    from steering.experiments.controls import Controls, FeaturePool, in_random_direction
    from steering.experiments.damage import calibrate_damage
    from steering.experiments.design import Experiment, at_strength
    from steering.experiments.experiment import run_experiment
    from steering.experiments.recipes import feature_pool, firing_rates, map_experiment
    from steering.experiments.verdicts import VerdictRules
    from steering.interventions.apply import Applied, steer
    from steering.interventions.directions import (
        decoder_direction,
        difference_of_means,
        group_direction,
        random_direction,
    )
    from steering.interventions.grids import StudyGrids, maps_of_similar
    from steering.interventions.kinds import Ablate, Add, Clamp, Floor, Scale
    from steering.interventions.nnsight_way import steer_with_nnsight
    from steering.interventions.proof import Proof
    from steering.interventions.spec import Direction, Gate, Intervention, Schedule, SteeringSpec, Tokens
    from steering.interventions.spec_json import spec_from_json, spec_to_json
    from steering.interventions.targets import combine
    from steering.methods.fields import image_residuals
    from steering.reading import Reading
    from steering.tracing.pairs import phantom_pairs
    from steering.tracing.place import best_site
    from steering.tracing.trace import trace_to_parquet

_HOME = {
    "Ablate": "steering.interventions.kinds",
    "Add": "steering.interventions.kinds",
    "Applied": "steering.interventions.apply",
    "Calibration": "steering.experiments.calibration",
    "Clamp": "steering.interventions.kinds",
    "Controls": "steering.experiments.controls",
    "Direction": "steering.interventions.spec",
    "Experiment": "steering.experiments.design",
    "FeaturePool": "steering.experiments.controls",
    "Floor": "steering.interventions.kinds",
    "Gate": "steering.interventions.spec",
    "Intervention": "steering.interventions.spec",
    "Proof": "steering.interventions.proof",
    "Reading": "steering.reading",
    "VerdictRules": "steering.experiments.verdicts",
    "at_strength": "steering.experiments.design",
    "best_site": "steering.tracing.place",
    "feature_pool": "steering.experiments.recipes",
    "firing_rates": "steering.experiments.recipes",
    "map_experiment": "steering.experiments.recipes",
    "Scale": "steering.interventions.kinds",
    "Schedule": "steering.interventions.spec",
    "SteeringError": "steering.errors",
    "StudyGrids": "steering.interventions.grids",
    "SteeringSpec": "steering.interventions.spec",
    "Tokens": "steering.interventions.spec",
    "calibrate": "steering.experiments.calibration",
    "calibrate_damage": "steering.experiments.damage",
    "calibrate_strength": "steering.experiments.calibration",
    "combine": "steering.interventions.targets",
    "decoder_direction": "steering.interventions.directions",
    "difference_of_means": "steering.interventions.directions",
    "group_direction": "steering.interventions.directions",
    "image_residuals": "steering.methods.fields",
    "in_random_direction": "steering.experiments.controls",
    "maps_of_similar": "steering.interventions.grids",
    "phantom_pairs": "steering.tracing.pairs",
    "random_direction": "steering.interventions.directions",
    "run_experiment": "steering.experiments.experiment",
    "spec_from_json": "steering.interventions.spec_json",
    "spec_to_json": "steering.interventions.spec_json",
    "steer": "steering.interventions.apply",
    "steer_with_nnsight": "steering.interventions.nnsight_way",
    "trace_to_parquet": "steering.tracing.trace",
}

__all__ = [
    "Ablate",
    "Add",
    "Applied",
    "Calibration",
    "Clamp",
    "Controls",
    "Direction",
    "Experiment",
    "FeaturePool",
    "Floor",
    "Gate",
    "Intervention",
    "Proof",
    "Reading",
    "Scale",
    "Schedule",
    "SteeringError",
    "SteeringSpec",
    "StudyGrids",
    "Tokens",
    "VerdictRules",
    "at_strength",
    "best_site",
    "calibrate",
    "calibrate_damage",
    "calibrate_strength",
    "combine",
    "decoder_direction",
    "difference_of_means",
    "feature_pool",
    "firing_rates",
    "group_direction",
    "image_residuals",
    "in_random_direction",
    "map_experiment",
    "maps_of_similar",
    "phantom_pairs",
    "random_direction",
    "run_experiment",
    "spec_from_json",
    "spec_to_json",
    "steer",
    "steer_with_nnsight",
    "trace_to_parquet",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'steering' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
