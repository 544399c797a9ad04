"""The laws once more on the architecture that ships: encoder, projector, decoder with a reading depth."""

from __future__ import annotations

import pytest
import torch

from activations.models import open_model
from activations.roles import Role
from radiology.phantom.cases import phantom_study
from sae.config import SAEConfig
from sae.model import MatryoshkaSAE
from steering.interventions.apply import steer
from steering.interventions.kinds import Add, Scale
from steering.interventions.spec import Direction
from steering.reading import phantom_reader, reader_for
from steering.tracing.pairs import phantom_pairs
from steering.tracing.trace import trace

TOPS = {5: 8.0}


@pytest.fixture(scope="module")
def phantom():
    return open_model("phantom:random")


@pytest.fixture(scope="module")
def phantom_sae(phantom):
    autoencoder = MatryoshkaSAE(SAEConfig(d=phantom.width("language.2"), n_features=256, k=8))
    autoencoder.initialise(0)
    return autoencoder


@pytest.fixture(scope="module")
def some():
    """One, two and three images: prompts of very different length."""
    studies = [phantom_study(0, index) for index in range(12)]
    return [next(study for study in studies if len(study.images) == n) for n in (1, 2, 3)]


def test_batch_equals_single_and_counts_are_exact(phantom, phantom_sae, some):
    inputs = phantom.encode_batch(some)
    options = {"site": "language.2", "tokens": "all", "max_activations": TOPS}
    with steer(phantom, phantom_sae, {5: Add(1.0)}, **options) as applied:
        together = phantom.generate(inputs, max_new_tokens=5)
    for i, study in enumerate(some):
        with steer(phantom, phantom_sae, {5: Add(1.0)}, **options) as alone:
            single = phantom.generate(phantom.encode(study), max_new_tokens=5)
        assert single[0] == together[i]
        assert alone.proof.tokens == applied.last[i][1].tokens
        assert alone.proof.tokens["image"] == 100 * len(study.images)
        table = inputs.tokens[i]
        assert alone.proof.tokens["template"] == int((table.role == Role.TEMPLATE).sum())
        assert alone.proof.tokens["report"] == len(single[0].token_ids) - (not single[0].finished)


@pytest.mark.parametrize("site", ["vision.1", "projector"])
def test_image_sites(phantom, some, site):
    vector = Direction("push", (1.0,) * phantom.width(site))
    inputs = phantom.encode_batch(some)
    clean = phantom.forward(inputs)
    with steer(phantom, None, {vector: Add(1.0)}, site=site) as applied:
        steered = phantom.forward(inputs)
    assert applied.proof.tokens == {"image": 600}
    assert not torch.equal(clean, steered)


def test_zero_strength_is_bit_identical(phantom, phantom_sae, some):
    inputs = phantom.encode_batch(some)
    with steer(phantom, phantom_sae, {5: Scale(1.0)}, site="language.2", tokens="all"):
        steered = phantom.forward(inputs)
    assert torch.equal(phantom.forward(inputs), steered)


def test_a_random_model_has_nothing_to_trace(phantom):
    table = trace(
        phantom, phantom_pairs(["cardiomegaly"], 2), sites=["projector", "language.2"], scopes=["prompt.image"]
    )
    assert (table.n == 2).all()
    assert (table.skipped == 0).all()
    assert table.effect.isna().all()


def test_phantoms_are_read_by_their_grammar(phantom):
    assert reader_for(phantom) is phantom_reader
