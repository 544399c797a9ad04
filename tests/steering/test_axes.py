"""Axes and measures of experiments that came later: priors, boxes, random groups, report metrics; and older tables."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from steering.errors import SteeringError
from steering.experiments.blocks import without_prior
from steering.experiments.boxes import iou, read_grounded
from steering.experiments.controls import Controls, FeaturePool, control_specs, random_group
from steering.experiments.design import Experiment
from steering.experiments.effects import effects_of
from steering.experiments.experiment import run_experiment
from steering.experiments.reports import read_arms
from steering.experiments.side_effects import side_effects_table
from steering.interventions.kinds import Add
from steering.interventions.spec import Intervention, SteeringSpec, Tokens
from steering.interventions.targets import build_spec
from steering.reading import report_reader
from steering.schema import EFFECTS_FILE, GENERATION_COLUMNS, GENERATION_LATER, GENERATIONS_FILE, SPEC_FILE
from steering.statistics import grouped_mean, spearman_trend
from steering.tables import read_table, table_of

SPEC = SteeringSpec("language.1", (Intervention(Add(1.0), (5,), max_activations=(3.0,)),), Tokens("all"))
ONLY = Controls(random=1, wrong_sign=False, equal_rate=False)


def follow_up(study):
    prior = np.full((4, 6), 200, dtype=np.uint8)
    return replace(study, images={**study.images, "prior_frontal": prior}, prior_report="w8", comparison="w9")


def test_with_and_without_the_prior_each_has_its_own_baseline(model, sae, study_maker, tmp_path, reader):
    studies = [follow_up(study_maker(n)) for n in range(3)]
    what = Experiment("e", "w21", {"c": SPEC}, controls=ONLY, max_new_tokens=3, without_prior=True)
    effects = run_experiment(model, sae, what, studies, tmp_path, reader=reader)
    assert effects["condition"].tolist() == [
        *("unsteered", "unsteered (prior removed)", "c", "c"),
        *("c (prior removed)", "c (prior removed)"),
    ]
    assert effects["prior"].tolist() == ["kept", "removed", "kept", "kept", "removed", "removed"]
    generations = pd.read_parquet(tmp_path / GENERATIONS_FILE).set_index(["condition", "control", "study"]).sort_index()
    alone = model.write([without_prior(study) for study in studies], max_new_tokens=3)
    assert [one.text for one in alone] == generations.loc[("unsteered (prior removed)", "unsteered"), "text"].tolist()
    assert Experiment.from_json(json.loads((tmp_path / SPEC_FILE).read_text())["experiment"]) == what
    with pytest.raises(SteeringError, match="no prior image"):
        run_experiment(model, sae, what, [study_maker(9)], tmp_path / "new", reader=reader)


def test_settings_that_came_later_are_not_in_the_file_until_they_are_used():
    plain = Experiment("e", "x", {"c": SPEC}).to_json()
    assert not {"without_prior", "grounded"} & set(plain)
    assert "random_groups" not in plain["controls"]
    used = Experiment("e", "x", {"c": SPEC}, grounded=True, controls=Controls(random_groups=2))
    assert Experiment.from_json(used.to_json()) == used


def test_an_older_table_is_read_and_judged_like_a_new_one(model, sae, studies, tmp_path, reader):
    what = Experiment("e", "w21", {"c": SPEC}, controls=ONLY, max_new_tokens=3)
    new = run_experiment(model, sae, what, studies, tmp_path, reader=reader)
    path = tmp_path / GENERATIONS_FILE
    pd.read_parquet(path)[list(GENERATION_COLUMNS)].to_parquet(path)
    (tmp_path / EFFECTS_FILE).unlink()
    assert read_table(path, GENERATION_COLUMNS, GENERATION_LATER)["prior"].tolist() == ["kept"] * 12
    pd.testing.assert_frame_equal(run_experiment(model, sae, what, studies, tmp_path, reader=reader), new)


@pytest.fixture
def pool():
    rng = np.random.default_rng(1)
    return FeaturePool({f: 1.0 + f for f in range(64)}, {f: rng.random((2, 3)) + 0.1 for f in range(0, 64, 2)})


@pytest.mark.parametrize("shape", ["map", "uniform"])
def test_random_groups_are_as_long_as_what_they_control(sae, pool, shape):
    spec = build_spec({(2, 4): Add(1.0, shape=shape)}, sae, maps=pool.maps, max_activations=pool.max_activations)
    drawn = [random_group(spec, sae, pool, (0, draw)) for draw in range(3)]

    def length(one):
        [part] = one.interventions
        rows_md = sae.W_dec[list(part.features)].detach().numpy()
        amounts = np.stack([np.ravel(g) for g in part.maps], 1) if part.maps else np.array([part.max_activations])
        return np.linalg.norm(amounts @ rows_md)

    for other in drawn:
        [part] = other.interventions
        assert len(part.features) == 2
        assert not {2, 4} & set(part.features)
        assert length(other) == pytest.approx(length(spec), rel=1e-5)
    assert len({part.interventions[0].features for part in drawn}) > 1
    assert random_group(spec, sae, pool, (0, 1)) == drawn[1]
    assert [c.control for c in control_specs("c", spec, replace(ONLY, random_groups=2), 32, sae, None, pool)] == [
        "random",
        "random_group",
        "random_group",
    ]
    with pytest.raises(SteeringError, match="pool"):
        control_specs("c", spec, replace(ONLY, random_groups=1), 32, sae, None)


def test_boxes_are_read_from_grounded_reports():
    from activations.models import open_model

    text = "<obj> Cardiomegaly is present. <box> <x4> <y8> <x19> <y23> </box> </obj> <obj> No pneumothorax. </obj>"
    reading, boxes = read_grounded(open_model("phantom:random"), text, report_reader)
    [box] = json.loads(boxes)["cardiomegaly"]
    assert box == pytest.approx([4.5 / 32, 8.5 / 32, 19.5 / 32, 23.5 / 32])
    assert reading.parse_ok
    broken, _ = read_grounded(open_model("phantom:random"), text.replace("<y23>", ""), report_reader)
    assert not broken.parse_ok


def test_iou():
    assert iou([(0, 0, 0.5, 0.5)], [(0, 0, 0.5, 0.5)]) == 1
    assert iou([(0, 0, 0.5, 0.5)], [(0.5, 0.5, 1, 1)]) == 0
    assert iou([(0, 0, 0.5, 1)], [(0, 0, 1, 1)]) == 0.5


def generated(condition, control, said, text, boxes="{}", strength=1.0):
    return [
        {"study": n, "study_id": f"s{n}", "condition": condition, "control": control, "draw": 0, "strength": strength}
        | {"text": text, "parse_ok": True, "finished": True, "tokens": 3, "proof": "{}", "boxes": boxes}
        | {"findings": json.dumps({key: "present" if key in said else "absent" for key in "xyz"})}
        for n in range(4)
    ]


def test_metrics_boxes_and_side_effects_by_hand():
    boxes = [
        json.dumps({"x": [[0, 0, 0.5, 1]], "y": [[0, 0, 1, 1]]}),
        json.dumps({"x": [[0, 0, 1, 1]], "y": [[0, 0, 1, 1]]}),
    ]
    before = generated("unsteered", "unsteered", "xy", "The heart is enlarged. No pneumothorax.", boxes[0], 0.0)
    after = generated("c", "none", "xyz", "No pneumothorax. There is a pacemaker. No effusion.", boxes[1])
    random = generated("c", "random", "xy", "The heart is enlarged. No pneumothorax.", boxes[0])
    arms = read_arms(table_of(before + after + random, GENERATION_COLUMNS, GENERATION_LATER), "x", "absent")
    rows = effects_of(arms).set_index("control")
    main, control = rows.loc["none"], rows.loc["random"]
    assert (main.radfact_added, main.radfact_removed) == (2, 1)
    assert 0 < main.lunguage_f1 < 1
    assert (control.radfact_added, control.radfact_removed, control.radfact_f1) == (0, 0, 1)
    assert control.lunguage_f1 == pytest.approx(1)
    assert (main.box_n, main.box_iou, main.box_shift, main.other_box_iou) == (4, 0.5, 0.25, 1)
    assert (control.box_iou, control.box_shift) == (1, 0)
    side = side_effects_table(arms).set_index(["control", "finding"])
    assert side.loc[("none", "z"), ["added", "removed", "rate", "random_rate"]].tolist() == [4, 0, 1, 0]
    assert set(side.index.get_level_values("finding")) == {"z"}


def test_patients_are_the_unit():
    one_patient = grouped_mean(np.array([0.0, 1.0] * 10), ["p"] * 20)
    assert one_patient == (0.5, 0.5, 0.5)  # nothing to draw again
    twenty = grouped_mean(np.array([0.0, 1.0] * 10), list(range(20)))
    assert twenty[1] < 0.5 < twenty[2]


def test_monotonicity():
    rising = np.array([[0, 0, 1, 1], [0, 1, 1, 1], [0, 0, 0, 1]] * 5, dtype=float)
    assert spearman_trend(np.arange(4), rising, range(15))[0] == 1
    assert spearman_trend(np.arange(4), rising[:, ::-1], range(15))[0] == -1
    assert spearman_trend(np.arange(4), np.ones((5, 4)), range(5)) == (0, 0, 0)
    assert np.isnan(spearman_trend(np.arange(2), rising[:, :2], range(15))[0])
