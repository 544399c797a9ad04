"""Tiny checkpoints with random weights, real tokenizers and real processors, written as transformers saves them, and
studies to show them.

Each builder writes into a folder and returns it. The chat templates have the build of the published families (who
begins, where images stand, what ends a turn) in words of our own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    SiglipVisionConfig,
    SwinConfig,
    SwinModel,
)
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.gemma3.processing_gemma3 import Gemma3Processor
from transformers.models.llava.processing_llava import LlavaProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from radiology.study import Study

_TEXT = [
    "There is no pleural effusion. The heart is normal. There is a nodule in the right upper lung.",
    "INDICATION: cough and fever TECHNIQUE: PA and lateral COMPARISON: none PRIOR REPORT: N/A FINDINGS:",
    "Write the findings section of the radiology report for this study. Frontal image: Lateral image:",
]

CHAT_ML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['content'] is string %}{{ m['content'] }}"
    "{% else %}{% for part in m['content'] %}{% if part['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TURNS = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>"
    "{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{% for part in m['content'] %}{% if part['type'] == 'image' %}<start_of_image>"
    "{% else %}{{ part['text'] | trim(' ') }}{% endif %}{% endfor %}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
#: All images before all words, and no end token after an answer.
IMAGES_FIRST = (
    "{% for m in messages %}{{ m['role'] | upper }}: {% for part in m['content'] %}"
    "{% if part['type'] == 'image' %}<image>\n{% endif %}{% endfor %}{% for part in m['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] + ' ' }}{% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


def example_studies(images: bool = True) -> list[Study]:
    """Four studies of different length: three images with all sections; one image; texts only; one without a report."""

    def grey(seed: int, height: int, width: int, top: int = 256) -> np.ndarray:
        kind = np.uint8 if top == 256 else np.uint16
        return np.random.default_rng(seed).integers(0, top, (height, width)).astype(kind)

    three = {"frontal": grey(0, 70, 60), "lateral": grey(1, 60, 80, 4000), "prior_frontal": grey(2, 64, 64)}
    every = {"indication": "cough and fever.", "technique": "PA and lateral", "comparison": "none"}
    prior = {"prior_report": "There is a nodule.\nThe heart is normal."}
    report = "There is no pleural effusion. The heart is normal."
    return [
        Study("full", "p0", three if images else {}, "phantom", report=report, **every, **prior),
        Study(
            "one", "p1", {"frontal": grey(3, 80, 61)} if images else {}, "phantom", indication="fever", report=report
        ),
        Study("text", "p2", {}, "phantom", technique="PA", report="The heart is normal."),
        Study("silent", "p3", {"frontal": grey(4, 60, 60)} if images else {}, "phantom", comparison="none"),
    ]


def byte_tokenizer(special: Sequence[str], **named: Any) -> PreTrainedTokenizerFast:
    """Byte-level BPE as GPT-2, Qwen and SmolLM have it: a word's token begins with its space."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=list(special), initial_alphabet=alphabet)
    tokenizer.train_from_iterator(_TEXT, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)


def piece_tokenizer(special: Sequence[str], **named: Any) -> PreTrainedTokenizerFast:
    """BPE over ▁words with bytes for the rest, and a start token, as Llama and Gemma have it."""
    words = pre_tokenizers.Metaspace(prepend_scheme="first", split=True)
    learned = Tokenizer(models.BPE(unk_token="<unk>"))
    learned.pre_tokenizer = words
    learned.train_from_iterator(_TEXT, trainers.BpeTrainer(vocab_size=260))
    parts = json.loads(learned.to_str())["model"]
    names = dict.fromkeys([*special, *(f"<0x{i:02X}>" for i in range(256)), *parts["vocab"]])
    merges = [tuple(pair) for pair in parts["merges"]]
    vocabulary = {name: i for i, name in enumerate(names)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, byte_fallback=True, unk_token="<unk>"))
    tokenizer.add_special_tokens(list(special))
    tokenizer.pre_tokenizer = words
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    start = (named["bos_token"], vocabulary[named["bos_token"]])
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{start[0]} $A", special_tokens=[start])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)


def _text(tokenizer: Any, **more: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 1024,
        "initializer_range": 0.3,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        **more,
    }


def _vision(**more: Any) -> dict[str, Any]:
    return {
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "patch_size": 14,
        "initializer_range": 0.5,
        **more,
    }


def _save(folder: Path, build: Callable[[], Any], *parts: Any) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build()
        for values in model.parameters():
            if values.dim() == 2 and not values.any():  # Gemma's projector begins as zero, blind to the image
                torch.nn.init.normal_(values, std=0.3)
    model.save_pretrained(folder)
    for part in parts:
        part.save_pretrained(folder)
    return folder


def llava_clip(folder: Path) -> Path:
    """LLaVA 1.5: CLIP, second to last layer, CLS dropped; images first in the template; 3 × 3 tokens an image."""
    tokenizer = piece_tokenizer(
        ["<unk>", "<s>", "</s>", "<pad>", "<image>"],
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        extra_special_tokens={"image_token": "<image>"},
    )
    images = CLIPImageProcessorPil(size={"shortest_edge": 42}, crop_size={"height": 42, "width": 42})
    processor = LlavaProcessor(
        images,
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=IMAGES_FIRST,
    )
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**_vision(intermediate_size=32, image_size=42)),
        text_config=LlamaConfig(**_text(tokenizer)),
        image_token_id=tokenizer.image_token_id,
        vision_feature_layer=-2,
    )
    return _save(folder, lambda: LlavaForConditionalGeneration(config), processor)


def llava_dino(folder: Path) -> Path:
    """LLaVA with a Dinov2 tower and no chat template; the processor cuts 42 pixels out of 48."""
    tokenizer = piece_tokenizer(
        ["<unk>", "<s>", "</s>", "<pad>", "<image>"],
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        extra_special_tokens={"image_token": "<image>"},
    )
    images = BitImageProcessorPil(size={"shortest_edge": 48}, crop_size={"height": 42, "width": 42})
    processor = LlavaProcessor(
        images, tokenizer, patch_size=14, vision_feature_select_strategy="default", num_additional_image_tokens=1
    )
    config = LlavaConfig(
        vision_config=Dinov2Config(**_vision(image_size=42)),
        text_config=LlamaConfig(**_text(tokenizer)),
        image_token_id=tokenizer.image_token_id,
        vision_feature_layer=-1,
    )
    return _save(folder, lambda: LlavaForConditionalGeneration(config), processor)


def gemma3(folder: Path) -> Path:
    """Gemma 3: SigLIP, 4 × 4 patches pooled to 2 × 2 tokens between begin and end of image, sliding attention."""
    special = [
        "<pad>",
        "<eos>",
        "<bos>",
        "<unk>",
        "<start_of_turn>",
        "<end_of_turn>",
        "<start_of_image>",
        "<end_of_image>",
        "<image_soft_token>",
    ]
    tokenizer = piece_tokenizer(
        special,
        unk_token="<unk>",
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        extra_special_tokens={
            "boi_token": "<start_of_image>",
            "eoi_token": "<end_of_image>",
            "image_token": "<image_soft_token>",
        },
    )
    images = Gemma3ImageProcessorPil(size={"height": 56, "width": 56})
    processor = Gemma3Processor(images, tokenizer, chat_template=TURNS, image_seq_length=4)
    config = Gemma3Config(
        text_config=_text(
            tokenizer,
            head_dim=16,
            sliding_window=32,
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        ),
        vision_config=SiglipVisionConfig(**_vision(intermediate_size=32, image_size=56)).to_dict(),
        mm_tokens_per_image=4,
        image_token_index=tokenizer.image_token_id,
        boi_token_index=tokenizer.boi_token_id,
        eoi_token_index=tokenizer.eoi_token_id,
        eos_token_id=[tokenizer.eos_token_id, special.index("<end_of_turn>")],
        initializer_range=0.3,
    )
    return _save(folder, lambda: Gemma3ForConditionalGeneration(config), processor)


def qwen25_vl(folder: Path) -> Path:
    """Qwen2.5-VL: images of any size as flat patches, merged two by two, rotary positions in three axes."""
    special = [
        "<|endoftext|>",
        "<|im_start|>",
        "<|im_end|>",
        "<|vision_start|>",
        "<|vision_end|>",
        "<|image_pad|>",
        "<|video_pad|>",
    ]
    tokenizer = byte_tokenizer(special, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    images = Qwen2VLImageProcessorPil(size={"shortest_edge": 56 * 56, "longest_edge": 84 * 84})
    config = Qwen2_5_VLConfig(
        text_config=_text(
            tokenizer, rope_parameters={"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e4}
        ),
        vision_config={
            "depth": 2,
            "hidden_size": 24,
            "intermediate_size": 32,
            "num_heads": 2,
            "out_hidden_size": 32,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "window_size": 56,
            "fullatt_block_indexes": [1],
            "initializer_range": 0.5,
        },
        image_token_id=special.index("<|image_pad|>"),
        video_token_id=special.index("<|video_pad|>"),
        vision_start_token_id=special.index("<|vision_start|>"),
        vision_end_token_id=special.index("<|vision_end|>"),
        initializer_range=0.3,
    )
    tokenizer.chat_template = CHAT_ML
    return _save(folder, lambda: Qwen2_5_VLForConditionalGeneration(config), tokenizer, images)


def llama_chat(folder: Path) -> Path:
    """A causal language model with a chat template."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = byte_tokenizer(special, eos_token="<|im_end|>", bos_token="<|im_start|>", pad_token="<|endoftext|>")
    tokenizer.chat_template = CHAT_ML
    return _save(folder, lambda: LlamaForCausalLM(LlamaConfig(**_text(tokenizer))), tokenizer)


def gpt2(folder: Path) -> Path:
    """A causal language model without a chat template, with learned positions, LayerNorm and no pad token."""
    tokenizer = byte_tokenizer(["<|endoftext|>"], eos_token="<|endoftext|>", bos_token="<|endoftext|>")
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=32,
        n_layer=3,
        n_head=2,
        n_positions=300,
        initializer_range=0.3,
        bos_token_id=0,
        eos_token_id=0,
    )
    return _save(folder, lambda: GPT2LMHeadModel(config), tokenizer)


def dinov2(folder: Path) -> Path:
    """RAD-DINO's build: Dinov2, shortest edge and crop of one size, grey statistics."""
    images = BitImageProcessorPil(
        size={"shortest_edge": 56},
        crop_size={"height": 56, "width": 56},
        image_mean=[0.53, 0.53, 0.53],
        image_std=[0.26, 0.26, 0.26],
    )
    return _save(folder, lambda: Dinov2Model(Dinov2Config(**_vision(image_size=56))), images)


def dinov2_registers(folder: Path) -> Path:
    """Dinov2 with four registers between CLS and patches; the processor cuts 42 pixels out of 48."""
    images = BitImageProcessorPil(size={"shortest_edge": 48}, crop_size={"height": 42, "width": 42})
    config = Dinov2WithRegistersConfig(**_vision(image_size=42, num_register_tokens=4))
    return _save(folder, lambda: Dinov2WithRegistersModel(config), images)


def clip(folder: Path) -> Path:
    """A dual encoder, of which only the image half is wanted."""
    images = CLIPImageProcessorPil(size={"shortest_edge": 42}, crop_size={"height": 42, "width": 42})
    text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(
        vision_config=_vision(intermediate_size=32, image_size=42), text_config={**text, "vocab_size": 50}
    )
    return _save(folder, lambda: CLIPModel(config), images)


def swin(folder: Path) -> Path:
    """An encoder that merges patches from stage to stage, so that its rows are not the patches."""
    images = ViTImageProcessorPil(size={"height": 56, "width": 56})
    config = SwinConfig(image_size=56, patch_size=7, embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=4)
    return _save(folder, lambda: SwinModel(config), images)


VISION_LANGUAGE: dict[str, Callable[[Path], Path]] = {
    "llava-clip": llava_clip,
    "llava-dino": llava_dino,
    "gemma3": gemma3,
    "qwen2.5-vl": qwen25_vl,
}
CAUSAL: dict[str, Callable[[Path], Path]] = {"llama-chat": llama_chat, "gpt2": gpt2}
ENCODERS: dict[str, Callable[[Path], Path]] = {"dinov2": dinov2, "dinov2-registers": dinov2_registers, "clip": clip}
