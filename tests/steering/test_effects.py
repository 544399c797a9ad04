from __future__ import annotations

import json

import numpy as np
import pytest

from steering.errors import SteeringError
from steering.experiments.design import Experiment
from steering.experiments.effects import effects_table, repetition
from steering.interventions.kinds import Add
from steering.interventions.spec import Intervention, SteeringSpec
from steering.schema import GENERATION_COLUMNS
from steering.tables import table_of

SPEC = SteeringSpec("language.1", (Intervention(Add(1.0), (5,), max_activations=(3.0,)),))


def row(study, condition, control, draw, present, parse_ok=True, text="a b"):
    findings = {key: "present" if key in present else "absent" for key in ("x", "x:left", "y", "z")}
    return {
        "study": study,
        "study_id": f"s{study}",
        "condition": condition,
        "control": control,
        "draw": draw,
        "strength": 0.0 if control == "unsteered" else 1.0,
        "text": text,
        "parse_ok": parse_ok,
        "findings": json.dumps(findings),
        "finished": True,
        "tokens": 2,
        "proof": "{}" if control == "unsteered" else json.dumps({"tokens": {"image": 6, "report": 1}}),
    }


def effects(rows, goal="present"):
    what = Experiment("e", "x", {"c": SPEC}, goal)
    return effects_table(table_of(rows, GENERATION_COLUMNS), what).set_index(["control", "draw"])


def test_rates_by_hand():
    baseline = [
        row(0, "unsteered", "unsteered", 0, ()),
        row(1, "unsteered", "unsteered", 0, ("y",)),
        row(2, "unsteered", "unsteered", 0, ("x",)),
        row(3, "unsteered", "unsteered", 0, (), parse_ok=False),
    ]
    steered = [
        row(0, "c", "none", 0, ("x", "x:left"), text="a b c d e"),
        row(1, "c", "none", 0, ("x", "y"), parse_ok=False),
        row(2, "c", "none", 0, ("x", "z")),
        row(3, "c", "none", 0, ("x",)),
    ]
    main = effects(baseline + steered).loc[("none", 0)]
    assert (main.n, main.n_studies) == (2, 4)  # studies 0 and 1 lack x in a readable report
    assert main.on_target == 0.5  # the report of 1 cannot be read
    assert main.off_target == pytest.approx(1 / 4)  # studies 0 and 2 are readable, y and z are others: z of study 2
    assert json.loads(main.added) == {"z": 1}
    assert json.loads(main.removed) == {}
    assert main.parse_failures == 0.25
    assert main.length_delta == pytest.approx(3 / 4)
    assert main.tokens_changed == 7
    assert np.isnan(main.p)  # no random direction to compare with


def test_taking_out_needs_a_clear_no():
    baseline = [row(n, "unsteered", "unsteered", 0, ("x", "x:left")) for n in range(4)]
    steered = [row(0, "c", "none", 0, ()), *(row(n, "c", "none", 0, ("x",)) for n in (1, 2))]
    doubtful = row(3, "c", "none", 0, ())
    doubtful["findings"] = json.dumps({"x": "uncertain"})
    main = effects([*baseline, *steered, doubtful], goal="absent").loc[("none", 0)]
    assert (main.n, main.on_target) == (4, 0.25)


def test_random_directions_are_the_comparison():
    baseline = [row(n, "unsteered", "unsteered", 0, ()) for n in range(12)]
    steered = [row(n, "c", "none", 0, ("x",)) for n in range(12)]
    random = [row(n, "c", "random", draw, ("x",) if n < 3 * draw else ()) for draw in range(3) for n in range(12)]
    table = effects(baseline + steered + random)
    main = table.loc[("none", 0)]
    assert (main.random_on_target_low, main.random_on_target, main.random_on_target_high) == (0, 0.25, 0.5)
    assert main.p < 0.001
    assert table.loc["random"].on_target.tolist() == [0, 0.25, 0.5]
    assert table.loc["random"].p.isna().all()


def test_the_baseline_is_needed():
    with pytest.raises(SteeringError, match="unsteered"):
        effects([row(0, "c", "none", 0, ())])


def test_repetition():
    assert repetition("a b c d e f") == 0
    assert repetition("a b") == 0
    assert repetition("no no no no no no") == pytest.approx(3 / 4)
