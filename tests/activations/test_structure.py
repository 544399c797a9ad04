"""Parts of a model are found by how it is built, and what is not found is refused with the module tree."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import (
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPModel,
    Dinov2Config,
    Dinov2Model,
    FalconConfig,
    FalconForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PaliGemmaConfig,
    PaliGemmaForConditionalGeneration,
    Phi3Config,
    Phi3ForCausalLM,
    Qwen3NextConfig,
    Qwen3NextForCausalLM,
    ViTConfig,
    ViTModel,
)

from activations.models.general import open_general
from activations.models.structure import Parts, encoder_of, find_parts, module_tree
from radiology.errors import InputError
from tests.activations.tiny_models import CAUSAL, ENCODERS, VISION_LANGUAGE

_SMALL = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "vocab_size": 40}
_EVEN_SMALLER = {
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}


def counts(parts: Parts) -> tuple[int, int]:
    return len(parts.language_blocks), len(parts.vision_blocks)


@pytest.mark.parametrize("family", [*VISION_LANGUAGE, *CAUSAL, *ENCODERS])
def test_saved_models_have_their_blocks(family: str, tmp_path: Path) -> None:
    parts = open_general(str((VISION_LANGUAGE | CAUSAL | ENCODERS)[family](tmp_path))).parts  # type: ignore[attr-defined]
    assert counts(parts) == ((3 if family not in ENCODERS else 0), (2 if family not in CAUSAL else 0))
    assert (parts.head is not None) == (parts.final_norm is not None) == (family not in ENCODERS)


@pytest.mark.parametrize(
    ("model_class", "config"),
    [
        (OPTForCausalLM, OPTConfig(**_SMALL, ffn_dim=16, word_embed_proj_dim=16)),
        (GPTNeoXForCausalLM, GPTNeoXConfig(**_SMALL, intermediate_size=16)),
        (FalconForCausalLM, FalconConfig(**_SMALL)),
        (Phi3ForCausalLM, Phi3Config(**_SMALL, intermediate_size=16, pad_token_id=0)),
        (
            Qwen3NextForCausalLM,
            Qwen3NextConfig(**_SMALL, intermediate_size=16, num_experts=0, head_dim=8, num_key_value_heads=1),
        ),
    ],
    ids=["opt", "gpt-neox", "falcon", "phi3", "qwen3-next"],
)
def test_decoders_of_other_families_are_found(model_class: type, config: object) -> None:
    with torch.device("meta"):
        module = model_class(config)
    parts = find_parts(module, "x")
    assert counts(parts) == (3, 0)
    assert parts.token_embedding is module.get_input_embeddings()
    assert parts.head is module.get_output_embeddings()
    assert parts.final_norm is not None
    assert parts.projector is None


def test_projector_of_another_family_is_found() -> None:
    vision = {**_EVEN_SMALLER, "intermediate_size": 16, "model_type": "siglip_vision_model"}
    text = {**_SMALL, "intermediate_size": 16, "num_key_value_heads": 2, "head_dim": 8, "model_type": "gemma"}
    with torch.device("meta"):
        module = PaliGemmaForConditionalGeneration(PaliGemmaConfig(vision_config=vision, text_config=text))
    parts = find_parts(module, "x")
    assert counts(parts) == (3, 2)
    assert type(parts.projector).__name__ == "PaliGemmaMultiModalProjector"


def test_a_single_layer_between_encoder_and_decoder_is_a_projector() -> None:
    class Joined(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.vision = Dinov2Model(Dinov2Config(**_EVEN_SMALLER))
            self.bridge = nn.Linear(12, 16)
            self.language = OPTForCausalLM(OPTConfig(**_SMALL, ffn_dim=16, word_embed_proj_dim=16))

        def get_input_embeddings(self) -> nn.Module:
            return self.language.get_input_embeddings()

        def get_output_embeddings(self) -> nn.Module:
            return self.language.get_output_embeddings()

    with torch.device("meta"):
        module = Joined()
    parts = find_parts(module, "x")
    assert parts.projector is module.bridge
    assert counts(parts) == (3, 2)


def test_a_model_without_blocks_is_refused_with_its_tree() -> None:
    with pytest.raises(InputError, match=r"model 'flat': no blocks found[\s\S]*0: Linear\n1: ReLU"):
        find_parts(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), "flat")


def test_two_lists_that_could_be_the_blocks_are_refused_with_the_tree() -> None:
    class Twofold(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(5, 4)
            self.first = nn.ModuleList(nn.MultiheadAttention(4, 1) for _ in range(2))
            self.second = nn.ModuleList(nn.MultiheadAttention(4, 1) for _ in range(2))

        def get_input_embeddings(self) -> nn.Module:
            return self.words

    with pytest.raises(InputError, match=r"first, second could all be its blocks[\s\S]*second: ModuleList"):
        find_parts(Twofold(), "x")


def test_tree_shows_one_of_equal_blocks() -> None:
    tree = module_tree(nn.ModuleList(nn.Linear(1, 1) for _ in range(7)))
    assert tree == "0: Linear × 7"


def test_image_half_of_a_dual_encoder_is_found() -> None:
    config = CLIPConfig(
        vision_config={**_EVEN_SMALLER, "intermediate_size": 8}, text_config={**_SMALL, "intermediate_size": 8}
    )
    with torch.device("meta"):
        module, whole = CLIPModel(config), ViTModel(ViTConfig(**_EVEN_SMALLER, intermediate_size=8))
        words = BertModel(BertConfig(**_SMALL, intermediate_size=8))
    half = encoder_of(module, "clip")
    assert counts(find_parts(half, "clip")) == (0, 2)
    assert encoder_of(whole, "vit") is whole
    with pytest.raises(InputError, match=r"no image encoder found[\s\S]*embeddings: BertEmbeddings"):
        encoder_of(words, "bert")
