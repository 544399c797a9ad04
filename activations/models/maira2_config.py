"""MAIRA-2's published ``config.json`` as our configuration, read without the code that came with it.

What would make another model of it (another feature layer, another projector) is refused by name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import Dinov2Config, LlamaConfig

from activations.models.maira2 import PROJECTOR_LAYERS, Maira2Config
from radiology.errors import InputError

MODEL_TYPE = "maira2"

_VISION = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "mlp_ratio",
    "hidden_act",
    "layer_norm_eps",
    "image_size",
    "patch_size",
    "num_channels",
    "qkv_bias",
    "layerscale_value",
    "use_swiglu_ffn",
    "use_mask_token",
)
_TEXT = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "hidden_act",
    "max_position_embeddings",
    "rms_norm_eps",
    "attention_bias",
    "mlp_bias",
    "head_dim",
    "pad_token_id",
    "bos_token_id",
    "eos_token_id",
)
_ABSENT = object()
_ROPE_THETA = 10_000.0  # Llama's, where the file does not say


def read_config(folder: Path) -> Maira2Config:
    """Read and check ``config.json``.

    The encoder's feature is its last feature map, layer-normalised, without CLS, whatever form the published
    configuration gives the map in. Rope is read in its old form (``rope_scaling``) and in its new one
    (``rope_parameters``).

    Raises:
        InputError: the file is missing or damaged, or a field asks for another architecture; the field is named.
    """
    raw = read_json(folder / "config.json")
    where = f"{folder / 'config.json'}"
    vision, text = _part(raw, "vision_config", where), _part(raw, "text_config", where)
    _check_architecture(raw, vision, text, where)
    image_token = raw.get("image_token_index", raw.get("image_token_id"))
    if not isinstance(image_token, int):
        raise InputError(f"{where}: 'image_token_index' is {image_token!r}; it must be the id of the <image> token")
    try:
        return Maira2Config(
            Dinov2Config(  # type: ignore[call-arg]
                **_given(vision, _VISION),
                out_features=[f"stage{vision.get('num_hidden_layers', Dinov2Config().num_hidden_layers)}"],
                apply_layernorm=True,
                reshape_hidden_states=True,
            ),
            LlamaConfig(**_given(text, _TEXT), rope_parameters=_rope(text), tie_word_embeddings=False),
            image_token_index=image_token,
            pad_token_id=raw.get("pad_token_id", text.get("pad_token_id")),
            tie_word_embeddings=False,
        )
    except Exception as error:  # transformers checks types with exceptions of its own
        raise InputError(f"{where}: is not understood: {' '.join(str(error).split())}") from None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of a checkpoint."""
    if not path.is_file():
        raise InputError(f"checkpoint {path.parent}: has no {path.name}")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({type(error).__name__})") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: holds no JSON object")
    return value


def _part(raw: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    part = raw.get(name)
    if not isinstance(part, dict):
        raise InputError(f"{where}: {name!r} is missing")
    return part


def _check_architecture(raw: Mapping[str, Any], vision: dict[str, Any], text: dict[str, Any], where: str) -> None:
    """Every field that decides what is computed has MAIRA-2's value; what may be absent is so by default."""
    last = f"stage{vision.get('num_hidden_layers', 12)}"
    rules: list[tuple[str, Any, tuple[Any, ...]]] = [
        ("model_type", raw.get("model_type"), (MODEL_TYPE,)),
        ("projector_n_layers", raw.get("projector_n_layers"), (PROJECTOR_LAYERS,)),
        ("projector_hidden_act", raw.get("projector_hidden_act", _ABSENT), ("gelu", _ABSENT)),
        ("multimodal_projector_bias", raw.get("multimodal_projector_bias", _ABSENT), (True, _ABSENT)),
        ("vision_feature_layer", raw.get("vision_feature_layer"), (-1, [-1])),
        ("vision_feature_select_strategy", raw.get("vision_feature_select_strategy", _ABSENT), ("default", _ABSENT)),
        ("tie_word_embeddings", raw.get("tie_word_embeddings", _ABSENT), (False, None, _ABSENT)),
        ("vision_config.model_type", vision.get("model_type"), ("dinov2",)),
        ("vision_config.apply_layernorm", vision.get("apply_layernorm", _ABSENT), (True, _ABSENT)),
        ("vision_config.out_features", vision.get("out_features", _ABSENT), ([last], None, _ABSENT)),
        ("text_config.model_type", text.get("model_type"), ("llama",)),
        ("text_config.tie_word_embeddings", text.get("tie_word_embeddings", _ABSENT), (False, None, _ABSENT)),
    ]
    for field, value, allowed in rules:
        if value not in allowed:
            shown = "missing" if value is None else repr(value)
            raise InputError(f"{where}: {field!r} is {shown}; MAIRA-2 has {allowed[0]!r}, and nothing else is built")
    size, patch = vision.get("image_size", 0), vision.get("patch_size", 14)
    if not (isinstance(size, int) and isinstance(patch, int) and size >= patch > 0):
        raise InputError(f"{where}: 'vision_config.image_size' {size!r} must be a number of pixels, a patch at least")


def _given(part: Mapping[str, Any], fields: tuple[str, ...]) -> dict[str, Any]:
    return {field: part[field] for field in fields if part.get(field) is not None}


def _rope(text: Mapping[str, Any]) -> dict[str, Any]:
    """Rope in the form of transformers 5, from that form or the old one."""
    given = dict(text.get("rope_parameters") or text.get("rope_scaling") or {})
    kind = given.pop("rope_type", None) or given.pop("type", None) or "default"
    given.pop("type", None)
    theta = given.pop("rope_theta", None) or text.get("rope_theta") or _ROPE_THETA
    return {"rope_type": kind, "rope_theta": float(theta), **given}
