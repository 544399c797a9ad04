from __future__ import annotations

import numpy as np
import pytest
import torch

from sae.config import SAEConfig
from sae.model import MatryoshkaSAE
from steering.errors import SteeringError
from steering.interventions.directions import (
    PARALLEL,
    decoder_direction,
    difference_of_means,
    equal_rate_feature,
    group_direction,
    random_direction,
)


def test_decoder_and_group_directions(sae):
    assert np.allclose(decoder_direction(sae, 5, 3.0).vector, 3 * sae.W_dec[5].detach().numpy(), atol=1e-6)
    both = group_direction(sae, [5, 9], [1.0, 2.0]).vector
    assert np.allclose(both, (sae.W_dec[5] + 2 * sae.W_dec[9]).detach().numpy(), atol=1e-5)


def test_random_directions_are_seeded_and_of_the_asked_length():
    first = np.array(random_direction(64, 1, length=7.0).vector)
    assert np.linalg.norm(first) == pytest.approx(7.0)
    assert (first == random_direction(64, 1, length=7.0).vector).all()
    assert abs(first @ random_direction(64, 2).vector) / 7 < 0.5


def test_difference_of_means():
    positive, negative = torch.tensor([[1.0, 2], [3, 2]]), torch.tensor([[1.0, 0]])
    assert difference_of_means(positive, negative, "x").vector == (1.0, 2.0)
    with pytest.raises(SteeringError, match="0 negative rows"):
        difference_of_means(positive, negative[:0], "x")
    with pytest.raises(SteeringError, match="not zero"):
        difference_of_means(positive, positive, "x")


@pytest.fixture
def orthogonal():
    """Features 0 … 3 orthogonal, 4 parallel to 0, 5 writes nothing."""
    autoencoder = MatryoshkaSAE(SAEConfig(d=4, n_features=6, k=2))
    with torch.no_grad():
        autoencoder.W_dec[:4] = torch.eye(4)
        autoencoder.W_dec[4] = torch.tensor([1.0, 0, 0, 0])
    return autoencoder


def test_the_feature_of_nearest_rate(orthogonal):
    rates = np.array([0.1, 0.5, 0.09, 0.0, 0.1, 0.1])
    assert equal_rate_feature(orthogonal, 0, rates) == 2  # 3 is silent, 4 is parallel, 5 writes nothing
    assert equal_rate_feature(orthogonal, 0, rates, exclude=[2]) == 1


def test_no_control_is_an_error(orthogonal):
    with pytest.raises(SteeringError, match="never fires"):
        equal_rate_feature(orthogonal, 3, np.array([0.1, 0.5, 0.09, 0.0, 0.1, 0.1]))
    with pytest.raises(SteeringError, match="no other live feature"):
        equal_rate_feature(orthogonal, 0, np.array([0.1, 0, 0, 0, 0.1, 0.1]))
    with pytest.raises(SteeringError, match="shape"):
        equal_rate_feature(orthogonal, 0, np.ones(5))


def test_a_control_is_never_nearly_parallel(sae):
    rates = np.random.default_rng(0).uniform(0.01, 0.5, 64)
    rows = sae.W_dec.detach()
    for feature in range(64):
        control = equal_rate_feature(sae, feature, rates)
        assert abs(float(rows[feature] @ rows[control])) < PARALLEL
