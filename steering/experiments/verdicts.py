"""A verdict in words for every condition of an experiment.

The strength is chosen on one half of the patients and judged on the other. The rules, in this order:

1. *too few studies to say*: the report half has fewer than ``min_studies`` studies that leave room.
2. *breaks the text*: more reports than ``max_broken`` can no longer be read, or texts repeat themselves by more than
   ``max_repetition`` beyond the unsteered ones.
3. *no better than random*: the on-target rate does not exceed the mean of the random directions of the same shape by
   ``min_excess``, or the interval of this excess includes zero, or the adjusted p is above ``max_p``, or one of the
   random directions does at least as well. Suppression is judged like this too, since any push suppresses.
4. *steers with side effects*: it does, but more of the other findings than ``off_target_budget`` change, or more
   reports than ``parse_budget`` cannot be read.
5. *steers*: it does, within the budget.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from steering.errors import SteeringError
from steering.experiments.effects import (
    Found,
    against_random,
    interval,
    mean_of,
    monotonicity,
    off_target,
    text_row,
)
from steering.experiments.halves import select_half
from steering.experiments.reports import Arms, Label, outcomes
from steering.schema import VERDICT_COLUMNS
from steering.statistics import benjamini_hochberg
from steering.tables import table_of

Verdict = Literal[
    "steers", "steers with side effects", "no better than random", "breaks the text", "too few studies to say"
]
VERDICTS: tuple[str, ...] = get_args(Verdict)


@dataclass(frozen=True)
class VerdictRules:
    """Thresholds of the verdicts; shares in [0, 1].

    Args:
        off_target_budget: most of (study, other finding) that may change.
        parse_budget: most reports that may become unreadable, beyond the unsteered ones.
        max_broken: with more unreadable reports than this (beyond the unsteered ones) the text is broken.
        max_repetition: with more repeated trigrams than this (beyond the unsteered ones) the text is broken.
        min_excess: least on-target rate beyond the random directions.
        max_p: of the paired permutation test, adjusted over conditions.
        min_studies: fewer studies of the report half than this say nothing.
    """

    off_target_budget: float = 0.03
    parse_budget: float = 0.02
    max_broken: float = 0.10
    max_repetition: float = 0.10
    min_excess: float = 0.10
    max_p: float = 0.05
    min_studies: int = 5

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "min_studies":
                if value < 1:
                    raise SteeringError(f"verdict rules: min_studies {value} must be at least 1")
            elif not 0 <= value <= 1:
                raise SteeringError(f"verdict rules: {field.name} {value} must be a share between 0 and 1")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def verdicts_table(arms: Arms, rules: VerdictRules | None = None, *, seed: int = 0) -> pd.DataFrame:
    """A row a condition (:data:`steering.schema.VERDICT_COLUMNS`)."""
    rules = rules or VerdictRules()
    everyone = {report.patient or study for study, report in arms.baselines["kept"].items()}
    select = select_half(everyone, seed)
    report = frozenset(everyone - select)
    found = {label: outcomes(arms, label) for label in arms.reports}
    chosen_on = {label: of_arm.of(select) for label, of_arm in found.items()}
    judged_on = {label: of_arm.of(report) for label, of_arm in found.items()}
    rows = []
    for condition in dict.fromkeys(label[0] for label in found if label[1] == "none"):
        labels = [label for label in found if label[:2] == (condition, "none")]
        best, within = _best(arms, chosen_on, labels, select, rules, seed)
        figures = _figures(arms, judged_on, best, report, seed) | monotonicity(found, labels[0], seed)
        about = {"condition": condition, "key": arms.key, "goal": arms.goal, "prior": arms.prior[best]}
        rows.append(about | {"n_select": len(chosen_on[best].hits_n), "within_budget": within} | figures)
    adjusted = benjamini_hochberg(np.array([row["p"] for row in rows], dtype=float))
    for row, p in zip(rows, adjusted, strict=True):
        row["p_adjusted"] = float(p)
        row["verdict"], row["reason"] = judge(row, rules)
    return table_of(rows, VERDICT_COLUMNS)


def judge(row: Mapping[str, Any], rules: VerdictRules) -> tuple[Verdict, str]:
    """The verdict on the figures of one condition, and the figures that decided in a sentence."""
    if row["n"] < rules.min_studies:
        return "too few studies to say", f"{row['n']} studies of the report half leave room; {rules.min_studies} needed"
    broken, repeated = row["broken"], row["repetition_delta"]
    if broken > rules.max_broken:
        return "breaks the text", f"{_percent(broken)} more reports cannot be read"
    if repeated > rules.max_repetition:
        return "breaks the text", f"{_percent(repeated)} more of the text repeats itself"
    beside = f"on target {_percent(row['on_target'])}, random directions {_percent(row['random_on_target'])} on average"
    if not row["excess"] >= rules.min_excess or not row["excess_low"] > 0:
        return "no better than random", beside
    if not row["p_adjusted"] <= rules.max_p:
        return "no better than random", f"{beside}, p {row['p_adjusted']:.2f}"
    if not row["on_target"] > row["random_on_target_high"]:
        return "no better than random", f"{beside} and one of them {_percent(row['random_on_target_high'])}"
    off = row["off_target"]
    if off > rules.off_target_budget or broken > rules.parse_budget:
        return (
            "steers with side effects",
            f"{beside}; {_percent(off)} of other findings change, {_percent(broken)} more cannot be read",
        )
    return "steers", f"{beside}; {_percent(off)} of other findings change"


def _best(
    arms: Arms, chosen_on: Found, labels: list[Label], select: frozenset[str], rules: VerdictRules, seed: int
) -> tuple[Label, bool]:
    """The strength of most clean success among those within the budget; without any, of most on-target net of harm."""
    scored = []
    for label in labels:
        off = off_target(arms, label, seed, select)["off_target"]
        broken = _broken(arms, label, select)
        within = bool(off <= rules.off_target_budget and broken <= rules.parse_budget)
        of_arm = chosen_on[label]
        worth = mean_of(of_arm.clean_n) if within else mean_of(of_arm.hits_n) - np.nan_to_num(off) - broken
        scored.append((within, float(np.nan_to_num(worth)), -abs(label[3]), label))
    within, _, _, label = max(scored, key=lambda entry: entry[:3])
    return label, within


def _broken(arms: Arms, label: Label, patients: frozenset[str]) -> float:
    """Share of reports that cannot be read, beyond the unsteered ones."""
    before, after = arms.baseline(label), arms.reports[label]
    mine = [study for study, report in before.items() if (report.patient or study) in patients]
    return mean_of([before[s].reading.parse_ok - after[s].reading.parse_ok for s in mine])


def _figures(arms: Arms, judged_on: Found, label: Label, patients: frozenset[str], seed: int) -> dict[str, Any]:
    """What one arm did on the report half."""
    before, after = arms.baseline(label), arms.reports[label]
    mine = {study: report for study, report in after.items() if (report.patient or study) in patients}
    of_arm = judged_on[label]
    text = text_row(before, mine)
    return (
        {"strength": label[3], "n": len(of_arm.hits_n), "n_patients": len(set(of_arm.patients))}
        | interval("clean", of_arm.clean_n, of_arm.patients, seed)
        | interval("on_target", of_arm.hits_n, of_arm.patients, seed)
        | off_target(arms, label, seed, patients)
        | {"parse_failures": text["parse_failures"], "repetition_delta": text["repetition_delta"]}
        | {"broken": _broken(arms, label, patients) if mine else float("nan")}
        | dict.fromkeys(("excess", "excess_low", "excess_high"), float("nan"))
        | against_random(judged_on, label, seed)
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
