"""Writing the reports of an experiment block by block, so that a stopped one goes on where it was.

A block is one arm over all its studies. It is added to the table as a whole: a block that is in the table is complete.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from activations.models.base import Generation, ReportModel
from radiology.study import Study
from sae.model import MatryoshkaSAE
from steering.errors import SteeringError
from steering.experiments.boxes import read_grounded
from steering.experiments.design import Arm
from steering.interventions.apply import steer
from steering.interventions.proof import Proof
from steering.reading import Reader
from steering.schema import GENERATION_COLUMNS, GENERATION_LATER
from steering.tables import read_table, table_of, write_table

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Writer:
    """What writes the reports: the model, and how its words are read.

    Attributes:
        reader: text → findings.
        batch: studies generated together.
        max_new_tokens: limit of a report; ``None`` is the model's own.
        grounded: ask for grounded reports, and read their boxes.
    """

    model: ReportModel
    sae: MatryoshkaSAE | None
    reader: Reader
    batch: int = 16
    max_new_tokens: int | None = None
    grounded: bool = False


def run_blocks(
    arms: Sequence[Arm],
    studies_of: Callable[[Arm], Sequence[Study]],
    writer: Writer,
    path: Path,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Write what is not in the table at ``path`` yet; gives the whole table, arms in their order.

    Args:
        studies_of: the studies of an arm, as the model shall see them.
        progress: called with (reports written, reports in all).
    """
    table = table_of([], GENERATION_COLUMNS, GENERATION_LATER)
    if path.is_file():
        table = read_table(path, GENERATION_COLUMNS, GENERATION_LATER)
    done = set(table[["condition", "control", "draw", "strength"]].itertuples(index=False, name=None))
    written, total = len(table), sum(len(studies_of(arm)) for arm in arms)
    for arm in arms:
        if arm.label in done:
            continue
        rows = _run_arm(arm, studies_of(arm), writer, _shifted(progress, written, total))
        new = table_of(rows, GENERATION_COLUMNS, GENERATION_LATER)
        table = pd.concat([table, new], ignore_index=True) if len(table) else new
        write_table(table, path)
        written += len(rows)
    return table


def without_prior(study: Study) -> Study:
    """The study as if the patient had come for the first time: no earlier picture, report or comparison.

    Raises:
        SteeringError: it has no earlier picture.
    """
    if "prior_frontal" not in study.images:
        raise SteeringError(
            f"study {study.study_id!r}: has no prior image that could be removed; take studies that have one"
        )
    images = {name: image for name, image in study.images.items() if name != "prior_frontal"}
    return replace(study, images=images, prior_report=None, comparison=None)


def _run_arm(arm: Arm, studies: Sequence[Study], writer: Writer, progress: Progress | None) -> list[dict[str, Any]]:
    asked = [_prompted(study, arm.prompt) for study in studies] if arm.prompt else list(studies)
    pairs: list[tuple[Generation, Proof | None]] = []

    def write(start: int) -> list[Generation]:
        some = asked[start : start + writer.batch]
        options: dict[str, Any] = {"grounded": True} if writer.grounded else {}
        return writer.model.generate(writer.model.encode_batch(some, **options), max_new_tokens=writer.max_new_tokens)

    def advance() -> None:
        if progress is not None:
            progress(len(pairs), len(studies))

    if arm.spec is None:
        for start in range(0, len(asked), writer.batch):
            pairs += [(generation, None) for generation in write(start)]
            advance()
    else:
        with steer(writer.model, writer.sae, arm.spec) as applied:
            for start in range(0, len(asked), writer.batch):
                generations = write(start)
                proofs = [proof for _, proof in applied.last]
                pairs += list(zip(generations, proofs, strict=True))
                advance()
    return [
        _row(number, study, arm, generation, proof, writer)
        for number, (study, (generation, proof)) in enumerate(zip(studies, pairs, strict=True))
    ]


def _row(
    number: int, study: Study, arm: Arm, generation: Generation, proof: Proof | None, writer: Writer
) -> dict[str, Any]:
    if writer.grounded:
        reading, boxes = read_grounded(writer.model, generation.text, writer.reader)
    else:
        reading, boxes = writer.reader(generation.text), "{}"
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
        "patient_id": study.patient_id,
        "prior": arm.prior,
        "boxes": boxes,
    }


def _prompted(study: Study, words: str) -> Study:
    return replace(study, indication=f"{study.indication} {words}" if study.indication else words)


def _shifted(progress: Progress | None, before: int, total: int) -> Progress | None:
    """Progress of one arm as progress of the experiment."""
    if progress is None:
        return None
    return lambda done, _: progress(before + done, total)
