from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from sae.config import SAEConfig
from sae.model import MatryoshkaSAE
from steering.errors import SteeringError
from steering.experiments.controls import Controls
from steering.experiments.design import Experiment
from steering.experiments.experiment import run_experiment
from steering.interventions.kinds import Ablate, Add
from steering.interventions.spec import Direction, Intervention, SteeringSpec, Tokens
from steering.schema import (
    EFFECT_COLUMNS,
    EFFECT_LATER,
    EFFECTS_FILE,
    GENERATION_COLUMNS,
    GENERATION_LATER,
    GENERATIONS_FILE,
    SIDE_EFFECTS_FILE,
    SPEC_FILE,
    VERDICTS_FILE,
)

RATES = np.linspace(0.01, 0.5, 64)
FEATURE = SteeringSpec("language.1", (Intervention(Add(1.0), (5,), max_activations=(3.0,)),), Tokens("all"))


@pytest.fixture
def write_w21(model):
    """Pushes every word toward w21 at the last block."""
    norm_d, W_U = model.unembedding()
    word = Direction("w21", tuple((W_U[21] * norm_d).tolist()))
    return SteeringSpec("language.2", (Intervention(Add(1.0), direction=word),), Tokens("all"))


@pytest.fixture
def many(study_maker):
    return [study_maker(number, lateral=number % 2 == 1, words=number % 3) for number in range(10)]


def experiment(spec, **options):
    standard = {"name": "e", "key": "w21", "conditions": {"push": spec}, "controls": Controls(random=3)}
    return Experiment(**{**standard, **options})


def run(model, sae, what, studies, folder, reader, **options):
    return run_experiment(model, sae, what, studies, folder, reader=reader, firing_rates=RATES, batch=4, **options)


def test_a_true_effect_is_found_and_its_controls_are_not(model, sae, many, write_w21, tmp_path, reader):
    what = experiment(write_w21, strengths=(30.0,), max_new_tokens=6)
    effects = run(model, sae, what, many, tmp_path, reader).set_index(["control", "draw"])
    main = effects.loc[("none", 0)]
    assert main.on_target == 1
    assert (main.on_target_low, main.on_target_high) == (1, 1)
    assert main.random_on_target < 0.5
    assert main.random_on_target_low <= main.random_on_target <= main.random_on_target_high
    assert main.p < 0.01
    assert main.p_adjusted == main.p  # one test only
    assert effects.loc[("wrong_sign", 0)].on_target == 0
    assert effects.drop(index=[("none", 0)]).p.isna().all()
    assert main.repetition > effects.loc[("unsteered", 0)].repetition
    assert json.loads(main.removed)


def test_taking_a_finding_out(model, sae, many, write_w21, tmp_path, reader):
    what = experiment(write_w21, strengths=(-10.0,), goal="absent", key="w6", controls=Controls(random=1))
    effects = run(model, sae, what, many, tmp_path, reader)
    generations = pd.read_parquet(tmp_path / GENERATIONS_FILE)
    unsteered = generations[generations.control == "unsteered"]
    assert set(effects[effects.control == "none"].n) == {int(unsteered.text.str.split().map(lambda w: "w6" in w).sum())}


def test_the_files(model, sae, studies, tmp_path, reader):
    seen = []
    what = experiment(FEATURE, strengths=(1.0, 2.0), controls=Controls(random=2, prompt_only="w9"), max_new_tokens=2)
    effects = run(model, sae, what, studies, tmp_path, reader, progress=lambda done, total: seen.append((done, total)))
    generations = pd.read_parquet(tmp_path / GENERATIONS_FILE)
    arms = 2 + 2 * 5
    assert list(generations.columns) == [*GENERATION_COLUMNS, *GENERATION_LATER]
    assert {
        name: str(kind) for name, kind in generations.dtypes.items() if name in GENERATION_COLUMNS
    } == GENERATION_COLUMNS
    assert len(generations) == arms * len(studies)
    assert not generations.duplicated(["study_id", "condition", "control", "draw", "strength"]).any()
    assert list(effects.columns) == [*EFFECT_COLUMNS, *EFFECT_LATER]
    assert len(effects) == arms
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / EFFECTS_FILE), effects)
    assert Experiment.from_json(json.loads((tmp_path / SPEC_FILE).read_text())["experiment"]) == what
    assert seen[-1] == (len(generations), len(generations))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [EFFECTS_FILE, GENERATIONS_FILE, SPEC_FILE, SIDE_EFFECTS_FILE, VERDICTS_FILE]
    )


def test_every_steered_row_carries_its_proof(model, sae, studies, tmp_path, reader):
    run(model, sae, experiment(FEATURE, controls=Controls(random=1)), studies, tmp_path, reader)
    generations = pd.read_parquet(tmp_path / GENERATIONS_FILE)
    for row in generations.itertuples():
        proof = json.loads(row.proof)
        if row.control == "unsteered":
            assert proof == {}
        else:
            assert proof["tokens"].get("report", 0) == row.tokens - (not row.finished)
            assert proof["tokens"]["image"] in (6, 12)


def test_a_resumed_experiment_ends_with_the_same_tables(model, sae, studies, tmp_path, reader):
    what = experiment(FEATURE, strengths=(1.0, 2.0), controls=Controls(random=1, wrong_sign=False), max_new_tokens=3)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(model, sae, what, studies, whole, reader)

    def stop(done, total):
        if done >= stop.at:
            raise KeyboardInterrupt

    for stop.at in (3, 14, 22):
        with pytest.raises(KeyboardInterrupt):
            run(model, sae, what, studies, parts, reader, progress=stop)
    calls = []
    run(model, sae, what, studies, parts, reader, progress=lambda *done: calls.append(done))
    assert calls[0][0] == 24
    for name in (GENERATIONS_FILE, EFFECTS_FILE, SIDE_EFFECTS_FILE, VERDICTS_FILE):
        pd.testing.assert_frame_equal(pd.read_parquet(whole / name), pd.read_parquet(parts / name))
    assert (whole / SPEC_FILE).read_text() == (parts / SPEC_FILE).read_text()
    assert not {"generate", "forward"} & set(vars(model))


def test_another_experiment_in_the_folder_is_refused(model, sae, studies, tmp_path, reader):
    run(model, sae, experiment(FEATURE, max_new_tokens=1, controls=Controls(random=1)), studies, tmp_path, reader)
    other = MatryoshkaSAE(SAEConfig(d=32, n_features=64, k=8))
    other.initialise(4)
    small = {"max_new_tokens": 1, "controls": Controls(random=1)}
    for changed, words in (
        ((sae, experiment(FEATURE, key="w22", **small), studies), "experiment"),
        ((sae, experiment(FEATURE, **small), studies[:3]), "studies"),
        ((other, experiment(FEATURE, **small), studies), "sae"),
    ):
        with pytest.raises(SteeringError, match=rf"its {words} differ"):
            run(model, *changed, tmp_path, reader)


def test_wrong_specs_are_refused_before_any_generation(model, sae, studies, tmp_path, reader):
    wrong = SteeringSpec("language.1", (Intervention(Ablate(), (64,)),))
    with pytest.raises(SteeringError, match=r"interventions\[0\]\.features: 64"):
        run(model, sae, experiment(wrong), studies, tmp_path / "new", reader)
    with pytest.raises(SteeringError, match="firing_rates"):
        run_experiment(model, sae, experiment(FEATURE), studies, tmp_path / "new", reader=reader)
    with pytest.raises(SteeringError, match="each study once"):
        run(model, sae, experiment(FEATURE), [studies[0]] * 2, tmp_path / "new", reader)
    assert not (tmp_path / "new").exists()


def test_the_words_of_prompt_only_go_into_the_indication(model, sae, studies, tmp_path, reader):
    run(model, sae, experiment(FEATURE, controls=Controls(random=1, prompt_only="w9 w10")), studies, tmp_path, reader)
    generations = pd.read_parquet(tmp_path / GENERATIONS_FILE)
    texts = generations[generations.control == "prompt_only"].text.tolist()
    assert texts != generations[generations.control == "unsteered"].text.tolist()
