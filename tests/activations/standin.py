"""A stand-in for the gated checkpoint: a miniature with random weights, in the published layout and names.

Six float32 shards with an index, ``config.json`` in the published form, a Llama-like tokenizer with box tokens, and a
processor with MAIRA-2's API. Wording, template and code are our own. Nothing here uses the classes under test.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from math import prod
from pathlib import Path
from string import ascii_letters, digits
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from radiology.study import Study

BINS = 100
SHARDS = 6
IMAGE_SIZE = 56
PATCH = 14
PATCHES = (IMAGE_SIZE // PATCH) ** 2
GROUNDING = ["<obj>", "</obj>", "<box>", "</box>", *(f"<{axis}{n}>" for axis in "xy" for n in range(BINS))]
#: Stands in the true checkpoint's place of what happens between the speaker's name and what it says.
SEPARATOR = " "

#: What the folder has as ``processing_maira2.py``.
PROCESSOR_CODE = Path(__file__).with_name("standin_processing.py").read_text()

_TEMPLATE = """{{ 'Films are read here. ' }}{% for message in messages %}\
{{ 'ASK:' if message['role'] == 'user' else 'READ:SEPARATOR' }}\
{% for part in message['content'] %}{{ '<image>' if part['type'] == 'image' else part['text'] }}{% endfor %}\
{{ ' ' if message['role'] == 'user' else eos_token }}{% endfor %}\
{% if add_generation_prompt %}{{ 'READ:SEPARATOR' }}{% endif %}"""

_CORPUS = """The front view The side view EARLIER: none Say what is seen and mark where. WHY: HOW: AGAINST: cough fever
The heart is normal. There is a small left pleural effusion. No pneumothorax. Portable AP view. Films are read here.
"""

_LEGACY = {
    "return_dict": True,
    "is_decoder": False,
    "top_k": 50,
    "bad_words_ids": None,
    "_name_or_path": "",
    "dtype": None,
}


def picture(seed: int, shape: tuple[int, int] = (80, 100)) -> np.ndarray:
    """Grey noise, uint8."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def full_study(**changes: Any) -> Study:
    """Three images, a prior report, and all sections but the technique."""
    whole = Study(
        "s1",
        "p1",
        {"frontal": picture(0), "lateral": picture(1), "prior_frontal": picture(2)},
        "own",
        indication="Cough & fever for 3 days.",
        comparison="None available.",
        prior_report="There is a small left pleural effusion.",
    )
    return replace(whole, **changes)


def edit_json(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change a file of the folder in place."""
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def standin_config(**changes: Any) -> dict[str, Any]:
    """``config.json`` in the published form; ``changes`` may reach inside: ``vision_config__image_size=28``."""
    vocabulary = _vocabulary_size()
    config: dict[str, Any] = {
        "architectures": ["Maira2ForConditionalGeneration"],
        "auto_map": {"AutoProcessor": "processing_maira2.Maira2Processor"},
        "ignore_index": -100,
        "image_seq_length": 576,
        "image_token_index": vocabulary,
        "model_type": "maira2",
        "multimodal_projector_bias": True,
        "pad_token_id": 0,
        "projector_hidden_act": "gelu",
        "projector_n_layers": 4,
        "text_config": {
            **_LEGACY,
            "architectures": ["LlamaForCausalLM"],
            "hidden_size": 32,
            "intermediate_size": 48,
            "max_position_embeddings": 4096,
            "model_type": "llama",
            "num_attention_heads": 2,
            "num_hidden_layers": 3,
            "num_key_value_heads": 2,
            "rms_norm_eps": 1e-05,
            "rope_scaling": {"factor": 1.5, "type": "linear"},
            "rope_theta": 10000.0,
            "torch_dtype": "float32",
            "vocab_size": vocabulary + 3,
        },
        "torch_dtype": "float32",
        "transformers_version": "4.46.0",
        "vision_config": {
            **_LEGACY,
            "apply_layernorm": True,
            "hidden_size": 24,
            "image_size": IMAGE_SIZE,
            "layer_norm_eps": 1e-06,
            "mlp_ratio": 4,
            "model_type": "dinov2",
            "num_attention_heads": 3,
            "num_hidden_layers": 2,
            "out_features": ["stage2"],
            "out_indices": [2],
            "patch_size": PATCH,
            "reshape_hidden_states": False,
        },
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "default",
    }
    for name, value in changes.items():
        part, field = config, name
        if "__" in name:
            head, _, field = name.partition("__")
            part = config[head]
        part[field] = value
    return config


def published_shapes(vision: Mapping[str, Any], text: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a published checkpoint (transformers before 4.52), from the sizes in its configuration."""
    d, patch, wide = vision["hidden_size"], vision["patch_size"], vision["hidden_size"] * vision["mlp_ratio"]
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.cls_token": (1, 1, d),
        "embeddings.mask_token": (1, d),
        "embeddings.position_embeddings": (1, (vision["image_size"] // patch) ** 2 + 1, d),
        "embeddings.patch_embeddings.projection.weight": (d, 3, patch, patch),
        "embeddings.patch_embeddings.projection.bias": (d,),
        "layernorm.weight": (d,),
        "layernorm.bias": (d,),
    }
    for i in range(vision["num_hidden_layers"]):
        block = f"encoder.layer.{i}."
        for part in ("attention.query", "attention.key", "attention.value", "output.dense"):
            shapes |= {f"{block}attention.{part}.weight": (d, d), f"{block}attention.{part}.bias": (d,)}
        shapes |= {f"{block}norm{n}.{leaf}": (d,) for n in (1, 2) for leaf in ("weight", "bias")}
        shapes |= {f"{block}layer_scale{n}.lambda1": (d,) for n in (1, 2)}
        shapes |= {f"{block}mlp.fc1.weight": (wide, d), f"{block}mlp.fc1.bias": (wide,)}
        shapes |= {f"{block}mlp.fc2.weight": (d, wide), f"{block}mlp.fc2.bias": (d,)}
    shapes = {f"vision_tower.{name}": shape for name, shape in shapes.items()}
    h, m = text["hidden_size"], text["intermediate_size"]
    for place in (0, 2, 4, 6):
        shapes[f"multi_modal_projector.layers.{place}.weight"] = (h, d if place == 0 else h)
        shapes[f"multi_modal_projector.layers.{place}.bias"] = (h,)
    decoder = "language_model.model."
    for i in range(text["num_hidden_layers"]):
        block = f"{decoder}layers.{i}."
        shapes |= {f"{block}self_attn.{name}_proj.weight": (h, h) for name in "qkvo"}
        shapes |= {f"{block}mlp.{name}_proj.weight": (m, h) for name in ("gate", "up")}
        shapes[f"{block}mlp.down_proj.weight"] = (h, m)
        shapes |= {f"{block}{name}_layernorm.weight": (h,) for name in ("input", "post_attention")}
    shapes[f"{decoder}norm.weight"] = (h,)
    shapes |= {
        f"{name}.weight": (text["vocab_size"], h) for name in (f"{decoder}embed_tokens", "language_model.lm_head")
    }
    return shapes


def standin_tensors(config: Mapping[str, Any], seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights, large enough that every part matters to the result."""
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, torch.Tensor] = {}
    for name, shape in published_shapes(config["vision_config"], config["text_config"]).items():
        noise = torch.randn(shape, generator=generator)
        norm = name.endswith(("norm.weight", "norm1.weight", "norm2.weight", "lambda1"))
        tensors[name] = 1 + 0.2 * noise if norm else noise * (0.1 if len(shape) == 1 else prod(shape[1:]) ** -0.5)
    return tensors


def write_shards(folder: Path, tensors: Mapping[str, torch.Tensor], shards: int = SHARDS) -> None:
    """Tensors over ``shards`` files of about equal number, and their index."""
    names = sorted(tensors)
    weight_map: dict[str, str] = {}
    for number in range(shards):
        mine = names[len(names) * number // shards : len(names) * (number + 1) // shards]
        file = f"model-{number + 1:05d}-of-{shards:05d}.safetensors"
        save_file({name: tensors[name].contiguous() for name in mine}, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(mine, file)
    total = sum(value.nbytes for value in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def write_standin(
    folder: Path, *, seed: int = 0, separator: str = SEPARATOR, code: str = PROCESSOR_CODE, **changes: Any
) -> Path:
    """Write the whole checkpoint folder.

    Args:
        separator: what the template puts between ``READ:`` and the report.
        code: of ``processing_maira2.py``.
        changes: see :func:`standin_config`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = standin_config(**changes)
    write_shards(folder, standin_tensors(config, seed))
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    (folder / "generation_config.json").write_text(
        json.dumps({"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0})
    )
    (folder / "processing_maira2.py").write_text(code)
    (folder / "processor_config.json").write_text(
        json.dumps(
            {
                "auto_map": {"AutoProcessor": "processing_maira2.Maira2Processor"},
                "image_token": "<image>",
                "num_box_coord_bins": BINS,
                "patch_size": PATCH,
                "phrase_start_token": "<obj>",
                "processor_class": "Maira2Processor",
                "vision_feature_select_strategy": "default",
            }
        )
    )
    (folder / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "crop_size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE},
                "do_center_crop": True,
                "do_convert_rgb": True,
                "do_normalize": True,
                "do_rescale": True,
                "do_resize": True,
                "image_mean": [0.5307] * 3,
                "image_processor_type": "BitImageProcessor",
                "image_std": [0.2583] * 3,
                "processor_class": "Maira2Processor",
                "resample": 3,
                "rescale_factor": 1 / 255,
                "size": {"shortest_edge": IMAGE_SIZE},
            }
        )
    )
    (folder / "tokenizer.json").write_text(_tokenizer_json())
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "add_bos_token": True,
                "add_eos_token": False,
                "bos_token": "<s>",
                "chat_template": _TEMPLATE.replace("SEPARATOR", separator),
                "clean_up_tokenization_spaces": False,
                "eos_token": "</s>",
                "legacy": True,
                "model_max_length": 64,
                "pad_token": "<unk>",
                "processor_class": "Maira2Processor",
                "tokenizer_class": "LlamaTokenizer",
                "unk_token": "<unk>",
            }
        )
    )
    return folder


@cache
def _tokenizer_json() -> str:
    """A Llama-like tokenizer: byte-pair encoding over ``▁`` words with byte fallback, box tokens, ``<image>`` last."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors, trainers

    tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    special = ["<unk>", "<s>", "</s>"]
    byte_tokens = [f"<0x{n:02X}>" for n in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=[*special, *byte_tokens],
        initial_alphabet=list(ascii_letters + digits),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS.split() * 2, trainer)  # words: Llama's tokens do not cross spaces
    raw = json.loads(tokenizer.to_str())
    raw["added_tokens"] = [token for token in raw["added_tokens"] if token["content"] in special]
    raw["model"]["vocab"]["▁▁"] = len(raw["model"]["vocab"])  # Llama has runs of spaces, merged last
    raw["model"]["merges"].append(["▁", "▁"])
    tokenizer = Tokenizer.from_str(json.dumps(raw))
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in GROUNDING])
    tokenizer.add_special_tokens([AddedToken("<image>", normalized=False)])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer.to_str()


def _vocabulary_size() -> int:
    """Number of tokens before ``<image>``, whose id it is."""
    from tokenizers import Tokenizer

    return int(Tokenizer.from_str(_tokenizer_json()).token_to_id("<image>"))
