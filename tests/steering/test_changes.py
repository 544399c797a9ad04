"""Laws of steered passes: nothing asked, nothing changed; several sites; beams, sampling, exceptions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from activations.hooks import capture
from sae.config import SAEConfig
from sae.model import MatryoshkaSAE
from steering.errors import SteeringError
from steering.interventions.apply import steer
from steering.interventions.kinds import Add, Clamp, Floor, Scale
from steering.interventions.spec import Direction, Gate, Intervention, Redirect, Schedule, SteeringSpec, Tokens
from steering.interventions.targets import combine

UNITS = st.sampled_from(["max_activation", "residual_norm", "activation"])
NOTHING = st.one_of(st.builds(Add, st.just(0.0), UNITS), st.just(Scale(1.0)))
MAP = np.array([[0, 1, 2], [3, 0, 0.5]])


@pytest.fixture(scope="module")
def late():
    autoencoder = MatryoshkaSAE(SAEConfig(d=32, n_features=48, k=8), extra={"site": "language.2"})
    autoencoder.initialise(4)
    return autoencoder


def push(length=1.0, width=32):
    return Direction("push", tuple((length * np.linspace(-1, 1, width)).tolist()))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=NOTHING,
    shape=st.sampled_from(["uniform", "map", "mask"]),
    scope=st.sampled_from(["all", "prompt.image", "prompt.text", "generated"]),
    condition=st.sampled_from([{}, {"gate": Gate("own", 0.1)}, {"gate": Gate(3, negate=True)}]),
    rows=st.lists(st.integers(0, 3), min_size=1, max_size=3, unique=True),
)
def test_asking_for_nothing_is_bit_identical(model, sae, studies, kind, shape, scope, condition, rows):
    shaped = shape != "uniform" and isinstance(kind, Add)
    if shaped:
        kind = Add(0.0, kind.unit, shape)
    part = Intervention(
        kind,
        (5, 9),
        max_activations=(6.0, 7.0),
        maps=(MAP, MAP) if shaped and shape == "map" else (),
        mask=MAP / 3 if shaped and shape == "mask" else None,
    )
    spec = SteeringSpec("language.1", (part,), Tokens(image="frontal") if shaped else Tokens(scope), **condition)
    inputs = model.encode_batch([studies[row] for row in rows], ["w7 w8 w9"] * len(rows))
    with steer(model, sae, spec) as applied:
        steered = model.forward(inputs)
    assert torch.equal(model.forward(inputs), steered)
    assert applied.proof.total == 0


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(feature=st.integers(0, 63), number=st.integers(0, 3), kind=st.sampled_from([Clamp, Floor]))
def test_setting_what_is_there_is_bit_identical(model, sae, studies, feature, number, kind):
    """Clamp to the present value, at the one patch whose value it is."""
    inputs = model.encode(studies[number])
    with capture(model, ["language.1"]) as recorder:
        clean = model.forward(inputs)
    h_1d = recorder.take("language.1")[0, 2:3]  # BOS, one template word, the first patch of the frontal
    present = float(sae.encode_features(h_1d, [feature]).detach())
    only = np.zeros(model.grid)
    only[0, 0] = 1
    part = Intervention(kind(present, unit="activation"), (feature,))
    spec = SteeringSpec("language.1", (part,), Tokens(image="frontal", mask=only))
    steered = []
    with pytest.raises(SteeringError, match="no token was changed"), steer(model, sae, spec):
        steered.append(model.forward(inputs))
    assert torch.equal(clean, steered[0])


def test_sampling_at_zero_strength_draws_the_same_words(model, sae, studies):
    inputs = model.encode_batch(studies)

    def sampled():
        torch.manual_seed(7)
        return model.generate(inputs, do_sample=True)

    with torch.random.fork_rng(devices=[]):
        clean = sampled()
        with steer(model, sae, {5: Add(0.0, unit="activation")}, tokens="all"):
            zero = sampled()
        with steer(model, sae, {5: Add(9.0, unit="activation")}, tokens="all"):
            pushed = sampled()
    assert zero == clean != pushed


def test_a_later_site_sees_what_an_earlier_one_did(model, sae, late, studies):
    inputs = model.encode_batch(studies, ["w7 w8"] * 4)
    spec = SteeringSpec(
        "language.2",
        (
            Intervention(Clamp(3.0, unit="activation"), (7,), tokens=Tokens("all")),
            Intervention(Add(0.5), direction=push(), site="projector"),
            Intervention(Add(2.0, unit="activation"), (5,), site="language.1", tokens=Tokens("prompt.text")),
        ),
    )
    assert list(spec.by_site) == ["projector", "language.1", "language.2"]
    with steer(model, {"language.1": sae, "language.2": late}, spec) as applied:
        together = model.forward(inputs)
    assert applied.proofs["projector"].tokens == {"image": 36}
    assert set(applied.proofs["language.1"].tokens) == {"template", "indication"}
    assert set(applied.proofs["language.2"].tokens) == {"image", "template", "indication", "report"}
    assert applied.proof.total == sum(proof.total for proof in applied.proofs.values())
    assert applied.proof.to_json()["sites"][0]["site"] == "projector"
    with (
        steer(model, late, {7: Clamp(3.0, unit="activation")}, tokens="all"),
        steer(model, sae, {5: Add(2.0, unit="activation")}, tokens="prompt.text"),
        steer(model, None, {push(): Add(0.5)}, site="projector"),
    ):
        nested = model.forward(inputs)
    assert torch.equal(together, nested)


def test_combined_specs_keep_what_is_theirs(model, sae, studies):
    first = SteeringSpec("language.0", (Intervention(Add(1.0), direction=push()),), Tokens("prompt.text"))
    second = SteeringSpec(
        "language.1",
        (Intervention(Add(1.0, unit="activation"), (5,)),),
        Tokens("generated"),
        schedule=Schedule(stop=2),
    )
    both = combine(first, second)
    assert both.resolved == (*first.resolved, *second.resolved)
    with steer(model, sae, both) as applied:
        written = model.generate(model.encode_batch(studies))
    fed = [len(one.token_ids) - (not one.finished) for one in written]
    assert applied.proofs["language.1"].tokens == {"report": sum(min(count, 2) for count in fed)}
    with pytest.raises(SteeringError, match="redirect"):
        combine(SteeringSpec("language.0", first.interventions, redirect=Redirect("back")))


def test_a_redirect_a_site(model, sae, studies):
    spec = SteeringSpec(
        "language.1",
        (
            Intervention(Add(1.0), direction=push(1.0, 8), site="vision.0"),
            Intervention(Add(2.0, unit="activation"), (5,)),
        ),
        redirect=Redirect("random", vectors={"vision.0": (1.0,) * 8, "language.1": (1.0,) * 32}),
    )
    with steer(model, sae, spec) as applied:
        model.forward(model.encode_batch(studies))
    assert applied.proofs["language.1"].delta_norm == pytest.approx(2 * 36, rel=1e-4)
    with pytest.raises(SteeringError, match=r"redirect\.vectors: none for site language\.1"):
        SteeringSpec(
            "language.1", spec.interventions, redirect=Redirect("r", vectors={"vision.0": (1.0,)})
        ).redirect.at("language.1")


def test_a_decay_scales_the_change(model, sae, studies):
    inputs = model.encode(studies[0], "w7 w8 w9 w10")
    with steer(model, sae, {5: Add(2.0, unit="activation")}, tokens="generated", schedule=Schedule(decay=2)) as applied:
        model.forward(inputs)
    assert applied.proof.tokens == {"report": 2}
    assert applied.proof.delta_norm == pytest.approx(2 + 1, rel=1e-4)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_everything_is_taken_back_after_an_interruption(model, sae, late, studies, error):
    spec = SteeringSpec(
        "language.1",
        (
            Intervention(Add(1.0, unit="activation"), (5,)),
            Intervention(Add(1.0, unit="activation"), (7,), site="language.2"),
        ),
        Tokens("all", words=("w9",)),
    )

    def interrupted():
        with steer(model, {"language.1": sae, "language.2": late}, spec):
            model.generate(model.encode_batch(studies))
            raise error

    with pytest.raises(error):
        interrupted()
    assert all(not module._forward_hooks for module in model.sites().values())
    assert not {"generate", "forward"} & set(vars(model))
    assert "prepare_inputs_for_generation" not in vars(model.module.language)


def test_an_intervention_without_its_tokens_is_an_error(model, sae, studies):
    spec = SteeringSpec(
        "language.1",
        (
            Intervention(Add(1.0, unit="activation"), (5,)),
            Intervention(Add(1.0, unit="activation"), (9,), tokens=Tokens("prompt.text", words=("w1",))),
        ),
    )
    with pytest.raises(SteeringError, match="intervention 1 of this site found no token"), steer(model, sae, spec):
        model.forward(model.encode_batch(studies))
