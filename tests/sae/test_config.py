from __future__ import annotations

import json
from dataclasses import FrozenInstanceError

import pytest

from sae.config import SAEConfig, TrainConfig, group_sizes
from sae.errors import SAEError


def test_configurations_survive_json_unchanged() -> None:
    config = SAEConfig(d=8, n_features=48, k=4, groups=(24, 16, 8), dtype="bfloat16")
    assert SAEConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    train = TrainConfig(n_tokens=1000, learning_rate=3e-4, prefix_loss="sum", aux_k=7)
    assert TrainConfig.from_dict(json.loads(json.dumps(train.to_dict()))) == train


def test_default_groups_are_the_fractions_smallest_first() -> None:
    assert SAEConfig(d=4, n_features=64, k=2).groups == (4, 4, 8, 16, 32)
    assert SAEConfig(d=4, n_features=7, k=2).groups == (7,)


@pytest.mark.parametrize("n_features", [16, 17, 100, 1023])
def test_group_sizes_always_sum_to_the_features(n_features: int) -> None:
    sizes = group_sizes(n_features, (0.5, 0.25, 0.125, 0.0625, 0.0625))
    assert sum(sizes) == n_features
    assert min(sizes) > 0


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"d": 0}, "d = 0"),
        ({"d": True}, "d = True"),
        ({"n_features": 2.5}, "n_features = 2.5"),
        ({"k": 0}, "k = 0"),
        ({"k": 33}, "k = 33"),
        ({"groups": (8, 8)}, "groups = (8, 8)"),
        ({"groups": (40, -8)}, "groups = (40, -8)"),
        ({"dtype": "int8"}, "dtype = 'int8'"),
    ],
)
def test_a_bad_shape_names_field_value_and_remedy(fields: dict[str, object], field: str) -> None:
    good = {"d": 8, "n_features": 32, "k": 4}
    with pytest.raises(SAEError) as caught:
        SAEConfig(**{**good, **fields})  # type: ignore[arg-type]
    assert str(caught.value).startswith(field)
    assert "must be" in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"n_tokens": 0}, "n_tokens = 0"),
        ({"learning_rate": -1.0}, "learning_rate = -1.0"),
        ({"learning_rate": float("nan")}, "learning_rate = nan"),
        ({"warmup_fraction": 0.7, "decay_fraction": 0.7}, "warmup_fraction + decay_fraction"),
        ({"threshold_beta": 1.0}, "threshold_beta = 1.0"),
        ({"prefix_loss": "max"}, "prefix_loss = 'max'"),
        ({"b_dec_init": "zero"}, "b_dec_init = 'zero'"),
        ({"aux_alpha": -1}, "aux_alpha = -1"),
        ({"dead_after_tokens": 0}, "dead_after_tokens = 0"),
        ({"seed": -1}, "seed = -1"),
    ],
)
def test_a_bad_training_setting_names_field_value_and_remedy(fields: dict[str, object], field: str) -> None:
    with pytest.raises(SAEError) as caught:
        TrainConfig(**{"n_tokens": 1000, **fields})  # type: ignore[arg-type]
    assert str(caught.value).startswith(field)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"group_weights": (1.0, -1.0)}, "group_weights = (1.0, -1.0)"),
        ({"group_weights": (0.0,)}, "group_weights = (0.0,)"),
        ({"prefixes": "some"}, "prefixes = 'some'"),
        ({"k_start": 0}, "k_start = 0"),
        ({"k_anneal_fraction": 2}, "k_anneal_fraction = 2"),
        ({"jumprelu_bandwidth": 0}, "jumprelu_bandwidth = 0"),
        ({"jumprelu_sparsity": float("inf")}, "jumprelu_sparsity = inf"),
    ],
)
def test_a_bad_later_setting_names_field_value_and_remedy(fields: dict[str, object], field: str) -> None:
    with pytest.raises(SAEError) as caught:
        TrainConfig(**{"n_tokens": 1000, **fields})  # type: ignore[arg-type]
    assert str(caught.value).startswith(field)
    with pytest.raises(SAEError, match="activation = 'relu'"):
        SAEConfig(d=8, n_features=32, k=4, activation="relu")


def test_settings_must_fit_the_autoencoder() -> None:
    sae = SAEConfig(d=8, n_features=32, k=4, groups=(16, 16))
    with pytest.raises(SAEError, match="one for each of the 2 groups"):
        TrainConfig(n_tokens=10, group_weights=(1.0,)).check_against(sae)
    with pytest.raises(SAEError, match=r"k_start = 33: must be at most n_features \(32\)"):
        TrainConfig(n_tokens=10, k_start=33).check_against(sae)
    TrainConfig(n_tokens=10, group_weights=(1.0, 2.0), k_start=32).check_against(sae)


def test_fields_that_came_later_leave_older_files_alone() -> None:
    assert set(SAEConfig(d=8, n_features=32, k=4).to_dict()) == {"d", "n_features", "k", "groups", "dtype"}
    assert not {"group_weights", "prefixes", "k_start", "jumprelu_bandwidth"} & set(TrainConfig(n_tokens=9).to_dict())
    config = SAEConfig(d=8, n_features=32, k=4, activation="topk")
    assert SAEConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    train = TrainConfig(n_tokens=9, group_weights=(1.0, 2.0), prefixes="random", k_start=8)
    assert TrainConfig.from_dict(json.loads(json.dumps(train.to_dict()))) == train


def test_k_falls_linearly_and_then_stays() -> None:
    config = TrainConfig(n_tokens=1000, k_start=24, k_anneal_fraction=0.2)
    assert [config.k_at(tokens, 4) for tokens in (0, 50, 100, 200, 900)] == [24, 19, 14, 4, 4]
    assert TrainConfig(n_tokens=1000).k_at(0, 4) == 4


def test_unknown_and_missing_fields_are_refused() -> None:
    with pytest.raises(SAEError, match="unknown field 'kk'"):
        SAEConfig.from_dict({"d": 8, "n_features": 32, "k": 4, "kk": 1})
    with pytest.raises(SAEError, match="n_features"):
        SAEConfig.from_dict({"d": 8, "k": 4})


def test_a_configuration_cannot_be_changed() -> None:
    config = SAEConfig(d=8, n_features=32, k=4)
    with pytest.raises(FrozenInstanceError):
        config.k = 5  # type: ignore[misc]


def test_the_rate_rises_stays_and_falls_but_never_reaches_zero() -> None:
    config = TrainConfig(n_tokens=1000, warmup_fraction=0.1, decay_fraction=0.2)
    factors = [config.rate_factor(tokens, 50) for tokens in range(0, 1000, 50)]
    assert factors[:3] == [0.5, 1.0, 1.0]
    assert factors[-4:] == [1.0, 0.75, 0.5, 0.25]
    assert min(factors) > 0


def test_defaults_that_depend_on_size() -> None:
    config = TrainConfig(n_tokens=10**6)
    assert config.peak_rate(2**14) == pytest.approx(2e-4)
    assert config.peak_rate(2**12) == pytest.approx(4e-4)
    assert config.aux_width(64) == 32
    assert config.dead_after() == 50_000
    assert TrainConfig(n_tokens=10**10).dead_after() == 10**7
