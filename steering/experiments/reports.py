"""The generated reports of an experiment, read back from its table, and what each says against its baseline."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from radiology.grounding import parse_grounded
from radiology.study import Box
from steering.errors import SteeringError
from steering.experiments.design import Goal
from steering.reading import Reading, related

#: Condition, control, draw, strength.
Label = tuple[str, str, int, float]


@dataclass(frozen=True)
class Report:
    """One generated report. ``text`` is without marks of grounding; ``boxes``: finding that is present → boxes."""

    text: str
    reading: Reading
    tokens_changed: int = 0
    finished: bool = True
    patient: str = ""
    boxes: Mapping[str, tuple[Box, ...]] = field(default_factory=dict)

    def present(self, keys: list[str]) -> frozenset[str]:
        """Those of the keys that the report says are there."""
        return frozenset(key for key in keys if self.reading.findings.get(key) == "present")


Reports = dict[str, Report]  # by study


@dataclass(frozen=True)
class Arms:
    """All arms of an experiment.

    Attributes:
        reports: arm → study → report; baselines are not among them.
        baselines: ``kept`` and, where asked for, ``removed`` → the unsteered reports with and without the prior.
        prior: arm → which of these baselines is its own.
        others: findings that any report names and that are not about ``key``.
    """

    key: str
    goal: Goal
    reports: Mapping[Label, Reports]
    baselines: Mapping[str, Reports]
    prior: Mapping[Label, str]
    others: list[str]

    def baseline(self, label: Label) -> Reports:
        return self.baselines[self.prior[label]]


@dataclass(frozen=True)
class Outcomes:
    """What became of the studies that leave room: one value a study, in the order of the baseline.

    ``hits_n``: readable and says what the goal asks; ``clean_n``: and says the same of every other finding.
    """

    studies: tuple[str, ...]
    patients: tuple[str, ...]
    hits_n: np.ndarray
    clean_n: np.ndarray

    def of(self, patients: frozenset[str]) -> Outcomes:
        """The same of some patients only."""
        keep = [number for number, patient in enumerate(self.patients) if patient in patients]
        return Outcomes(
            tuple(self.studies[i] for i in keep),
            tuple(self.patients[i] for i in keep),
            self.hits_n[keep],
            self.clean_n[keep],
        )


def read_arms(generations: pd.DataFrame, key: str, goal: Goal) -> Arms:
    """Read a table of generations.

    Raises:
        SteeringError: the unsteered reports are missing.
    """
    reports: dict[Label, Reports] = {}
    baselines: dict[str, Reports] = {}
    prior: dict[Label, str] = {}
    columns = ["condition", "control", "draw", "strength"]
    if "prior" not in generations.columns:
        generations = generations.assign(prior="kept")
    for (condition, control, draw, strength, view), rows in generations.groupby([*columns, "prior"], sort=False):
        label = (str(condition), str(control), int(draw), float(strength))
        if control == "unsteered":
            baselines[view] = _reports(rows)
        else:
            reports[label], prior[label] = _reports(rows), view
    if "kept" not in baselines or not set(prior.values()) <= set(baselines):
        raise SteeringError("generations: the unsteered reports are missing; run the experiment again")
    vocabulary = {
        name
        for group in (*baselines.values(), *reports.values())
        for report in group.values()
        for name in report.reading.findings
    }
    others = sorted(name for name in vocabulary if not related(key, name))
    return Arms(key, goal, reports, baselines, prior, others)


def outcomes(arms: Arms, label: Label) -> Outcomes:
    """Hits and clean hits of one arm over the studies whose unsteered report leaves room for the goal."""
    before, after = arms.baseline(label), arms.reports[label]
    room = [study for study, report in before.items() if leaves_room(report.reading, arms.key, arms.goal)]
    hits = np.array([reaches(after[study].reading, arms.key, arms.goal) for study in room], dtype=bool)
    same = np.array([before[s].present(arms.others) == after[s].present(arms.others) for s in room], dtype=bool)
    patients = tuple(before[study].patient or study for study in room)
    return Outcomes(tuple(room), patients, hits.astype(float), (hits & same).astype(float))


def leaves_room(reading: Reading, key: str, goal: Goal) -> bool:
    """Whether an unsteered report can be read and leaves room for the goal."""
    return reading.parse_ok and (reading.status(key) == "present") == (goal == "absent")


def reaches(reading: Reading, key: str, goal: Goal) -> bool:
    """Whether a steered report can be read and says what the goal asks; not naming a finding counts as absent."""
    status = reading.status(key)
    return reading.parse_ok and (status == "present" if goal == "present" else status in (None, "absent"))


def _reports(rows: pd.DataFrame) -> Reports:
    out: Reports = {}
    for row in rows.to_dict("records"):
        boxes = json.loads(row.get("boxes") or "{}")
        out[row["study_id"]] = Report(
            parse_grounded(row["text"], 1).text,
            Reading(json.loads(row["findings"]), bool(row["parse_ok"])),
            sum(json.loads(row["proof"]).get("tokens", {}).values()),
            bool(row["finished"]),
            row.get("patient_id") or row["study_id"],
            {key: tuple(tuple(box) for box in of_key) for key, of_key in boxes.items()},
        )
    return out
