from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from steering.errors import SteeringError
from steering.experiments.controls import Controls
from steering.experiments.counterfactual import changes, counterfactual_check
from steering.experiments.design import Experiment
from steering.experiments.reports import Report
from steering.interventions.kinds import Add
from steering.interventions.spec import Direction, Intervention, SteeringSpec, Tokens
from steering.reading import Reading
from steering.schema import COUNTERFACTUAL_COLUMNS, COUNTERFACTUAL_FILE, COUNTERFACTUAL_GENERATIONS_FILE
from steering.tracing.pairs import same_prompt

IMAGE_TOKENS = Tokens(("prompt.image",))


def push(model, site, vector_d):
    direction = Direction("push", tuple(np.asarray(vector_d, dtype=float).tolist()))
    return SteeringSpec(site, (Intervention(Add(1.0), direction=direction),), IMAGE_TOKENS)


@pytest.fixture
def pairs(study_maker):
    """Twins whose pictures differ: dark and bright."""
    made = []
    for n in range(6):
        recipient = study_maker(n, words=1)
        bright = np.full((4, 6), 255, dtype=np.uint8)
        made.append(same_prompt((recipient, replace(recipient, study_id=f"twin{n}", images={"frontal": bright}))))
    return made


def experiment(model, site="projector", scale=5.0, **options):
    rng = np.random.default_rng(5)
    controls = Controls(random=2, wrong_sign=False, equal_rate=False)
    spec = push(model, site, scale * rng.standard_normal(model.width(site)))
    return Experiment("e", options.pop("key", "w21"), {"push": spec}, controls=controls, max_new_tokens=6, **options)


def check(model, what, pairs, folder, reader, **options):
    return counterfactual_check(model, None, what, pairs, folder, reader=reader, batch=4, **options)


def test_changes_are_what_appears_and_what_vanishes():
    before = Report("", Reading({"x": "present", "y": "absent"}, True))
    after = Report("", Reading({"y": "present", "z": "uncertain"}, True))
    assert changes(before, after) == {("x", False), ("y", True)}
    assert changes(before, before) == frozenset()


def test_doing_to_the_image_what_the_image_does_agrees_fully(model, pairs, tmp_path, reader, monkeypatch):
    what = experiment(model, scale=1e-3)  # a push too small to change a word
    same = check(model, what, pairs, tmp_path / "a", reader).set_index(["control", "draw"])
    main = same.loc[("none", 0)]
    assert list(same.reset_index().columns.sort_values()) == sorted(COUNTERFACTUAL_COLUMNS)
    assert main.n > 0
    assert (main.f1, main.jaccard, main["same"], main.steered_target) == (0, 0, 0, 0)

    # pictures instead of pushes: the steered reports are those of the twins
    import steering.experiments.counterfactual as module

    real = module.run_blocks

    def twins_everywhere(arms, studies_of, writer, path, progress):
        return real(arms, lambda arm: studies_of(arm if arm.spec is None else module.IMAGE), writer, path, progress)

    monkeypatch.setattr(module, "run_blocks", twins_everywhere)
    main = check(model, what, pairs, tmp_path / "b", reader).set_index(["control", "draw"]).loc[("none", 0)]
    assert (main.f1, main.f1_low, main.jaccard, main["same"]) == (1, 1, 1, 1)
    assert main.steered_target == main.image_target


def test_a_stopped_check_ends_with_the_same_tables(model, pairs, tmp_path, reader):
    what = experiment(model)
    whole = check(model, what, pairs, tmp_path / "whole", reader)

    def stop(done, total):
        if done >= 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check(model, what, pairs, tmp_path / "parts", reader, progress=stop)
    pd.testing.assert_frame_equal(check(model, what, pairs, tmp_path / "parts", reader), whole)
    for name in (COUNTERFACTUAL_FILE, COUNTERFACTUAL_GENERATIONS_FILE):
        one, other = (pd.read_parquet(tmp_path / folder / name) for folder in ("whole", "parts"))
        pd.testing.assert_frame_equal(one, other)
    with pytest.raises(SteeringError, match="other studies"):
        check(model, what, pairs[:3], tmp_path / "parts", reader)
    with pytest.raises(SteeringError, match="at least one is needed"):
        check(model, what, [], tmp_path / "new", reader)
