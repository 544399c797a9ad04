from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from activations.hooks import capture
from activations.models.base import ModelInputs
from activations.roles import Role, TokenTable
from steering.errors import SteeringError
from steering.interventions.apply import moved, steer
from steering.interventions.kinds import Ablate, Add, Clamp, Floor, Scale
from steering.interventions.spec import Direction, Gate, Intervention, SteeringSpec, Tokens

TOPS = dict.fromkeys(range(64), 6.0)
KINDS = [Add(0.5), Add(-1.5), Clamp(1.0), Floor(0.7), Scale(3.0), Ablate(), Add(0.3, unit="residual_norm")]


def residuals(model, inputs, site="language.1"):
    with capture(model, [site]) as recorder:
        model.forward(inputs)
    return recorder.take(site)


def with_report(inputs: ModelInputs, ids: tuple[int, ...]) -> ModelInputs:
    """A single prompt continued by report tokens, as teacher forcing would have it."""
    table = TokenTable.concatenate([inputs.tokens[0], TokenTable.text(ids, Role.REPORT)])
    ids_bt = torch.from_numpy(table.token_id.astype(np.int64))[None]
    return replace(inputs, input_ids_bt=ids_bt, attention_mask_bt=torch.ones_like(ids_bt), tokens=(table,))


@pytest.mark.parametrize("kind", [Add(0.0), Scale(1.0), Add(0.0, unit="residual_norm")])
def test_zero_strength_is_bit_identical(model, sae, studies, kind):
    inputs = model.encode_batch(studies, ["w7 w8"] * 4)
    clean = model.forward(inputs)
    with steer(model, sae, {5: kind}, tokens="all", max_activations=TOPS) as applied:
        steered = model.forward(inputs)
    assert torch.equal(clean, steered)
    assert applied.proof.total == 0
    assert applied.proof.calls == 1


def test_clamp_to_the_present_value_is_bit_identical(model, sae, study_maker):
    inputs = model.encode(study_maker(0))
    patch_d = residuals(model, inputs)[0, 4:5]  # BOS, one template word, then the patches: row 0, column 2
    acts_f = sae.encode_features(patch_d, range(64)).detach()[0]
    feature = int(acts_f.argmax())
    present = float(sae.encode_features(patch_d, [feature]).detach())
    only_this = np.zeros(model.grid)
    only_this[0, 2] = 1
    clean = model.forward(inputs)
    steered = []

    def clamp(value):
        with steer(model, sae, {feature: Clamp(value, unit="activation")}, tokens=Tokens(mask=only_this)) as applied:
            steered.append(model.forward(inputs))
        return applied

    with pytest.raises(SteeringError, match="no token was changed"):
        clamp(present)
    assert torch.equal(clean, steered[0])
    assert clamp(present + 0.5).proof.tokens == {"image": 1}
    assert not torch.equal(clean, steered[1])


def test_moved_keeps_bits_where_delta_is_zero():
    old = torch.tensor([[-0.0, 1.0, 3.0]], dtype=torch.bfloat16)
    new = moved(old, torch.tensor([[0.0, 0.0, 1.0]]))
    assert torch.equal(new.view(torch.int16)[:, :2], old.view(torch.int16)[:, :2])
    assert new[0, 2] == 4


def written_without_cache(model, sae, inputs, changes, scope, limit=8):
    """Greedy decoding, the whole text run again for every word."""
    ids: tuple[int, ...] = ()
    while len(ids) < limit:
        text = with_report(inputs, ids)
        if scope == "generated" and not ids:
            logits = model.forward(text)
        else:
            with steer(model, sae, changes, tokens=scope, max_activations=TOPS):
                logits = model.forward(text)
        best = int(logits[0, -1].argmax())
        if best == model.eos_token_id:
            break
        ids = (*ids, best)
    return ids


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scope", ["all", "generated", "prompt.text"])
def test_cached_generation_equals_recomputation_without_cache(model, sae, study_maker, kind, scope):
    changes = {(5, 9, 30): kind}
    for number in range(3):
        inputs = model.encode(study_maker(number))
        with steer(model, sae, changes, tokens=scope, max_activations=TOPS):
            cached = model.generate(inputs)[0]
        assert cached.token_ids == written_without_cache(model, sae, inputs, changes, scope)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_does_not_matter(model, sae, studies, kind):
    with steer(model, sae, {(5, 9): kind}, tokens="all", max_activations=TOPS) as applied:
        together = model.generate(model.encode_batch(studies))
    batch_proofs = applied.last
    for study, generation, (study_id, proof) in zip(studies, together, batch_proofs, strict=True):
        with steer(model, sae, {(5, 9): kind}, tokens="all", max_activations=TOPS) as alone:
            single = model.generate(model.encode(study))[0]
        assert generation == single
        assert study_id == study.study_id
        assert proof.tokens == alone.proof.tokens
        assert proof.delta_norm == pytest.approx(alone.proof.delta_norm, rel=1e-4)


def test_steering_changes_what_is_written(model, sae, studies):
    inputs = model.encode_batch(studies)
    clean = model.generate(inputs)
    with steer(model, sae, {5: Add(2.0)}, tokens="all", max_activations=TOPS):
        steered = model.generate(inputs)
    assert [g.text for g in clean] != [g.text for g in steered]
    assert [g.text for g in model.generate(inputs)] == [g.text for g in clean]


def test_pushing_toward_a_word_writes_the_word(model, studies):
    norm_d, W_U = model.unembedding()
    word = Direction("w21", tuple((W_U[21] * norm_d).tolist()))
    site = f"language.{len(model.module.language.model.layers) - 1}"
    with steer(model, None, {word: Add(30.0)}, site=site, tokens="all"):
        steered = model.generate(model.encode_batch(studies))
    assert all(set(generation.text.split()) == {"w21"} for generation in steered)


def expected_counts(inputs, generations):
    """Tokens of each role in the prompts, and the generated ones that were fed back."""
    counts: dict[str, int] = {}
    for table in inputs.tokens:
        for role in (Role.IMAGE, Role.TEMPLATE, Role.INDICATION):
            name = role.name.lower()
            counts[name] = counts.get(name, 0) + int((table.role == role).sum())
    counts["report"] = sum(len(g.token_ids) - (not g.finished) for g in generations)
    return counts


def test_proof_counts_are_exact(model, sae, studies):
    inputs = model.encode_batch(studies)
    with steer(model, sae, {5: Add(1.0)}, tokens="all", max_activations=TOPS) as applied:
        generations = model.generate(inputs)
    steps = max(len(g.token_ids) + g.finished for g in generations)
    assert applied.proof.calls == steps
    assert applied.proof.tokens == expected_counts(inputs, generations)
    # every changed token moved by 6 · 1 along a unit direction
    assert applied.proof.delta_norm == pytest.approx(6 * applied.proof.total, rel=1e-4)
    assert len({len(g.token_ids) for g in generations}) > 1, "the test wants reports of different length"


def test_proof_grows_with_every_call(model, sae, studies):
    with steer(model, sae, {5: Add(1.0)}, max_activations=TOPS) as applied:
        model.forward(model.encode(studies[0]))
        model.forward(model.encode_batch(studies[1:]))
    assert applied.proof.calls == 2
    assert applied.proof.tokens == {"image": 6 + 12 + 6 + 12}
    assert [(study, proof.tokens) for study, proof in applied.last] == [
        ("s1", {"image": 12}),
        ("s2", {"image": 6}),
        ("s3", {"image": 12}),
    ]


def test_box_mask_and_image_choose_patches(model, sae, studies):
    inputs = model.encode(studies[1])

    def touched(tokens):
        with steer(model, sae, {5: Add(1.0)}, tokens=tokens, max_activations=TOPS) as applied:
            steered = residuals(model, inputs)
        return applied.proof.total, steered

    clean = residuals(model, inputs)
    assert touched(Tokens(image="lateral"))[0] == 6
    assert touched(Tokens(box=(0, 0, 0.5, 1)))[0] == 8  # patch centres at 1/6, 1/2, 5/6: two of three columns
    count, steered = touched(Tokens(image="frontal", mask=((0, 0, 1), (1, 0, 0))))
    assert count == 2
    moved_positions = np.flatnonzero((clean != steered).any(-1)[0].numpy())
    assert moved_positions.tolist() == [4, 5]  # frontal patches start at 2: (0, 2) and (1, 0)


def test_map_weighs_every_patch(model, sae, studies):
    weights = np.array([[0, 1, 2], [3, 0, 0.5]])
    inputs = model.encode_batch(studies[:2])
    clean = residuals(model, inputs)
    with steer(model, sae, {5: Add(2.0, shape="map")}, maps={5: weights}) as applied:
        moved_btd = residuals(model, inputs) - clean
    assert applied.proof.tokens == {"image": 8}  # the frontal of both, without the zeros; no lateral
    pad = inputs.padding[0]
    frontal = moved_btd[0, pad + 2 : pad + 8]
    assert torch.allclose(frontal, 2 * torch.tensor(weights.reshape(-1, 1)).float() * sae.W_dec[5], atol=1e-5)


def test_gate_opens_where_its_feature_fires(model, sae, studies):
    inputs = model.encode_batch(studies)
    acts_bt = sae.encode_dense(residuals(model, inputs)).detach()[..., 11]
    with steer(model, sae, {5: Add(1.0)}, tokens="all", max_activations=TOPS, gate=Gate(11, above=0.5)) as applied:
        model.forward(inputs)
    real = inputs.attention_mask_bt.bool() & (inputs.input_ids_bt != 1)  # all but padding and BOS
    assert applied.proof.total == int(((acts_bt > 0.5) & real).sum())


@pytest.mark.parametrize("site", ["projector", "vision.0"])
def test_image_sites(model, studies, site):
    vector = Direction("push", tuple(np.ones(model.width(site))))
    with steer(model, None, {vector: Add(1.0)}, site=site, tokens=Tokens(image="lateral")) as applied:
        together = model.generate(model.encode_batch(studies[1:]))
    assert applied.proof.tokens == {"image": 12}
    assert [sum(proof.tokens.values()) for _, proof in applied.last] == [6, 0, 6]
    with steer(model, None, {vector: Add(1.0)}, site=site, tokens=Tokens(image="lateral")):
        assert model.generate(model.encode(studies[3]))[0] == together[2]


def test_cls_and_other_images_are_left_alone(model, studies):
    inputs = model.encode_batch(studies[1:])
    clean = residuals(model, inputs, "vision.0")
    vector = Direction("push", tuple(np.ones(8)))
    with steer(model, None, {vector: Add(1.0)}, site="vision.0", tokens=Tokens(image="lateral")):
        steered = residuals(model, inputs, "vision.0")
    changed = (clean != steered).any(-1)
    lateral = torch.tensor([False, True, False, False, True])  # frontal and lateral, frontal, frontal and lateral
    assert torch.equal(changed, lateral[:, None] & torch.tensor([False] + [True] * 6)[None])


def test_beams_are_steered_alike(model, sae, studies):
    inputs = model.encode_batch(studies)
    with steer(model, sae, {5: Add(1.0)}, tokens="all", max_activations=TOPS) as applied:
        beams = model.generate(inputs, num_beams=3)
    with steer(model, sae, {5: Add(1.0)}, tokens="all", max_activations=TOPS):
        alone = [model.generate(model.encode(study), num_beams=3)[0] for study in studies]
    assert [g.token_ids for g in beams] == [g.token_ids for g in alone]
    prompt = expected_counts(inputs, beams)
    assert applied.proof.tokens["image"] == 3 * prompt["image"]


def test_steering_two_sites_at_once(model, sae, studies):
    inputs = model.encode_batch(studies)
    vector = Direction("push", tuple(np.arange(32.0)))
    with (
        steer(model, sae, {5: Add(1.0)}, max_activations=TOPS) as first,
        steer(model, None, {vector: Add(1.0)}, site="language.0", tokens="prompt.text") as second,
    ):
        model.generate(inputs)
    assert set(first.proof.tokens) == {"image"}
    assert set(second.proof.tokens) == {"template", "indication"}
    assert "generate" not in vars(model)


class BoomError(Exception):
    pass


def test_hooks_are_removed_after_an_exception(model, sae, studies):
    inputs = model.encode_batch(studies)
    clean = model.forward(inputs)
    with pytest.raises(BoomError), steer(model, sae, {5: Add(1.0)}, max_activations=TOPS):
        raise BoomError
    assert not model.sites()["language.1"]._forward_hooks
    assert not {"generate", "forward"} & set(vars(model))
    assert torch.equal(model.forward(inputs), clean)


def refused(model, sae, run, **options):
    with pytest.raises(SteeringError) as error, steer(model, sae, {5: Add(1.0)}, max_activations=TOPS, **options):
        run()
    assert not model.sites()["language.1"]._forward_hooks
    return str(error.value)


def test_what_cannot_be_proven_is_an_error(model, sae, studies):
    inputs = model.encode_batch(studies)
    assert "the hook never ran" in refused(model, sae, lambda: None)
    assert "none of the tokens" in refused(model, sae, lambda: model.forward(inputs), tokens="generated")
    embeds = model.module.embeds(inputs)
    assert "model.generate or model.forward" in refused(model, sae, lambda: model.module.language(inputs_embeds=embeds))


def test_a_gate_that_never_opens_is_an_error(model, sae, studies):
    message = refused(model, sae, lambda: model.forward(model.encode(studies[0])), gate=Gate(11, above=1e9))
    assert "no token was changed" in message


def test_a_change_lost_in_rounding_is_an_error(model, sae, studies):
    spec = SteeringSpec("language.1", (Intervention(Add(1e-12, unit="activation"), (5,)),))
    with pytest.raises(SteeringError, match="lost in rounding"), steer(model, sae, spec):
        model.forward(model.encode(studies[0]))


def test_a_strength_that_overflows_is_an_error(model, sae, studies):
    spec = SteeringSpec("language.1", (Intervention(Add(1e39, unit="activation"), (5,)),))
    with pytest.raises(SteeringError, match="not finite"), steer(model, sae, spec):
        model.forward(model.encode(studies[0]))


def test_a_spec_leaves_no_room_for_options(model, sae):
    spec = SteeringSpec("language.1", (Intervention(Add(1.0, unit="activation"), (5,)),))
    with pytest.raises(SteeringError, match="leave the other arguments out"), steer(model, sae, spec, tokens="all"):
        pass
