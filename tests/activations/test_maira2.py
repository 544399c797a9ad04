"""MAIRA-2's architecture: the details that others got wrong are laws here."""

from __future__ import annotations

from math import prod

import pytest
import torch
from transformers import Dinov2Backbone, Dinov2Config, LlamaConfig

from activations.models.maira2 import Maira2Config, Maira2ForConditionalGeneration
from activations.models.maira2_model import KEY_RULES
from radiology.errors import InputError
from tests.activations.standin import published_shapes

IMAGE = 3
PATCHES = 4


def tiny(image_read_from: int = 0) -> Maira2ForConditionalGeneration:
    vision = Dinov2Config(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
        out_features=["stage2"],
        apply_layernorm=True,
        reshape_hidden_states=True,
    )
    text = LlamaConfig(
        vocab_size=40,
        hidden_size=24,
        intermediate_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        rope_parameters={"rope_type": "linear", "factor": 1.5, "rope_theta": 10_000.0},
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    torch.manual_seed(0)
    config = Maira2Config(vision, text, image_token_index=IMAGE, image_read_from=image_read_from)
    return Maira2ForConditionalGeneration(config).eval()


def prompt(text_before: int = 3, text_after: int = 6, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    words = torch.randint(5, 40, (text_before + text_after,), generator=generator)
    ids = torch.cat([words[:text_before], torch.full((PATCHES,), IMAGE), words[text_before:]])[None]
    return ids, torch.randn(1, 3, 28, 28, generator=generator)


def residuals(model: Maira2ForConditionalGeneration, ids: torch.Tensor, pixels: torch.Tensor) -> list[torch.Tensor]:
    kept: list[torch.Tensor] = []
    handles = [
        block.register_forward_hook(lambda _m, _a, output: kept.append(output.detach()))
        for block in model.language_model.model.layers
    ]
    with torch.no_grad():
        model(ids, pixels)
    for handle in handles:
        handle.remove()
    return kept


def test_the_encoder_feature_is_the_normalised_last_layer_without_cls() -> None:
    model = tiny()
    _, pixels = prompt()
    tower = model.vision_tower
    assert isinstance(tower, Dinov2Backbone)
    with torch.no_grad():
        last_npd = tower(pixels, output_hidden_states=True).hidden_states[-1]
        by_hand = tower.layernorm(last_npd)[:, 1:]
        torch.testing.assert_close(model.image_features(pixels), by_hand)
        assert (model.image_features(pixels) - last_npd[:, 1:]).abs().max() > 1e-3


def test_logits_equal_the_parts_put_together_by_hand() -> None:
    model = tiny()
    ids, pixels = prompt()
    with torch.no_grad():
        projected = model.image_features(pixels)
        for layer in model.multi_modal_projector.layers:
            projected = layer(projected)
        embeds = model.language_model.model.embed_tokens(ids)
        embeds[:, 3 : 3 + PATCHES] = projected
        by_hand = model.language_model(inputs_embeds=embeds, attention_mask=torch.ones_like(ids)).logits
        torch.testing.assert_close(model(ids, pixels).logits, by_hand, atol=1e-5, rtol=1e-5)


def test_parameters_carry_the_published_names() -> None:
    names = set(tiny().state_dict())
    linear = [n for n in names if n.startswith("multi_modal_projector.layers.") and n.endswith("weight")]
    assert sorted(linear) == [f"multi_modal_projector.layers.{i}.weight" for i in (0, 2, 4, 6)]
    assert "language_model.model.embed_tokens.weight" in names
    assert "language_model.lm_head.weight" in names
    assert "vision_tower.embeddings.cls_token" in names
    assert all(n.split(".")[0] in ("vision_tower", "multi_modal_projector", "language_model") for n in names)


def full_size() -> Maira2ForConditionalGeneration:
    vision = Dinov2Config(image_size=518, patch_size=14, out_features=["stage12"])
    text = LlamaConfig(
        vocab_size=32_207,
        hidden_size=4096,
        intermediate_size=11_008,
        num_hidden_layers=32,
        num_attention_heads=32,
        tie_word_embeddings=False,
    )
    with torch.device("meta"):
        return Maira2ForConditionalGeneration(Maira2Config(vision, text))


def test_full_size_has_the_published_names_shapes_and_parameter_count() -> None:
    own = {name: tuple(value.shape) for name, value in full_size().state_dict().items()}
    published = published_shapes(
        {"hidden_size": 768, "patch_size": 14, "mlp_ratio": 4, "image_size": 518, "num_hidden_layers": 12},
        {"hidden_size": 4096, "intermediate_size": 11_008, "num_hidden_layers": 32, "vocab_size": 32_207},
    )
    assert {KEY_RULES.name(name, own): shape for name, shape in published.items()} == own
    assert len(published) == len(own) == 522
    assert sum(prod(shape) for shape in own.values()) == 6_880_185_600  # 27.5 GB in float32


def test_rope_frequencies_of_old_checkpoints_are_passed_over() -> None:
    for name in ("rotary_emb.inv_freq", "layers.31.self_attn.rotary_emb.inv_freq"):
        assert KEY_RULES.name(f"language_model.model.{name}", {}) is None
    assert KEY_RULES.name("language_model.model.layers.0.rotary_emb.weight", {}) is not None


def test_rope_is_linear_by_one_and_a_half() -> None:
    rotary = tiny().language_model.model.rotary_emb
    exponents = torch.arange(0, 12, 2).float() / 12
    torch.testing.assert_close(rotary.inv_freq, 1 / 10_000**exponents / 1.5)


def test_text_does_not_see_the_image_before_the_bar_opens() -> None:
    model = tiny(image_read_from=2)
    ids, pixels = prompt()
    _, other = prompt(seed=1)
    after = slice(3 + PATCHES, None)
    differences = [
        (a[:, after] - b[:, after]).abs().max().item()
        for a, b in zip(residuals(model, ids, pixels), residuals(model, ids, other), strict=True)
    ]
    assert differences[0] == differences[1] == 0.0
    assert differences[2] > 1e-4
    assert differences[3] > 1e-4


@pytest.mark.parametrize("read_from", [0, 2])
def test_cached_generation_equals_recomputation(read_from: int) -> None:
    model = tiny(read_from)
    ids, pixels = prompt()
    with torch.no_grad():
        cached = model.generate(
            ids,
            pixel_values=pixels,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=8,
            do_sample=False,
            eos_token_id=None,
        )
        whole = ids
        for _ in range(8):
            whole = torch.cat([whole, model(whole, pixels).logits[:, -1:].argmax(-1)], dim=1)
    assert torch.equal(cached, whole)


@pytest.mark.parametrize("read_from", [0, 2])
def test_left_padding_changes_nothing(read_from: int) -> None:
    model = tiny(read_from)
    ids, pixels = prompt()
    padded = torch.nn.functional.pad(ids, (5, 0), value=0)
    with torch.no_grad():
        alone = model(ids, pixels).logits
        beside = model(padded, pixels, attention_mask=(padded != 0).long()).logits[:, 5:]
    torch.testing.assert_close(alone, beside, atol=1e-5, rtol=1e-5)


def test_beams_of_a_prompt_with_two_images_see_both_in_order() -> None:
    model = tiny()
    ids, first = prompt()
    _, second = prompt(seed=1)
    two_ids = torch.cat([ids[:, : 3 + PATCHES], torch.full((1, PATCHES), IMAGE), ids[:, 3 + PATCHES :]], dim=1)
    batch = torch.cat([two_ids, two_ids])
    pixels = torch.cat([first, second, second, first])  # the second prompt has the images the other way round

    def beams(ids: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return model.generate(
                ids,
                pixel_values=pixels,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=5,
                num_beams=3,
                do_sample=False,
                eos_token_id=None,
            )

    together = beams(batch, pixels)
    assert torch.equal(together[:1], beams(two_ids, pixels[:2]))
    assert torch.equal(together[1:], beams(two_ids, pixels[2:]))
    expanded, kwargs = model._expand_inputs_for_generation(2, input_ids=batch, pixel_values=pixels)
    assert len(expanded) == 4
    assert torch.equal(kwargs["pixel_values"], torch.cat([first, second, first, second, second, first, second, first]))


def test_a_prompt_with_too_few_image_tokens_is_refused() -> None:
    model = tiny()
    ids, pixels = prompt()
    with pytest.raises(InputError, match="4 <image> tokens for 8 patches"):
        model(ids, torch.cat([pixels, pixels]))


def test_a_bar_beyond_the_blocks_is_refused() -> None:
    with pytest.raises(InputError, match="image_read_from=5"):
        tiny(image_read_from=5)
