from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from steering.errors import SteeringError
from steering.experiments.recipes import firing_rates, map_experiment
from steering.interventions.kinds import Add

RECORDS = [
    SimpleNamespace(feature=f, max_activation=3.0, mean_map=np.arange(6.0) + f, map_rows=2, map_cols=3) for f in (4, 7)
]


def test_a_group_in_its_own_maps(sae):
    what = map_experiment(RECORDS, sae, "cardiomegaly", name="heart", goal="absent")
    (condition, spec), *rest = what.conditions.items()
    assert not rest
    assert condition == "features 4, 7 in own maps"
    assert spec.interventions[0].kind == Add(-1.0, shape="map")
    assert spec.interventions[0].maps[1][0][0] == 7
    assert spec.tokens.image == "frontal"
    assert what.strengths == (2.0, 4.0)


def test_a_feature_without_a_map(sae):
    silent = SimpleNamespace(feature=3, max_activation=3.0, mean_map=float("nan"), map_rows=0, map_cols=0)
    with pytest.raises(SteeringError, match="no mean map for feature 3"):
        map_experiment([silent], sae, "cardiomegaly", name="heart")
    with pytest.raises(SteeringError, match="no feature"):
        map_experiment([], sae, "cardiomegaly", name="heart")


def test_firing_rates_are_in_the_order_of_the_features(sae):
    rates = firing_rates(pd.DataFrame({"feature": [9, 2], "firing_rate": [0.5, 0.1]}), sae)
    assert rates.shape == (64,)
    assert (rates[9], rates[2], rates.sum()) == (0.5, 0.1, 0.6)
    with pytest.raises(SteeringError, match="features up to 64"):
        firing_rates(pd.DataFrame({"feature": [64], "firing_rate": [0.5]}), sae)
    with pytest.raises(SteeringError, match="firing_rate"):
        firing_rates(pd.DataFrame({"feature": [64]}), sae)
