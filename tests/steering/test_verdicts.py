from __future__ import annotations

import json

import numpy as np
import pytest

from steering.errors import SteeringError
from steering.experiments.reports import read_arms
from steering.experiments.verdicts import VERDICTS, VerdictRules, judge, verdicts_table
from steering.schema import GENERATION_COLUMNS, GENERATION_LATER
from steering.tables import table_of

N = 40


def arm(condition, control, draw, strength, said, others=(), broken=0.0, text="a b c d"):
    """One arm: the share ``said`` of the studies says x, all say ``others``, the last ``broken`` cannot be read."""
    rows = []
    for study in range(N):
        present = {*(["x"] if study % 10 < 10 * said else []), *others}
        rows.append(
            {"study": study, "study_id": f"s{study}", "condition": condition, "control": control, "draw": draw}
            | {"strength": strength, "text": text, "parse_ok": study % 10 < 10 * (1 - broken), "finished": True}
            | {"findings": json.dumps({k: "present" if k in present else "absent" for k in "xyz"})}
            | {"tokens": 4, "proof": "{}", "patient_id": f"p{study // 2}"}
        )
    return rows


BASE = arm("unsteered", "unsteered", 0, 0.0, 0)


def verdict(*arms, rules=None):
    table = table_of([row for rows in (BASE, *arms) for row in rows], GENERATION_COLUMNS, GENERATION_LATER)
    return verdicts_table(read_arms(table, "x", "present"), rules).set_index("condition").loc["c"]


def random(strength, said=0.0):
    return [row for draw in range(3) for row in arm("c", "random", draw, strength, said)]


def test_the_four_verdicts():
    assert verdict(arm("c", "none", 0, 2.0, 0.9), random(2.0)).verdict == "steers"
    assert verdict(arm("c", "none", 0, 2.0, 0.9, others="y"), random(2.0)).verdict == "steers with side effects"
    assert verdict(arm("c", "none", 0, 2.0, 0.9), random(2.0, 0.9)).verdict == "no better than random"
    assert verdict(arm("c", "none", 0, 2.0, 0.9, broken=0.3), random(2.0)).verdict == "breaks the text"
    loop = arm("c", "none", 0, 2.0, 0.9, text="no no no no no no no no")
    assert verdict(loop, random(2.0)).verdict == "breaks the text"
    assert (
        verdict(arm("c", "none", 0, 2.0, 0.9), random(2.0), rules=VerdictRules(min_studies=30)).verdict == VERDICTS[-1]
    )


def test_the_strength_is_chosen_within_the_budget():
    weak, strong = arm("c", "none", 0, 2.0, 0.6), arm("c", "none", 0, 4.0, 1.0, others="y")
    row = verdict(weak, random(2.0), strong, random(4.0))
    assert (row.strength, row.within_budget, row.verdict) == (2.0, True, "steers")
    assert row.n + row.n_select == N
    assert row.n_patients == 10
    assert row.clean == row.on_target
    over = verdict(strong, random(4.0))
    assert (over.strength, over.within_budget) == (4.0, False)
    assert over.clean == 0


def test_one_random_direction_that_does_as_well_is_enough_to_doubt():
    arms = [row for draw, said in enumerate((0.0, 0.0, 0.8)) for row in arm("c", "random", draw, 2.0, said)]
    row = verdict(arm("c", "none", 0, 2.0, 0.7), arms)
    assert row.excess_low > 0
    assert row.verdict == "no better than random"
    assert "one of them" in row.reason


def test_without_random_directions_nothing_is_better_than_them():
    assert verdict(arm("c", "none", 0, 2.0, 0.9)).verdict == "no better than random"


def test_judging_follows_the_thresholds():
    row = {"n": 10, "broken": 0.0, "repetition_delta": 0.0, "on_target": 0.5, "random_on_target": 0.3}
    row |= {"random_on_target_high": 0.4, "excess": 0.2, "excess_low": 0.1, "p_adjusted": 0.01, "off_target": 0.02}
    assert judge(row, VerdictRules())[0] == "steers"
    assert judge(row, VerdictRules(min_excess=0.3))[0] == "no better than random"
    assert judge(row | {"p_adjusted": 0.06}, VerdictRules())[0] == "no better than random"
    assert judge(row | {"p_adjusted": np.nan}, VerdictRules())[0] == "no better than random"
    assert judge(row, VerdictRules(off_target_budget=0.01))[0] == "steers with side effects"
    assert judge(row | {"broken": 0.05}, VerdictRules())[0] == "steers with side effects"


def test_rules_are_checked():
    with pytest.raises(SteeringError, match="off_target_budget"):
        VerdictRules(off_target_budget=3)
    with pytest.raises(SteeringError, match="min_studies"):
        VerdictRules(min_studies=0)
