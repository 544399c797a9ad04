"""Running an experiment: studies × conditions × strengths × controls, resumable block by block."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xxhash

from activations.hooks import canonical_site
from activations.models.base import Generation, ReportModel
from radiology.study import Study
from sae.model import MatryoshkaSAE
from steering.errors import SteeringError
from steering.experiments.design import Arm, Experiment, arms_of
from steering.experiments.effects import effects_table
from steering.interventions.apply import steer
from steering.interventions.check import check_spec
from steering.interventions.proof import Proof
from steering.reading import Reader, reader_for
from steering.schema import EFFECTS_FILE, GENERATION_COLUMNS, GENERATIONS_FILE, SPEC_FILE, VERSION
from steering.tables import read_json, read_table, table_of, write_json, write_table

Progress = Callable[[int, int], None]


def run_experiment(
    model: ReportModel,
    sae: MatryoshkaSAE | None,
    experiment: Experiment,
    studies: Sequence[Study],
    folder: Path,
    *,
    firing_rates: np.ndarray | None = None,
    reader: Reader | None = None,
    batch: int = 16,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Run what of the experiment has not run yet, and write ``spec.json``, ``generations`` and ``effects``.

    A block is one arm over all studies; a block in ``generations.parquet`` is complete, and a killed run loses at most
    the block in hand.

    Args:
        folder: ``RUN/sae/NAME/steering/EXPERIMENT``.
        firing_rates: (F,) firing rate of every feature, for the control of equal firing rate.
        reader: text → findings; by default :func:`steering.reading.reader_for` the model.
        batch: studies generated together.
        progress: called with (reports written, reports in all).

    Returns:
        The effects table (:data:`steering.schema.EFFECT_COLUMNS`).

    Raises:
        SteeringError: a spec that does not fit (before anything runs), another experiment in the folder, or an arm that
            changed no token.
    """
    _check_studies(studies, batch)
    for spec in experiment.conditions.values():
        check_spec(spec, model, sae)
    arms = arms_of(experiment, _width(experiment, model), sae, firing_rates)
    _claim(folder, experiment, model, sae, studies)
    reader = reader or reader_for(model)
    path = folder / GENERATIONS_FILE
    table = read_table(path, GENERATION_COLUMNS) if path.is_file() else table_of([], GENERATION_COLUMNS)
    done = set(table[["condition", "control", "draw", "strength"]].itertuples(index=False, name=None))
    written, total = len(table), len(arms) * len(studies)
    for arm in arms:
        if arm.label in done:
            continue
        rows = _run_arm(arm, model, sae, experiment, studies, reader, batch, _shifted(progress, written, total))
        table = pd.concat([table, table_of(rows, GENERATION_COLUMNS)], ignore_index=True)
        write_table(table, path)
        written += len(studies)
    effects = effects_table(table, experiment)
    write_table(effects, folder / EFFECTS_FILE)
    return effects


def _run_arm(
    arm: Arm,
    model: ReportModel,
    sae: MatryoshkaSAE | None,
    experiment: Experiment,
    studies: Sequence[Study],
    reader: Reader,
    batch: int,
    progress: Progress | None,
) -> list[dict[str, Any]]:
    asked = [_prompted(study, arm.prompt) for study in studies] if arm.prompt else list(studies)
    pairs: list[tuple[Generation, Proof | None]] = []

    def write(start: int) -> list[Generation]:
        inputs = model.encode_batch(asked[start : start + batch])
        return model.generate(inputs, max_new_tokens=experiment.max_new_tokens)

    def advance() -> None:
        if progress is not None:
            progress(len(pairs), len(studies))

    if arm.spec is None:
        for start in range(0, len(asked), batch):
            pairs += [(generation, None) for generation in write(start)]
            advance()
    else:
        with steer(model, sae, arm.spec) as applied:
            for start in range(0, len(asked), batch):
                generations = write(start)
                proofs = [proof for _, proof in applied.last]
                pairs += list(zip(generations, proofs, strict=True))
                advance()
    return [
        _row(number, study, arm, generation, proof, reader)
        for number, (study, (generation, proof)) in enumerate(zip(studies, pairs, strict=True))
    ]


def _row(
    number: int, study: Study, arm: Arm, generation: Generation, proof: Proof | None, reader: Reader
) -> dict[str, Any]:
    reading = reader(generation.text)
    return {
        "study": number,
        "study_id": study.study_id,
        "condition": arm.condition,
        "control": arm.control,
        "draw": arm.draw,
        "strength": arm.strength,
        "text": generation.text,
        "parse_ok": reading.parse_ok,
        "findings": json.dumps(dict(reading.findings), sort_keys=True),
        "finished": generation.finished,
        "tokens": len(generation.token_ids),
        "proof": json.dumps(proof.to_json() if proof is not None else {}),
    }


def _prompted(study: Study, words: str) -> Study:
    return replace(study, indication=f"{study.indication} {words}" if study.indication else words)


def _width(experiment: Experiment, model: ReportModel) -> int:
    """Width of the sites; the conditions of one experiment share it, so that its random directions fit all."""
    widths = {model.width(canonical_site(spec.site)) for spec in experiment.conditions.values()}
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
    folder: Path, experiment: Experiment, model: ReportModel, sae: MatryoshkaSAE | None, studies: Sequence[Study]
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
        write_json(asked, path)
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


def _shifted(progress: Progress | None, before: int, total: int) -> Progress | None:
    """Progress of one arm as progress of the experiment."""
    if progress is None:
        return None
    return lambda done, _: progress(before + done, total)
