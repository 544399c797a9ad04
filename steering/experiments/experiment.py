"""Running an experiment: studies × conditions × strengths × controls, resumable block by block."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xxhash

from activations.models.base import ReportModel
from radiology.study import Study
from sae.model import MatryoshkaSAE
from steering.errors import SteeringError
from steering.experiments.blocks import Progress, Writer, run_blocks, without_prior
from steering.experiments.controls import FeaturePool
from steering.experiments.design import Arm, Experiment, arms_of
from steering.experiments.effects import effects_of
from steering.experiments.reports import read_arms
from steering.experiments.side_effects import side_effects_table
from steering.experiments.verdicts import VerdictRules, verdicts_table
from steering.interventions.check import check_spec
from steering.reading import Reader, reader_for
from steering.schema import (
    EFFECTS_FILE,
    GENERATIONS_FILE,
    SIDE_EFFECTS_FILE,
    SPEC_FILE,
    VERDICTS_FILE,
    VERSION,
)
from steering.tables import read_json, write_json, write_table
from steering.tracing.place import NoCausalEffect, place_warnings


def run_experiment(
    model: ReportModel,
    sae: MatryoshkaSAE | None,
    experiment: Experiment,
    studies: Sequence[Study],
    folder: Path,
    *,
    firing_rates: np.ndarray | None = None,
    pool: FeaturePool | None = None,
    causal_map: pd.DataFrame | None = None,
    rules: VerdictRules | None = None,
    reader: Reader | None = None,
    batch: int = 16,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Run what of the experiment has not run yet, and write its tables.

    A block is one arm over all studies; a block in ``generations.parquet`` is complete, and a killed run loses at most
    the block in hand. ``effects``, ``side_effects`` and ``verdicts`` are computed anew from all generations.

    Args:
        folder: ``RUN/sae/NAME/steering/EXPERIMENT``.
        firing_rates: (F,) firing rate of every feature, for the control of equal firing rate.
        pool: features to draw random groups from, for the control of random groups.
        causal_map: of the same model; specs that point at a place without causal effect get a warning
            (:class:`steering.tracing.place.NoCausalEffect`), which ``spec.json`` keeps.
        rules: of the verdicts.
        reader: text → findings; by default :func:`steering.reading.reader_for` the model.
        batch: studies generated together.
        progress: called with (reports written, reports in all).

    Returns:
        The effects table (:data:`steering.schema.EFFECT_COLUMNS` and ``EFFECT_LATER``).

    Raises:
        SteeringError: a spec that does not fit (before anything runs), another experiment in the folder, or an arm that
            changed no token.
    """
    _check_studies(studies, batch)
    for spec in experiment.conditions.values():
        check_spec(spec, model, sae)
    arms = arms_of(experiment, experiment_width(experiment, model), sae, firing_rates, pool)
    bare = [without_prior(study) for study in studies] if experiment.without_prior else []
    inert = [] if causal_map is None else _inert(experiment, causal_map)
    _claim(folder, experiment, model, sae, studies, inert)
    reader = reader or reader_for(model)
    writer = Writer(model, sae, reader, batch, experiment.max_new_tokens, experiment.grounded)

    def studies_of(arm: Arm) -> Sequence[Study]:
        return bare if arm.prior == "removed" else studies

    table = run_blocks(arms, studies_of, writer, folder / GENERATIONS_FILE, progress)
    return write_results(table, experiment, folder, rules)


def write_results(
    generations: pd.DataFrame, experiment: Experiment, folder: Path, rules: VerdictRules | None = None
) -> pd.DataFrame:
    """Effects, side effects and verdicts of generations, written into the folder; gives the effects.

    Also for the folder of an older experiment, to judge it by other rules.
    """
    arms = read_arms(generations, experiment.key, experiment.goal)
    effects = effects_of(arms)
    write_table(effects, folder / EFFECTS_FILE)
    write_table(side_effects_table(arms), folder / SIDE_EFFECTS_FILE)
    write_table(verdicts_table(arms, rules), folder / VERDICTS_FILE)
    return effects


def _inert(experiment: Experiment, causal_map: pd.DataFrame) -> list[str]:
    """Warnings about conditions at a place without causal effect; each is also raised as a Python warning."""
    found = []
    for name, spec in experiment.conditions.items():
        found += [f"{name}: {text}" for text in place_warnings(spec, experiment.key, causal_map)]
    for text in found:
        warnings.warn(text, NoCausalEffect, stacklevel=3)
    return found


def experiment_width(experiment: Experiment, model: ReportModel) -> int:
    """Width of the sites; the conditions of one experiment share it, so that its random directions fit all."""
    widths = {model.width(site) for spec in experiment.conditions.values() for site in spec.by_site}
    if len(widths) != 1:
        raise SteeringError(f"conditions: their sites have the widths {sorted(widths)}; run one experiment a width")
    return widths.pop()


def _check_studies(studies: Sequence[Study], batch: int) -> None:
    ids = [study.study_id for study in studies]
    if not ids or len(set(ids)) != len(ids):
        raise SteeringError(f"studies: {len(ids)} given, {len(set(ids))} different; give each study once")
    if batch < 1:
        raise SteeringError(f"batch: {batch} must be at least 1")


def _claim(
    folder: Path,
    experiment: Experiment,
    model: ReportModel,
    sae: MatryoshkaSAE | None,
    studies: Sequence[Study],
    inert: Sequence[str],
) -> None:
    """Write ``spec.json``, or make sure that the one that is there says the same."""
    asked = {
        "version": VERSION,
        "model": {"name": model.name, "fingerprint": model.fingerprint},
        "sae": None if sae is None else sae_fingerprint(sae),
        "studies": [study.study_id for study in studies],
        "experiment": experiment.to_json(),
    }
    path = folder / SPEC_FILE
    if not path.is_file():
        write_json(asked | ({"warnings": list(inert)} if inert else {}), path)
        return
    found = read_json(path)
    differing = [key for key in asked if found.get(key) != json.loads(json.dumps(asked[key]))]
    if differing:
        raise SteeringError(
            f"{path}: another experiment lives here (its {', '.join(differing)} differ); choose another name, or "
            "delete the folder"
        )


def sae_fingerprint(sae: MatryoshkaSAE) -> str:
    """Hash of an autoencoder's weights."""
    digest = xxhash.xxh3_128()
    for name, value in sorted(sae.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
