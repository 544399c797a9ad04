"""From steered reports to effects: what changed, what else changed, and whether a random direction does it too."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from steering.errors import SteeringError
from steering.experiments.design import UNSTEERED, Experiment, Goal
from steering.reading import Reading, related
from steering.schema import EFFECT_COLUMNS
from steering.statistics import benjamini_hochberg, bootstrap_mean, bootstrap_ratio, permutation_p
from steering.tables import table_of


@dataclass(frozen=True)
class _Report:
    text: str
    reading: Reading
    tokens_changed: int


_Reports = dict[str, _Report]  # by study


def effects_table(generations: pd.DataFrame, experiment: Experiment, *, seed: int = 0) -> pd.DataFrame:
    """Effects of every arm against the unsteered reports of the same studies.

    Raises:
        SteeringError: the unsteered reports are missing.
    """
    arms = {
        label: _reports(rows)
        for label, rows in generations.groupby(["condition", "control", "draw", "strength"], sort=False)
    }
    baseline = arms.pop((UNSTEERED, "unsteered", 0, 0.0), None)
    if baseline is None:
        raise SteeringError("generations: the unsteered reports are missing; run the experiment again")
    eligible = [s for s, report in baseline.items() if _eligible(report.reading, experiment.key, experiment.goal)]
    vocabulary = {key for reports in (baseline, *arms.values()) for r in reports.values() for key in r.reading.findings}
    others = sorted(key for key in vocabulary if not related(experiment.key, key))
    rows: list[dict[str, Any]] = [_baseline_row(baseline, experiment)]
    hits: dict[Any, np.ndarray] = {}
    for label, reports in arms.items():
        hits[label] = np.array(
            [_hit(reports[s].reading, experiment.key, experiment.goal) for s in eligible], dtype=float
        )
        condition, control, draw, strength = label
        rows.append(
            {"condition": condition, "control": control, "draw": draw, "strength": strength}
            | {"key": experiment.key, "goal": experiment.goal, "n": len(eligible), "n_studies": len(reports)}
            | _on_target(hits[label], seed)
            | _off_target(baseline, reports, others, seed)
            | _text(baseline, reports)
        )
    _against_random(rows, hits, seed)
    return table_of(rows, EFFECT_COLUMNS)


def repetition(text: str) -> float:
    """Share of the word trigrams of a text that occurred earlier in it; 0 for fewer than four words."""
    words = text.lower().split()
    trigrams = list(zip(words, words[1:], words[2:], strict=False))
    return 1 - len(set(trigrams)) / len(trigrams) if trigrams else 0.0


def _reports(rows: pd.DataFrame) -> _Reports:
    out: _Reports = {}
    for study, text, parse_ok, findings, proof in rows[
        ["study_id", "text", "parse_ok", "findings", "proof"]
    ].itertuples(index=False, name=None):
        changed = sum(json.loads(proof).get("tokens", {}).values())
        out[study] = _Report(text, Reading(json.loads(findings), bool(parse_ok)), changed)
    return out


def _eligible(reading: Reading, key: str, goal: Goal) -> bool:
    """Whether an unsteered report can be read and leaves room for the goal."""
    return reading.parse_ok and (reading.status(key) == "present") == (goal == "absent")


def _hit(reading: Reading, key: str, goal: Goal) -> bool:
    """Whether a steered report can be read and says what the goal asks; not naming a finding counts as absent."""
    status = reading.status(key)
    return reading.parse_ok and (status == "present" if goal == "present" else status in (None, "absent"))


def _on_target(hits_n: np.ndarray, seed: int) -> dict[str, Any]:
    low, high = bootstrap_mean(hits_n, seed=seed)
    return {"on_target": _mean(hits_n), "on_target_low": low, "on_target_high": high}


def _off_target(baseline: _Reports, reports: _Reports, others: list[str], seed: int) -> dict[str, Any]:
    """Other findings whose presence changed, over studies of which both reports can be read."""
    changed_n: list[int] = []
    added: Counter[str] = Counter()
    removed: Counter[str] = Counter()
    for study, report in reports.items():
        before, after = baseline[study].reading, report.reading
        if not (before.parse_ok and after.parse_ok):
            continue
        was = {key for key in others if before.findings.get(key) == "present"}
        now = {key for key in others if after.findings.get(key) == "present"}
        added.update(now - was)
        removed.update(was - now)
        changed_n.append(len(now ^ was))
    possible_n = np.full(len(changed_n), len(others), dtype=float)
    low, high = bootstrap_ratio(np.array(changed_n, dtype=float), possible_n, seed=seed)
    rate = sum(changed_n) / possible_n.sum() if possible_n.sum() else float("nan")
    return {
        "off_target": rate,
        "off_target_low": low,
        "off_target_high": high,
        "added": json.dumps(dict(sorted(added.items()))),
        "removed": json.dumps(dict(sorted(removed.items()))),
    }


def _text(baseline: _Reports, reports: _Reports) -> dict[str, Any]:
    lengths = np.array([len(report.text.split()) for report in reports.values()], dtype=float)
    before = np.array([len(baseline[study].text.split()) for study in reports], dtype=float)
    return {
        "parse_failures": _mean(np.array([not report.reading.parse_ok for report in reports.values()], dtype=float)),
        "repetition": _mean(np.array([repetition(report.text) for report in reports.values()])),
        "length": _mean(lengths),
        "length_delta": _mean(lengths - before),
        "tokens_changed": _mean(np.array([report.tokens_changed for report in reports.values()], dtype=float)),
    }


def _baseline_row(baseline: _Reports, experiment: Experiment) -> dict[str, Any]:
    """The unsteered reports: how they read, and nothing about effects."""
    nan = dict.fromkeys(
        ("on_target", "on_target_low", "on_target_high", "off_target", "off_target_low", "off_target_high"),
        float("nan"),
    )
    return (
        {"condition": UNSTEERED, "control": "unsteered", "draw": 0, "strength": 0.0}
        | {"key": experiment.key, "goal": experiment.goal, "n": 0, "n_studies": len(baseline)}
        | nan
        | {"added": "{}", "removed": "{}"}
        | _text(baseline, baseline)
    )


def _against_random(rows: list[dict[str, Any]], hits: dict[Any, np.ndarray], seed: int) -> None:
    """Spread of the random directions and the paired test of each main arm against them, in place."""
    for row in rows:
        random = [
            values
            for (condition, control, _, strength), values in hits.items()
            if control == "random" and condition == row["condition"] and strength == row["strength"]
        ]
        means = [_mean(values) for values in random]
        row["random_on_target"] = float(np.mean(means)) if means else float("nan")
        row["random_on_target_low"] = min(means, default=float("nan"))
        row["random_on_target_high"] = max(means, default=float("nan"))
        row["p"] = float("nan")
        if row["control"] == "none" and random:
            main_n = hits[row["condition"], "none", row["draw"], row["strength"]]
            row["p"] = permutation_p(main_n, np.stack(random, axis=1), seed=seed)
    adjusted = benjamini_hochberg(np.array([row["p"] for row in rows]))
    for row, p in zip(rows, adjusted, strict=True):
        row["p_adjusted"] = float(p)


def _mean(values_n: np.ndarray) -> float:
    return float(values_n.mean()) if len(values_n) else float("nan")
