from __future__ import annotations

import numpy as np
import pytest
import torch

from sae.config import SAEConfig
from sae.model import MatryoshkaSAE
from steering.errors import SteeringError
from steering.interventions.apply import steer
from steering.interventions.check import check_spec
from steering.interventions.kinds import Ablate, Add
from steering.interventions.spec import Direction, Gate, Intervention, Redirect, SteeringSpec, Tokens


def spec(site="language.1", feature=5, **options):
    return SteeringSpec(site, (Intervention(Ablate(), (feature,)),), **options)


def shaped(grid):
    part = Intervention(Add(1.0, shape="map"), (5,), maps=(grid,))
    return SteeringSpec("language.1", (part,), Tokens(image="frontal"))


def push(width):
    return SteeringSpec("language.1", (Intervention(Add(1.0), direction=Direction("d", (1.0,) * width)),))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (spec("language.9"), "site: tiny has no 'language.9'; it has vision.0, projector"),
        (spec(feature=64), r"interventions\[0\].features: 64; the autoencoder has features 0 … 63"),
        (spec(gate=Gate(99)), r"interventions\[0\].gate.feature: 99"),
        (spec("language.0"), "trained at language.1"),
        (spec("vision.0"), "site: vision.0 has width 8, the autoencoder 32"),
        (spec(tokens=Tokens(mask=np.ones((3, 2)))), r"tokens.mask: shape \(3, 2\), the model's patch grid is \(2, 3\)"),
        (spec(tokens=Tokens(image="side")), "tokens.image: 'side'"),
        (shaped(np.ones((2, 2))), r"interventions\[0\].maps: shape \(2, 2\)"),
        (push(31), r"interventions\[0\].direction: 31 numbers"),
        (spec(redirect=Redirect("r", (1.0, 2.0))), "redirect.vector: 2 numbers"),
    ],
)
def test_a_spec_that_does_not_fit_is_refused_before_anything_runs(model, sae, wrong, words):
    with pytest.raises(SteeringError, match=words), steer(model, sae, wrong):
        pytest.fail("the block must not be entered")
    assert all(not module._forward_hooks for module in model.sites().values())


def test_features_need_their_autoencoder(model):
    with pytest.raises(SteeringError, match="autoencoder they belong to"):
        check_spec(spec(), model, None)
    check_spec(push(32), model, None)


def test_a_feature_that_writes_nothing_is_refused(model):
    silent = MatryoshkaSAE(SAEConfig(d=32, n_features=8, k=2))
    silent.initialise(0)
    with torch.no_grad():
        silent.W_dec[5].zero_()
    with pytest.raises(SteeringError, match="feature 5 has a decoder row of zeros"):
        check_spec(spec(), model, silent)


def test_the_alias_of_a_site_is_known(model, sae):
    check_spec(spec("blocks.1.hook_resid_post"), model, sae)
