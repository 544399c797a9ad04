"""MAIRA-2's architecture as a class on transformers 5, from toy size to full size.

A Dinov2 backbone (feature map of the last layer **with** the final LayerNorm, CLS dropped), a projector of four Linear
layers with GELU between them, and a Llama decoder whose prompt holds one ``<image>`` token a patch (Bannur et al. 2024,
arXiv 2406.04449). Parameters carry the names of the published checkpoint: ``vision_tower…``,
``multi_modal_projector.layers.{0,2,4,6}``, ``language_model.model…``, ``language_model.lm_head``.

One thing is ours: ``image_read_from`` bars text tokens from attending to image tokens in the blocks before it. It is 0,
that is no bar, for MAIRA-2; phantom models use it to have a known depth at which the image is read.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import nn
from transformers import (
    Cache,
    Dinov2Backbone,
    Dinov2Config,
    DynamicCache,
    GenerationMixin,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.masking_utils import create_causal_mask
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.models.llama.modeling_llama import LlamaModel

from activations.models.kv_cache import give_room
from radiology.errors import InputError

PROJECTOR_LAYERS = 4


class Maira2Config(PreTrainedConfig):
    """Configuration of :class:`Maira2ForConditionalGeneration`.

    Args:
        vision_config: a ``Dinov2Config`` (or its dict) used as a backbone of stage ``out_features[-1]``.
        text_config: a ``LlamaConfig`` (or its dict).
        image_token_index: id of the token that stands for one patch.
        image_read_from: text may attend to image tokens from this block on (0 = everywhere).
    """

    model_type = "interp_maira2"
    sub_configs: ClassVar[dict[str, Any]] = {"vision_config": Dinov2Config, "text_config": LlamaConfig}

    def __init__(
        self,
        vision_config: Dinov2Config | dict[str, Any] | None = None,
        text_config: LlamaConfig | dict[str, Any] | None = None,
        image_token_index: int = 32204,
        image_read_from: int = 0,
        **kwargs: Any,
    ) -> None:
        self.vision_config = _as_config(vision_config, Dinov2Config)
        self.text_config = _as_config(text_config, LlamaConfig)
        self.image_token_index = image_token_index
        self.image_read_from = image_read_from
        blocks = self.text_config.num_hidden_layers
        if not 0 <= image_read_from <= blocks:
            raise InputError(
                f"Maira2Config: image_read_from={image_read_from}; the decoder has blocks 0 … {blocks - 1}"
            )
        super().__init__(**kwargs)


def _as_config(value: Any, kind: type) -> Any:
    if value is None:
        return kind()
    return kind(**{k: v for k, v in value.items() if k != "model_type"}) if isinstance(value, dict) else value


class Maira2Projector(nn.Module):
    """Four Linear layers with GELU between: encoder width → decoder width."""

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Linear(d_in, d_out)]
        for _ in range(PROJECTOR_LAYERS - 1):
            layers += [nn.GELU(), nn.Linear(d_out, d_out)]
        self.layers = nn.Sequential(*layers)

    def forward(self, features_npd: torch.Tensor) -> torch.Tensor:
        return self.layers(features_npd)


class BarredLlamaModel(LlamaModel):
    """A Llama whose first ``image_read_from`` blocks hide image tokens from text tokens.

    Which keys are image tokens is remembered on the KV cache, so that cached decode steps see the same bar.
    """

    image_read_from: int = 0

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        use_cache: bool | None = None,
        image_mask_bt: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        if inputs_embeds is None:
            inputs_embeds = self.embed_tokens(input_ids)
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=self.config)
        give_room(past_key_values)
        batch, new = inputs_embeds.shape[:2]
        seen = past_key_values.get_seq_length() if past_key_values is not None else 0
        if position_ids is None:
            position_ids = _positions(attention_mask, batch, seen, new, inputs_embeds.device)
        keys_bt = None
        if self.image_read_from:
            keys_bt = _image_keys(image_mask_bt, past_key_values, batch, seen, new, inputs_embeds.device)
        if new == 1 and self.config._attn_implementation == "sdpa" and attention_mask is not None:
            open_mask, barred_mask = one_step_masks(attention_mask.to(inputs_embeds.device), keys_bt)
        else:
            open_mask, barred_mask = self._masks(inputs_embeds, attention_mask, past_key_values, position_ids, keys_bt)
        hidden_states = inputs_embeds
        rope = self.rotary_emb(hidden_states, position_ids=position_ids)
        for number, layer in enumerate(self.layers):
            hidden_states = layer(
                hidden_states,
                attention_mask=barred_mask if number < self.image_read_from else open_mask,
                position_embeddings=rope,
                position_ids=position_ids,
                past_key_values=past_key_values,
                use_cache=use_cache,
                **kwargs,
            )
        return BaseModelOutputWithPast(last_hidden_state=self.norm(hidden_states), past_key_values=past_key_values)

    def _masks(
        self,
        embeds_btd: torch.Tensor,
        attention_mask: torch.Tensor | None,
        cache: Cache | None,
        position_ids: torch.Tensor,
        image_keys_bt: torch.Tensor | None,
    ) -> tuple[Any, Any]:
        """Masks of the blocks without and with the bar, in the form that the attention wants."""
        arguments: dict[str, Any] = {
            "config": self.config,
            "inputs_embeds": embeds_btd,
            "attention_mask": attention_mask,
            "past_key_values": cache,
            "position_ids": position_ids,
        }
        open_mask = create_causal_mask(**arguments)
        if image_keys_bt is None:
            return open_mask, open_mask
        barred = create_causal_mask(**arguments, and_mask_function=_bar(image_keys_bt), allow_is_causal_skip=False)
        return open_mask, barred


def _positions(
    attention_mask: torch.Tensor | None, batch: int, seen: int, new: int, device: torch.device
) -> torch.Tensor:
    """Positions of the new tokens, counted from each row's first real token, (B, T)."""
    if attention_mask is None or attention_mask.dim() != 2:
        return (torch.arange(new, device=device) + seen).expand(batch, new)
    return (attention_mask.long().cumsum(-1) - 1).clamp(min=0)[:, -new:]


def _image_keys(
    image_mask_bt: torch.Tensor | None, cache: Cache | None, batch: int, seen: int, new: int, device: torch.device
) -> torch.Tensor:
    """Which of all keys so far are image tokens, (B, seen + T) bool; kept on the cache for the next step."""
    if image_mask_bt is None:
        image_mask_bt = torch.zeros(batch, new, dtype=torch.bool, device=device)
    if seen:
        image_mask_bt = torch.cat([cache.image_keys_bt, image_mask_bt], dim=1)  # type: ignore[union-attr]
    if cache is not None:
        cache.image_keys_bt = image_mask_bt  # type: ignore[attr-defined]
    return image_mask_bt


def one_step_masks(
    attention_mask_bt: torch.Tensor, image_keys_bt: torch.Tensor | None
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """What :func:`create_causal_mask` gives for one new token, (B, 1, 1, T) bool, without its cost a step.

    None where every key may be seen.
    """
    real_bt = attention_mask_bt.bool()
    open_mask = None if real_bt.all() else real_bt[:, None, None]
    if image_keys_bt is None:
        return open_mask, open_mask
    return open_mask, (real_bt & (~image_keys_bt | image_keys_bt[:, -1:]))[:, None, None]


def _bar(image_keys_bt: torch.Tensor) -> Any:
    def allowed(batch_idx: Any, head_idx: Any, q_idx: Any, kv_idx: Any) -> torch.Tensor:
        return ~(image_keys_bt[batch_idx, kv_idx] & ~image_keys_bt[batch_idx, q_idx])

    return allowed


class Maira2LanguageModel(LlamaForCausalLM):
    """Llama with a head, its blocks barred as configured."""

    def __init__(self, config: LlamaConfig, image_read_from: int = 0) -> None:
        super().__init__(config)
        self.model = BarredLlamaModel(config)
        self.model.image_read_from = image_read_from
        self.post_init()


class Maira2ForConditionalGeneration(PreTrainedModel, GenerationMixin):
    """Encoder, projector and decoder; generates with the standard ``generate``."""

    config_class = Maira2Config
    base_model_prefix = ""
    main_input_name = "input_ids"
    _supports_sdpa = True
    _no_split_modules = ["LlamaDecoderLayer", "Dinov2Layer"]  # noqa: RUF012 - the base class declares it so

    def __init__(self, config: Maira2Config) -> None:
        super().__init__(config)
        self.vision_tower = Dinov2Backbone(config.vision_config)
        width = config.text_config.hidden_size
        self.multi_modal_projector = Maira2Projector(config.vision_config.hidden_size, width)
        self.language_model = Maira2LanguageModel(config.text_config, config.image_read_from)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.language_model.get_input_embeddings()

    def get_output_embeddings(self) -> nn.Module:
        return self.language_model.lm_head

    def image_features(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """(images, 3, H, W) → encoder features (images, patches, d_vision), row-major, normalised, without CLS."""
        feature_map_ndhw = self.vision_tower(pixel_values).feature_maps[-1]
        return feature_map_ndhw.flatten(2).transpose(1, 2)

    def embed(
        self, input_ids: torch.Tensor, pixel_values: torch.Tensor | None, features_npd: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Token embeddings with the projected patches in the places of ``<image>`` tokens, (B, T, d)."""
        embeds_btd = self.get_input_embeddings()(input_ids)
        image_mask_bt = input_ids == self.config.image_token_index
        if features_npd is None:
            if pixel_values is None:
                return embeds_btd
            features_npd = self.image_features(pixel_values)
        patches_nd = self.multi_modal_projector(features_npd).flatten(0, 1)
        if int(image_mask_bt.sum()) != len(patches_nd):
            raise InputError(
                f"prompt: {int(image_mask_bt.sum())} <image> tokens for {len(patches_nd)} patches of the given images"
            )
        patches_nd = patches_nd.to(embeds_btd.device, embeds_btd.dtype)  # the projector may be on another device
        return embeds_btd.masked_scatter(image_mask_bt[..., None].to(embeds_btd.device), patches_nd)

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        features_npd: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Logits of a prompt. ``features_npd`` replaces ``pixel_values`` where encoder features are at hand."""
        image_mask_bt = None if input_ids is None else input_ids == self.config.image_token_index
        if inputs_embeds is None:
            if input_ids is None:
                raise InputError("forward: give input_ids or inputs_embeds")
            inputs_embeds = self.embed(input_ids, pixel_values, features_npd)
        return self.language_model(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            use_cache=use_cache,
            logits_to_keep=logits_to_keep,
            image_mask_bt=image_mask_bt,
        )

    def _expand_inputs_for_generation(
        self, expand_size: int = 1, is_encoder_decoder: bool = False, input_ids: Any = None, **kwargs: Any
    ) -> tuple[Any, dict[str, Any]]:
        """Copy each prompt for its beams, its images with it: a prompt's images stay together."""
        pixels = kwargs.pop("pixel_values", None)
        patches = self._patches_per_image()
        of_prompt = (input_ids == self.config.image_token_index).sum(1) // patches
        input_ids, kwargs = super()._expand_inputs_for_generation(  # type: ignore[misc]
            expand_size, is_encoder_decoder, input_ids=input_ids, **kwargs
        )
        if pixels is not None:
            pixels = torch.cat([images.repeat(expand_size, 1, 1, 1) for images in pixels.split(of_prompt.tolist())])
        return input_ids, {**kwargs, "pixel_values": pixels}

    def _patches_per_image(self) -> int:
        vision = self.config.vision_config
        return int(vision.image_size // vision.patch_size) ** 2

    def prepare_inputs_for_generation(  # type: ignore[override]
        self, input_ids: torch.Tensor, **kwargs: Any
    ) -> dict[str, Any]:
        """Images go in with the prompt only; later steps feed one token."""
        cache = kwargs.get("past_key_values")
        started = cache is not None and cache.get_seq_length() > 0
        return {
            "input_ids": input_ids[:, -1:] if started else input_ids,
            "pixel_values": None if started else kwargs.get("pixel_values"),
            "attention_mask": kwargs.get("attention_mask"),
            "past_key_values": cache,
            "use_cache": kwargs.get("use_cache"),
            "logits_to_keep": 1,
        }
