"""From steered reports to effects: what changed, what else changed, and whether a random direction does it too.

The unit of every interval and test is the patient: studies of one patient are drawn and exchanged together.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from steering.experiments.boxes import box_row
from steering.experiments.design import UNSTEERED, Experiment
from steering.experiments.report_metrics import ReportMetrics
from steering.experiments.reports import Arms, Label, Outcomes, Reports, outcomes, read_arms
from steering.schema import EFFECT_COLUMNS, EFFECT_LATER
from steering.statistics import (
    benjamini_hochberg,
    bootstrap_ratio,
    grouped_mean,
    permutation_p,
    spearman_trend,
    sums_by,
)
from steering.tables import table_of

Found = Mapping[Label, Outcomes]


def effects_table(generations: pd.DataFrame, experiment: Experiment, *, seed: int = 0) -> pd.DataFrame:
    """Effects of every arm against the unsteered reports of the same studies.

    Raises:
        SteeringError: the unsteered reports are missing.
    """
    return effects_of(read_arms(generations, experiment.key, experiment.goal), seed=seed)


def effects_of(arms: Arms, *, seed: int = 0) -> pd.DataFrame:
    """:func:`effects_table` of arms that were read before."""
    metrics = ReportMetrics()
    found = {label: outcomes(arms, label) for label in arms.reports}
    rows = [_baseline_row(arms, prior, seed) for prior in arms.baselines]
    for label, of_arm in found.items():
        baseline, reports = arms.baseline(label), arms.reports[label]
        rows.append(
            _about(arms, label)
            | {"n": len(of_arm.hits_n), "n_studies": len(reports), "n_patients": len(set(of_arm.patients))}
            | interval("on_target", of_arm.hits_n, of_arm.patients, seed)
            | interval("clean", of_arm.clean_n, of_arm.patients, seed)
            | off_target(arms, label, seed)
            | text_row(baseline, reports)
            | metrics.row(baseline, reports, seed)
            | box_row(arms, label, of_arm, seed)
        )
        rows[-1] |= against_random(found, label, seed)
        rows[-1] |= monotonicity(found, label, seed)
    adjusted = benjamini_hochberg(np.array([row.get("p", np.nan) for row in rows], dtype=float))
    for row, p in zip(rows, adjusted, strict=True):
        row["p_adjusted"] = float(p)
    return table_of(rows, EFFECT_COLUMNS, EFFECT_LATER)


def repetition(text: str) -> float:
    """Share of the word trigrams of a text that occurred earlier in it; 0 for fewer than four words."""
    words = text.lower().split()
    trigrams = list(zip(words, words[1:], words[2:], strict=False))
    return 1 - len(set(trigrams)) / len(trigrams) if trigrams else 0.0


def interval(name: str, values_n: np.ndarray, patients: tuple[str, ...], seed: int) -> dict[str, float]:
    """``name``, ``name_low``, ``name_high``: mean over studies, interval over patients."""
    mean, low, high = grouped_mean(values_n, patients, seed=seed)
    return {name: mean, f"{name}_low": low, f"{name}_high": high}


def off_target(arms: Arms, label: Label, seed: int, patients: frozenset[str] | None = None) -> dict[str, Any]:
    """Other findings whose presence changed, over studies of which both reports can be read."""
    baseline, reports = arms.baseline(label), arms.reports[label]
    changed: list[int] = []
    whose: list[str] = []
    added: Counter[str] = Counter()
    removed: Counter[str] = Counter()
    for study, report in reports.items():
        before = baseline[study]
        patient = before.patient or study
        if not (before.reading.parse_ok and report.reading.parse_ok) or (patients and patient not in patients):
            continue
        was, now = before.present(arms.others), report.present(arms.others)
        added.update(now - was)
        removed.update(was - now)
        changed.append(len(now ^ was))
        whose.append(patient)
    possible_n = np.full(len(changed), len(arms.others), dtype=float)
    changed_n = np.array(changed, dtype=float)
    low, high = bootstrap_ratio(sums_by(changed_n, whose), sums_by(possible_n, whose), seed=seed)
    return {
        "off_target": changed_n.sum() / possible_n.sum() if possible_n.sum() else float("nan"),
        "off_target_low": low,
        "off_target_high": high,
        "added": json.dumps(dict(sorted(added.items()))),
        "removed": json.dumps(dict(sorted(removed.items()))),
    }


def text_row(baseline: Reports, reports: Reports) -> dict[str, float]:
    """Degeneration: reports that cannot be read or do not end, repetition, length."""
    pairs = [(baseline[study], report) for study, report in reports.items()]
    repeated = [(repetition(before.text), repetition(after.text)) for before, after in pairs]
    lengths = [(len(before.text.split()), len(after.text.split())) for before, after in pairs]
    return {
        "parse_failures": mean_of([not after.reading.parse_ok for _, after in pairs]),
        "unfinished": mean_of([not after.finished for _, after in pairs]),
        "repetition": mean_of([after for _, after in repeated]),
        "repetition_delta": mean_of([after - before for before, after in repeated]),
        "length": mean_of([after for _, after in lengths]),
        "length_delta": mean_of([after - before for before, after in lengths]),
        "tokens_changed": mean_of([after.tokens_changed for _, after in pairs]),
    }


def random_of(found: Found, label: Label) -> list[Outcomes]:
    """The random directions of the arm's condition and strength."""
    return [
        of_arm
        for (condition, control, _, strength), of_arm in found.items()
        if control == "random" and condition == label[0] and strength == label[3]
    ]


def against_random(found: Found, label: Label, seed: int) -> dict[str, float]:
    """Spread of the random directions, and of a steered arm its excess over them and the paired test."""
    random = random_of(found, label)
    if not random:
        return dict.fromkeys(("random_on_target", "random_on_target_low", "random_on_target_high", "p"), float("nan"))
    hits = [mean_of(of_arm.hits_n) for of_arm in random]
    clean = [mean_of(of_arm.clean_n) for of_arm in random]
    row = {
        "random_on_target": mean_of(hits),
        "random_on_target_low": min(hits),
        "random_on_target_high": max(hits),
        "random_clean": mean_of(clean),
        "random_clean_high": max(clean),
        "p": float("nan"),
    }
    if label[1] != "none":
        return row
    main, controls_nk = found[label], np.stack([of_arm.hits_n for of_arm in random], axis=1)
    sums_g, controls_gk = sums_by(main.hits_n, main.patients), sums_by(controls_nk, main.patients)
    row["p"] = permutation_p(sums_g, controls_gk, seed=seed)
    return row | interval("excess", main.hits_n - controls_nk.mean(axis=1), main.patients, seed)


def monotonicity(found: Found, label: Label, seed: int) -> dict[str, float]:
    """Does more strength do more? Spearman of a condition's strengths (zero included) and on-target rates."""
    if label[1] != "none":
        return {}
    same = {strength: of_arm for (name, control, _, strength), of_arm in found.items()
            if name == label[0] and control == "none"}  # fmt: skip
    one_sided = all(s > 0 for s in same) or all(s < 0 for s in same)
    doses = sorted(same, key=abs if one_sided else float)
    zeros_n1 = np.zeros((len(found[label].hits_n), 1))  # studies that leave room: unsteered, none is on target
    outcomes_nk = np.concatenate([zeros_n1, *(same[dose].hits_n[:, None] for dose in doses)], axis=1)
    values = np.array([0.0, *(abs(dose) if one_sided else dose for dose in doses)])
    rho, low, high = spearman_trend(values, outcomes_nk, found[label].patients, seed=seed)
    return {"monotonic": rho, "monotonic_low": low, "monotonic_high": high}


def mean_of(values: Any) -> float:
    """Mean as a plain number; NaN of nothing."""
    values_n = np.asarray(values, dtype=float)
    return float(values_n.mean()) if len(values_n) else float("nan")


def _about(arms: Arms, label: Label) -> dict[str, Any]:
    names = ("condition", "control", "draw", "strength")
    return dict(zip(names, label, strict=True)) | {"key": arms.key, "goal": arms.goal, "prior": arms.prior[label]}


def _baseline_row(arms: Arms, prior: str, seed: int) -> dict[str, Any]:
    """The unsteered reports: how they read, and nothing about effects."""
    baseline = arms.baselines[prior]
    condition = UNSTEERED if prior == "kept" else f"{UNSTEERED} (prior {prior})"
    patients = {report.patient for report in baseline.values()}
    return (
        {"condition": condition, "control": "unsteered", "draw": 0, "strength": 0.0, "prior": prior}
        | {"key": arms.key, "goal": arms.goal, "n": 0, "n_studies": len(baseline), "n_patients": len(patients)}
        | {"added": "{}", "removed": "{}", "p": float("nan")}
        | text_row(baseline, baseline)
    )
