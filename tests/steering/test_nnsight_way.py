"""nnsight applies the same spec to the same effect, on the architecture that ships."""

from __future__ import annotations

import pytest
import torch

from activations.models import open_model
from radiology.phantom.cases import phantom_study
from sae.config import SAEConfig
from sae.model import MatryoshkaSAE
from steering.errors import SteeringError
from steering.interventions.apply import steer
from steering.interventions.kinds import Add, Clamp
from steering.interventions.nnsight_way import steer_with_nnsight
from steering.interventions.spec import Direction, Intervention, Schedule, SteeringSpec, Tokens


@pytest.fixture(scope="module")
def phantom():
    return open_model("phantom")


@pytest.fixture(scope="module")
def view(phantom):
    return phantom.nnsight()


@pytest.fixture(scope="module")
def inputs(phantom):
    return phantom.encode_batch([phantom_study(0, index) for index in (0, 1, 4)])


@pytest.fixture(scope="module")
def saes():
    made = {}
    for seed, site in enumerate(("language.2", "language.4")):
        made[site] = MatryoshkaSAE(SAEConfig(d=128, n_features=256, k=8), extra={"site": site})
        made[site].initialise(seed)
    return made


def spec():
    push = Direction("push", tuple(torch.linspace(-1, 1, 128).tolist()))
    return SteeringSpec(
        "language.2",
        (
            Intervention(Add(0.2), direction=push, site="projector"),
            Intervention(Clamp(20.0, unit="activation"), (5, 7), tokens=Tokens("all")),
            Intervention(
                Add(0.3, unit="residual_norm"), (9,), site="language.4", tokens=Tokens("generated", words=("the", "is"))
            ),
        ),
    )


@pytest.mark.parametrize("beams", [1, 2])
def test_the_same_text_and_the_same_proof(phantom, view, inputs, saes, beams):
    options = {"max_new_tokens": 6, "num_beams": beams}
    spec_here = spec() if beams == 1 else SteeringSpec("language.2", spec().interventions[1:])
    with steer(phantom, saes, spec_here) as by_hooks:
        hooked = phantom.generate(inputs, **options)
    with steer_with_nnsight(phantom, saes, spec_here, view=view) as by_nnsight:
        traced = phantom.generate(inputs, **options)
    assert traced == hooked
    assert by_nnsight.proofs == by_hooks.proofs
    assert by_nnsight.last == by_hooks.last
    assert traced != phantom.generate(inputs, **options)
    assert not {"generate", "forward"} & set(vars(phantom))


def test_forward_is_equal_to_the_bit(phantom, view, inputs, saes):
    changes = {5: Add(3.0, unit="activation")}
    with steer(phantom, saes["language.2"], changes):
        hooked = phantom.forward(inputs)
    with steer_with_nnsight(phantom, saes["language.2"], changes, view=view):
        traced = phantom.forward(inputs)
    assert torch.equal(hooked, traced)
    assert not torch.equal(hooked, phantom.forward(inputs))


def test_errors_come_through_and_nothing_stays(phantom, view, inputs, saes):
    with (
        pytest.raises(SteeringError, match="not finite"),
        steer_with_nnsight(phantom, saes["language.2"], {5: Add(1e39, unit="activation")}, view=view),
    ):
        phantom.generate(inputs, max_new_tokens=2)
    with (
        pytest.raises(SteeringError, match="found no token"),
        steer_with_nnsight(
            phantom,
            saes["language.2"],
            {5: Add(1.0, unit="activation")},
            tokens="generated",
            schedule=Schedule(start=50),
            view=view,
        ),
    ):
        phantom.generate(inputs, max_new_tokens=2)
    assert not {"generate", "forward"} & set(vars(phantom))
    with (
        pytest.raises(SteeringError, match="unknown argument 'layer'"),
        steer_with_nnsight(phantom, None, {5: Add(1.0)}, layer=3),
    ):
        pass
