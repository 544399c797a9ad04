"""Counterfactual check: does steering a feature change the report as changing the picture does?

A pair is one patient twice: without a finding and with it (phantom twins, or donors). The change by the image is what
the report on the other picture says differently; the change by steering is what the report on the first picture says
differently when the finding's features are steered. Both are sets of (finding, appeared or vanished), and their
likeness is the answer:

- Jaccard |A ∩ B| / |A ∪ B| of each pair, mean over pairs;
- F1 with the image's changes as the truth, counts pooled over pairs;
- the share of pairs in which both are exactly the same.

Pairs whose image changes nothing in the report, or of which a report cannot be read without steering, say nothing and
are counted only. A steered report that cannot be read agrees in nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from activations.models.base import ReportModel
from radiology.study import Study
from sae.model import MatryoshkaSAE
from steering.errors import SteeringError
from steering.experiments.blocks import Progress, Writer, run_blocks
from steering.experiments.controls import FeaturePool
from steering.experiments.design import Arm, Experiment, arms_of
from steering.experiments.experiment import experiment_width
from steering.experiments.reports import Label, Report, Reports, leaves_room, reaches, read_arms
from steering.reading import Reader, reader_for
from steering.schema import COUNTERFACTUAL_COLUMNS, COUNTERFACTUAL_FILE, COUNTERFACTUAL_GENERATIONS_FILE
from steering.statistics import benjamini_hochberg, bootstrap_ratio, grouped_mean, permutation_p, sums_by
from steering.tables import table_of, write_table
from steering.tracing.pairs import Pair

#: The arm whose reports are about the other picture.
IMAGE = Arm("image", "image", 0, 0.0)

Change = frozenset[tuple[str, bool]]


@dataclass(frozen=True)
class Agreement:
    """Likeness of one arm's changes to the image's, one value a pair that counts."""

    patients: tuple[str, ...]
    jaccard_n: np.ndarray
    same_n: np.ndarray
    both_n: np.ndarray
    either_n: np.ndarray
    image_target_n: np.ndarray
    target_n: np.ndarray


def counterfactual_check(
    model: ReportModel,
    sae: MatryoshkaSAE | None,
    experiment: Experiment,
    pairs: Sequence[Pair],
    folder: Path,
    *,
    firing_rates: np.ndarray | None = None,
    pool: FeaturePool | None = None,
    reader: Reader | None = None,
    batch: int = 16,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Run the arms of an experiment on one side of the pairs, the pictures of the other side beside them.

    With the goal ``present`` recipients are steered and donors are the truth; with ``absent`` the other way round.
    Reports lie in ``counterfactual-generations.parquet``; a stopped check goes on.

    Args:
        experiment: conditions, strengths and controls; its ``without_prior`` and ``grounded`` are left aside.
        pairs: of the experiment's finding.
        folder: of the experiment.

    Returns:
        ``counterfactual.parquet`` (:data:`steering.schema.COUNTERFACTUAL_COLUMNS`).

    Raises:
        SteeringError: no pair, or a study that comes twice.
    """
    shown = [recipient if experiment.goal == "present" else donor for recipient, donor in pairs]
    others = [donor if experiment.goal == "present" else recipient for recipient, donor in pairs]
    if not pairs or len({study.study_id for study in shown}) != len(shown):
        raise SteeringError(f"pairs: {len(pairs)} given; at least one is needed, each of another study")
    truth = [
        replace(other, study_id=one.study_id, patient_id=one.patient_id)
        for one, other in zip(shown, others, strict=True)
    ]
    plain = replace(experiment, without_prior=False, grounded=False)
    first, *rest = arms_of(plain, experiment_width(plain, model), sae, firing_rates, pool)

    def studies_of(arm: Arm) -> Sequence[Study]:
        return truth if arm.control == "image" else shown

    writer = Writer(model, sae, reader or reader_for(model), batch, experiment.max_new_tokens)
    path = folder / COUNTERFACTUAL_GENERATIONS_FILE
    generations = run_blocks([first, IMAGE, *rest], studies_of, writer, path, progress)
    _check_same(generations, shown, path)
    table = counterfactual_table(generations, experiment)
    write_table(table, folder / COUNTERFACTUAL_FILE)
    return table


def counterfactual_table(generations: pd.DataFrame, experiment: Experiment, *, seed: int = 0) -> pd.DataFrame:
    """Agreement of every arm with the images; p is a paired permutation against the random directions."""
    arms = read_arms(generations, experiment.key, experiment.goal)
    reports = dict(arms.reports)
    truth = reports.pop(IMAGE.label, None)
    if truth is None:
        raise SteeringError("generations: the reports on the other pictures are missing; run the check again")
    found = {label: _agreement(arms.baselines["kept"], truth, of_arm, experiment) for label, of_arm in reports.items()}
    rows = []
    for label, agreement in found.items():
        about = dict(zip(("condition", "control", "draw", "strength"), label, strict=True))
        about |= {"key": experiment.key, "goal": experiment.goal, "n_pairs": len(truth)}
        rows.append(about | _figures(agreement, seed) | _beside_random(found, label, seed))
    adjusted = benjamini_hochberg(np.array([row["p"] for row in rows], dtype=float))
    for row, p in zip(rows, adjusted, strict=True):
        row["p_adjusted"] = float(p)
    return table_of(rows, COUNTERFACTUAL_COLUMNS)


def changes(before: Report, after: Report) -> Change:
    """(finding, whether it appeared) for every finding whose presence differs."""
    keys = sorted({*before.reading.findings, *after.reading.findings})
    was, now = before.present(keys), after.present(keys)
    return frozenset({(key, True) for key in now - was} | {(key, False) for key in was - now})


def _agreement(baseline: Reports, truth: Reports, steered: Reports, experiment: Experiment) -> Agreement:
    key, goal = experiment.key, experiment.goal
    rows: list[tuple[float, float, float, float, float, float]] = []
    patients: list[str] = []
    for study, before in baseline.items():
        by_image = changes(before, truth[study])
        if not by_image or not truth[study].reading.parse_ok or not leaves_room(before.reading, key, goal):
            continue
        after = steered[study]
        readable = after.reading.parse_ok
        by_steering = changes(before, after) if readable else Change()
        both, either = len(by_image & by_steering), len(by_image | by_steering)
        target = float(reaches(truth[study].reading, key, goal)), float(reaches(after.reading, key, goal))
        same = float(readable and by_image == by_steering)
        rows.append((both / either, same, 2 * both, len(by_image) + len(by_steering), *target))
        patients.append(before.patient or study)
    jaccard, same_n, both_n, either_n, image_target, steered_target = np.array(rows, dtype=float).reshape(-1, 6).T
    return Agreement(tuple(patients), jaccard, same_n, both_n, either_n, image_target, steered_target)


def _figures(found: Agreement, seed: int) -> dict[str, Any]:
    out: dict[str, Any] = {
        "n": len(found.patients),
        "image_target": _mean(found.image_target_n),
        "steered_target": _mean(found.target_n),
        "f1": _f1(found),
    }
    for name, values_n in (("jaccard", found.jaccard_n), ("same", found.same_n)):
        mean, low, high = grouped_mean(values_n, found.patients, seed=seed)
        out |= {name: mean, f"{name}_low": low, f"{name}_high": high}
    tops, bottoms = (sums_by(values_n, found.patients) for values_n in (found.both_n, found.either_n))
    out["f1_low"], out["f1_high"] = bootstrap_ratio(tops, bottoms, seed=seed)
    return out


def _beside_random(found: dict[Label, Agreement], label: Label, seed: int) -> dict[str, float]:
    random = [
        agreement
        for (condition, control, _, strength), agreement in found.items()
        if control == "random" and condition == label[0] and strength == label[3]
    ]
    values = [_f1(agreement) for agreement in random]
    p = float("nan")
    if label[1] == "none" and random:
        main = found[label]
        controls_nk = np.stack([agreement.jaccard_n for agreement in random], axis=1)
        p = permutation_p(sums_by(main.jaccard_n, main.patients), sums_by(controls_nk, main.patients), seed=seed)
    return {"random_f1": _mean(values), "random_f1_high": max(values, default=float("nan")), "p": p}


def _f1(found: Agreement) -> float:
    return float(found.both_n.sum() / found.either_n.sum()) if found.either_n.sum() else float("nan")


def _mean(values: Any) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def _check_same(generations: pd.DataFrame, shown: Sequence[Study], path: Path) -> None:
    there = list(dict.fromkeys(generations["study_id"]))
    if there != [study.study_id for study in shown]:
        raise SteeringError(f"{path}: holds reports about other studies; delete it to start again")
