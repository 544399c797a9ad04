"""Opening whatever transformers can read: vision-language models, causal language models, image encoders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from activations.models.base import ReportModel
from activations.models.causal import CausalReportModel
from activations.models.chat import PromptWriter
from activations.models.encoder import EncoderModel
from activations.models.fingerprint import fingerprint
from activations.models.loading import Checkpoint, Progress, load_module, parsed_once, quiet
from activations.models.pixels import crop_of
from activations.models.processors import read_processor
from activations.models.structure import encoder_of
from activations.models.vision_language import VisionLanguageModel
from radiology.errors import InputError

#: Side of the picture for processors that take any size: 16 × 16 tokens of 28 pixels in Qwen2.5-VL.
_ANY_SIZE_SIDE = 448
_KINDS = ("AutoModelForImageTextToText", "AutoModelForCausalLM", "AutoModel")


def open_general(
    name_or_path: str,
    device: str = "cpu",
    dtype: torch.dtype | None = None,
    *,
    device_map: str | Mapping[str, Any] | None = None,
    trust_remote_code: bool = False,
    progress: Progress | None = None,
) -> ReportModel:
    """Open a checkpoint of transformers; see :func:`activations.models.open_model` for the arguments.

    Raises:
        InputError: it cannot be read, is no model of a kind that is understood, or its parts are not found.
    """
    import transformers

    checkpoint = Checkpoint(name_or_path, trust_remote_code)

    with parsed_once(checkpoint):
        config = checkpoint.read(transformers.AutoConfig.from_pretrained, "configuration")
        kind = _kind(config, name_or_path)

        def load(needless: tuple[str, ...] = ()) -> nn.Module:
            where: dict[str, Any] = {"device_map": device_map, "progress": progress, "needless": needless}
            return load_module(checkpoint, getattr(transformers, kind), config, device, dtype, **where)

        if kind == "AutoModelForImageTextToText":
            return _vision_language(checkpoint, config, load)
        if kind == "AutoModelForCausalLM":
            return _causal(checkpoint, config, load)
        return _encoder(checkpoint, config, load)


def _kind(config: Any, name: str) -> str:
    """The Auto class of transformers that opens a configuration.

    Raises:
        InputError: none that is understood does.
    """
    import transformers
    from transformers.models.auto import modeling_auto as auto

    mappings = (auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING, auto.MODEL_FOR_CAUSAL_LM_MAPPING, auto.MODEL_MAPPING)
    own = getattr(config, "auto_map", None) or {}
    kind = next((kind for kind in _KINDS if kind in own), None) or next(
        (kind for kind, mapping in zip(_KINDS, mappings, strict=True) if type(config) in mapping), None
    )
    if kind is None or getattr(config, "is_encoder_decoder", False):
        raise InputError(
            f"model {name!r}: {config.model_type!r} is neither a vision-language model, a causal language model nor an "
            "image encoder of transformers"
        )
    saved = next(iter(getattr(config, "architectures", None) or ()), "")
    saved_class = getattr(transformers, saved, None) if kind != "AutoModel" else None
    if saved_class is not None and not issubclass(saved_class, transformers.GenerationMixin):
        raise InputError(
            f"model {name!r}: was saved as {saved}, which writes no text; give a checkpoint that generates"
        )
    return kind


def _vision_language(checkpoint: Checkpoint, config: Any, load: Any) -> VisionLanguageModel:
    processor = read_processor(checkpoint, config)
    module = load()
    tokenizer = processor.tokenizer
    image_token, image_token_id = _image_token(processor, config, checkpoint.name)
    renderer = next((one for one in (processor, tokenizer) if getattr(one, "chat_template", None)), None)
    writer = PromptWriter(tokenizer, renderer, (), image_token, in_parts=True)
    writer.eos_token_ids = _end_tokens(module, writer, checkpoint.name)
    with quiet():
        return VisionLanguageModel(
            checkpoint.name,
            module,
            processor,
            crop_of(processor.image_processor, _ANY_SIZE_SIDE),
            fingerprint=fingerprint(module, config),
            writer=writer,
            image_token_id=image_token_id,
            pad_token_id=_pad_token(module, writer),
            eos_token_ids=writer.eos_token_ids,
        )


def _causal(checkpoint: Checkpoint, config: Any, load: Any) -> CausalReportModel:
    import transformers

    tokenizer: Any = checkpoint.read(transformers.AutoTokenizer.from_pretrained, "tokenizer")
    module = load()
    writer = PromptWriter(tokenizer, tokenizer if tokenizer.chat_template else None, ())
    writer.eos_token_ids = _end_tokens(module, writer, checkpoint.name)
    return CausalReportModel(
        checkpoint.name,
        module,
        fingerprint=fingerprint(module, config),
        writer=writer,
        pad_token_id=_pad_token(module, writer),
        eos_token_ids=writer.eos_token_ids,
    )


def _encoder(checkpoint: Checkpoint, config: Any, load: Any) -> EncoderModel:
    import transformers

    image_processor: Any = checkpoint.read(transformers.AutoImageProcessor.from_pretrained, "image processor")
    # poolers come after all blocks; checkpoints of encoders often have none
    module = load(needless=("pooler.",))
    print_of = fingerprint(module, config)
    crop = crop_of(image_processor, int(getattr(config, "image_size", _ANY_SIZE_SIDE)))
    with quiet():
        return EncoderModel(
            checkpoint.name, encoder_of(module, checkpoint.name), image_processor, crop, fingerprint=print_of
        )


def _image_token(processor: Any, config: Any, name: str) -> tuple[str, int]:
    """What stands for an image in a prompt, and the id of the token that stands for one patch."""
    ids = [getattr(config, field, None) for field in ("image_token_id", "image_token_index")]
    found = next((int(i) for i in (*ids, getattr(processor, "image_token_id", None)) if i is not None), None)
    token = getattr(processor, "image_token", None) or getattr(processor.tokenizer, "image_token", None)
    if found is None:
        raise InputError(f"model {name!r}: neither its configuration nor its processor names an image token")
    return str(token or processor.tokenizer.convert_ids_to_tokens(found)), found


def _end_tokens(module: nn.Module, writer: PromptWriter, name: str) -> tuple[int, ...]:
    """Tokens at which writing ends, the one that the chat template puts after an answer first."""
    listed: list[Any] = [writer.turn_end()]
    for holder in (getattr(module, "generation_config", None), module.config, writer.tokenizer):
        value = getattr(holder, "eos_token_id", None)
        listed += list(value) if isinstance(value, (list, tuple)) else [value]
    known = len(writer.tokenizer)
    ends = tuple(dict.fromkeys(int(i) for i in listed if i is not None and 0 <= int(i) < known))
    if not ends:
        raise InputError(f"model {name!r}: neither its configuration nor its tokenizer names an end token")
    return ends


def _pad_token(module: nn.Module, writer: PromptWriter) -> int:
    """The token that fills rows up; masked, so any will do: the end token where none is named."""
    named = [getattr(holder, "pad_token_id", None) for holder in (writer.tokenizer, module.config)]
    return next(
        (int(i) for i in named if i is not None and 0 <= int(i) < len(writer.tokenizer)), writer.eos_token_ids[0]
    )
