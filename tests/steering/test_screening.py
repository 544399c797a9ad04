from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from steering.errors import SteeringError
from steering.experiments.controls import FeaturePool
from steering.experiments.screening import Labels, ScreenConfig, best_features, chosen_features, screen
from steering.experiments.screening_groups import screen_groups
from steering.experiments.teacher_forced import TeacherForced
from steering.interventions.apply import steer
from steering.interventions.kinds import Add
from steering.schema import SCREEN_COLUMNS, screen_file
from steering.tracing.pairs import same_prompt

FEATURES = (3, 5, 8, 13, 21, 34)


@pytest.fixture
def pool():
    rng = np.random.default_rng(0)
    return FeaturePool({f: 2.0 + f / 10 for f in FEATURES}, {f: rng.random((2, 3)) for f in FEATURES})


@pytest.fixture
def pairs(study_maker):
    return [
        same_prompt((study_maker(n, words=n % 3, report="w7 w8 w9"), study_maker(n + 50, report="w7 w11 w12 w13")))
        for n in range(3)
    ]


def log_p(model, study, report, push):
    """log p of each token of a report, and the likeliest token's probability, with the model as it is steered."""
    inputs = model.encode(study, report)
    n = len(report.split()) + 1
    with push:
        log_p_tv = model.forward(inputs)[0, -n - 1 : -1].log_softmax(-1)
    return log_p_tv.gather(1, inputs.input_ids_bt[0, -n:, None])[:, 0].numpy(), log_p_tv.exp().amax(-1).mean().item()


@pytest.mark.parametrize("shape", ["map", "uniform"])
def test_a_batched_push_is_what_steering_each_feature_does(model, sae, pool, pairs, shape):
    from contextlib import nullcontext

    studies = [recipient for recipient, _ in pairs]
    reports = [(recipient.report, donor.report) for recipient, donor in pairs]
    forced = TeacherForced(model, sae, studies, reports, "language.1", pool, shape).push(FEATURES[:3], 2.0)
    for i, feature in enumerate(FEATURES[:3]):
        for j, (study, (without, with_it)) in enumerate(zip(studies, reports, strict=True)):
            clean = [log_p(model, study, text, nullcontext()) for text in (without, with_it)]

            def push(feature=feature):
                return steer(
                    model,
                    sae,
                    {feature: Add(2.0, shape=shape)},
                    site="language.1",
                    maps=pool.maps,
                    max_activations=pool.max_activations,
                )

            pushed = [log_p(model, study, text, push()) for text in (without, with_it)]
            odds = [both[1][0].sum() - both[0][0].sum() for both in (clean, pushed)]
            assert forced.effect[i, j] == pytest.approx(odds[1] - odds[0], abs=1e-3)
            word = [np.exp(both[1][0][1]) for both in (clean, pushed)]  # the reports part at the second word
            assert forced.output_score[i, j] == pytest.approx(word[1] - word[0], abs=1e-4)
            assert forced.confidence[i, j] == pytest.approx(pushed[0][1] - clean[0][1], abs=1e-4)


def run(model, sae, pool, pairs, studies, path, **options):
    config = ScreenConfig("w21", site="language.1", strengths=(1.0, 30.0), keep=2, chunk=2)
    labels = Labels({13: ("word 21", True, 0.9)})
    return screen(model, sae, config, pairs, studies, pool, path, labels=labels, **options)


@pytest.fixture
def read_words(monkeypatch, reader):
    monkeypatch.setattr("steering.experiments.screening_reports.reader_for", lambda model: reader)


@pytest.mark.usefixtures("read_words")
def test_a_stopped_screening_ends_with_the_same_table(model, sae, pool, pairs, study_maker, tmp_path):
    studies = [study_maker(100 + n, words=n % 2) for n in range(6)]
    whole, parts = tmp_path / "whole" / screen_file("w21"), tmp_path / "parts" / screen_file("w21")
    table = run(model, sae, pool, pairs, studies, whole)
    assert {name: str(kind) for name, kind in table.dtypes.items()} == SCREEN_COLUMNS
    assert table["feature"].tolist() == list(FEATURES)
    assert set(chosen_features(table, 2)) == set(table.loc[table["generated"], "feature"])
    assert 13 in chosen_features(table, 1)  # named by its label
    assert (table.loc[table["generated"], ["select_n", "report_n"]].sum(axis=1) > 0).all()

    def stop(done, total):
        if done >= stop.at:
            raise KeyboardInterrupt

    for stop.at in (4, 7, 8):
        with pytest.raises(KeyboardInterrupt):
            run(model, sae, pool, pairs, studies, parts, progress=stop)
    run(model, sae, pool, pairs, studies, parts)
    pd.testing.assert_frame_equal(pd.read_parquet(whole), pd.read_parquet(parts))
    with pytest.raises(SteeringError, match="its studies differ"):
        run(model, sae, pool, pairs, studies[:4], parts)

    config = ScreenConfig("w21", site="language.1", strengths=(1.0,))
    groups = screen_groups(model, sae, config, studies, pool, table, tmp_path / "groups.parquet", size=2, random=2)
    assert groups["way"].tolist() == [*best_features(table, 2), "random 0", "random 1"]
    again = screen_groups(model, sae, config, studies, pool, table, tmp_path / "groups.parquet", size=2, random=2)
    pd.testing.assert_frame_equal(groups, again)


def test_wrong_requests_are_refused(model, sae, pool, pairs, tmp_path):
    with pytest.raises(SteeringError, match="0 usable candidates"):
        run(model, sae, pool, pairs, [], tmp_path / "t.parquet", candidates=[1])
    with pytest.raises(SteeringError, match="must be positive"):
        ScreenConfig("x", strengths=(-1.0,))
    with pytest.raises(SteeringError, match="goal"):
        ScreenConfig("x", goal="gone")
