from __future__ import annotations

import pytest

from steering.errors import SteeringError
from steering.interventions.autoencoders import autoencoders_for
from steering.interventions.kinds import Ablate, Add
from steering.interventions.spec import Direction, Gate, Intervention, SteeringSpec

BOTH = SteeringSpec("language.1", (Intervention(Ablate(), (5,)), Intervention(Ablate(), (7,), site="language.2")))


def test_an_autoencoder_a_site(sae):
    assert autoencoders_for(BOTH, {"blocks.1.hook_resid_post": sae, "language.2": sae}) == {
        "language.1": sae,
        "language.2": sae,
    }
    alone = SteeringSpec("language.1", (Intervention(Add(1.0), direction=Direction("d", (1.0,))),))
    assert autoencoders_for(alone, None) == {}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (lambda sae: None, r"interventions\[0\].features: .* autoencoder they belong to"),
        (lambda sae: sae, r"interventions\[1\].features: .* give one a site"),
        (
            lambda sae: {"language.1": sae},
            r"interventions\[1\].features: no autoencoder for site language.2; given are \['language.1'\]",
        ),
    ],
)
def test_a_missing_one_is_named(sae, given, words):
    with pytest.raises(SteeringError, match=words):
        autoencoders_for(BOTH, given(sae))


def test_a_gate_needs_one_too(sae):
    push = Intervention(Add(1.0), direction=Direction("d", (1.0,)), gate=Gate(3))
    with pytest.raises(SteeringError, match=r"interventions\[0\].gate.feature"):
        autoencoders_for(SteeringSpec("language.1", (push,)), None)
