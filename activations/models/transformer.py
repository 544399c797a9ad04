"""What every transformer behind :class:`ReportModel` has in common: sites, passes, generation, the lens, three views.

A subclass says how a study becomes a prompt (``encode``) and what the encoder sees of an image (``preview``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from activations.models.base import Generation, ModelInputs, ReportModel
from activations.models.structure import Parts, find_parts
from radiology.errors import InputError

if TYPE_CHECKING:
    from nnsight import Envoy
    from transformer_lens.model_bridge import TransformerBridge


class TransformerReportModel(ReportModel):
    """A torch module whose parts were found by structure.

    Args:
        name, fingerprint, tokenizer, grid, image_size: see :class:`ReportModel`.
        module: put into evaluation mode, gradients off.
        eos_token_ids: generation ends at any of them; the first is the one that ends a teacher-forced report.
        max_new_tokens: limit of a report where none is given.
        vision_sites: whether the rows of the encoder's blocks are the image tokens of the prompt, one to one and in
            order (one CLS token before them is left out).
    """

    def __init__(
        self,
        name: str,
        module: nn.Module,
        *,
        fingerprint: str,
        tokenizer: Any,
        grid: tuple[int, int],
        image_size: int,
        pad_token_id: int,
        eos_token_ids: Sequence[int],
        max_new_tokens: int = 256,
        vision_sites: bool = True,
    ) -> None:
        self.name = name
        self.module = module.eval().requires_grad_(False)
        self.fingerprint = fingerprint
        self.tokenizer = tokenizer
        self.grid = grid
        self.image_size = image_size
        self.pad_token_id = pad_token_id
        self.eos_token_ids = tuple(eos_token_ids)
        self.max_new_tokens = max_new_tokens
        self.parts: Parts = find_parts(module, name)
        self._vision_sites = vision_sites

    @property
    def eos_token_id(self) -> int:  # type: ignore[override]
        return self.eos_token_ids[0]

    @property
    def writes(self) -> bool:  # type: ignore[override]
        return self.parts.head is not None

    @property
    def device(self) -> torch.device:
        """Where the inputs go: the first embedding's device, also of a model that is spread over several."""
        first = self.parts.token_embedding or self.parts.patch_embedding or self.module
        device = next(first.parameters()).device
        return torch.device("cpu") if device.type == "meta" else device

    def sites(self) -> dict[str, nn.Module]:
        parts = self.parts
        vision = parts.vision_blocks if self._vision_sites else ()
        projector = {"projector": parts.projector} if parts.projector is not None else {}
        return (
            {f"vision.{i}": block for i, block in enumerate(vision)}
            | projector
            | {f"language.{i}": block for i, block in enumerate(parts.language_blocks)}
        )

    def width(self, site: str) -> int:
        if site not in self.sites():
            raise InputError(f"site {site!r}: model {self.name!r} has {list(self.sites())}")
        if site.startswith("vision") or self.parts.token_embedding is None:
            return int(self.parts.patch_embedding.weight.shape[0])  # type: ignore[union-attr, index]
        return int(self.parts.token_embedding.embedding_dim)

    def arguments(self, inputs: ModelInputs) -> dict[str, Any]:
        """A batch as keyword arguments of the module's ``forward`` and ``generate``, on its device."""
        on = inputs.to(self.device, self.dtype)
        pixels = {} if on.pixel_values_nchw is None else {"pixel_values": on.pixel_values_nchw}
        return {"input_ids": on.input_ids_bt, "attention_mask": on.attention_mask_bt, **pixels, **on.extra}

    def refuse_boxes(self, grounded: bool) -> None:
        """For models that were never taught to ground: InputError where boxes are asked for."""
        if grounded:
            raise InputError(f"model {self.name!r}: writes no grounded reports; ask for a plain one")

    def checked(self, inputs: ModelInputs, answered: bool) -> ModelInputs:
        """A prompt as it is, if the model can take it.

        Args:
            answered: whether a report follows the prompt.

        Raises:
            InputError: it is longer than the model's positions, or ends before the report could begin.
        """
        study_id, length = inputs.study_ids[0], int(inputs.input_ids_bt.shape[1])
        config: Any = getattr(self.module, "config", None)
        text_config = config.get_text_config() if hasattr(config, "get_text_config") else config
        limit = getattr(text_config, "max_position_embeddings", None)
        if limit is not None and length > limit:
            raise InputError(
                f"study {study_id!r}: its prompt has {length} tokens, model {self.name!r} takes {limit}; leave out an "
                "image or shorten its texts"
            )
        if not answered and int(inputs.input_ids_bt[0, -1]) in self.eos_token_ids:
            raise InputError(
                f"model {self.name!r}: its tokenizer ends every prompt with the end token; it cannot go on"
            )
        return inputs

    @torch.no_grad()
    def forward(self, inputs: ModelInputs) -> torch.Tensor:
        return self.module(**self.arguments(inputs), use_cache=False).logits

    @torch.no_grad()
    def generate(
        self, inputs: ModelInputs, *, max_new_tokens: int | None = None, do_sample: bool = False, num_beams: int = 1
    ) -> list[Generation]:
        if not self.writes:
            raise InputError(f"model {self.name!r} is an encoder: it writes no reports")
        new_bt = self.module.generate(  # type: ignore[operator]
            **self.arguments(inputs),
            max_new_tokens=max_new_tokens or self.max_new_tokens,
            do_sample=do_sample,
            num_beams=num_beams,
            pad_token_id=self.pad_token_id,
            eos_token_id=list(self.eos_token_ids),
        )[:, inputs.input_ids_bt.shape[1] :]
        return [self._generation(study_id, row) for study_id, row in zip(inputs.study_ids, new_bt, strict=True)]

    def _generation(self, study_id: str, ids_t: torch.Tensor) -> Generation:
        ids: list[int] = ids_t.tolist()
        end = next((i for i, token in enumerate(ids) if token in self.eos_token_ids), None)
        kept = tuple(ids[:end])
        return Generation(study_id, self.text_of(kept), kept, end is not None)

    def unembedding(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        norm, head = self.parts.final_norm, self.parts.head
        if norm is None or head is None or "rmsnorm" not in type(norm).__name__.lower():
            return None
        if getattr(head, "bias", None) is not None:
            return None
        return _norm_scale(norm), head.weight  # type: ignore[return-value]

    def nnsight(self) -> Envoy:
        from activations.models.views import nnsight_view

        return nnsight_view(self)

    def bridge(self) -> TransformerBridge:
        from activations.models.views import bridge_view

        return bridge_view(self)

    def describe(self) -> Mapping[str, Any]:
        return {**super().describe(), "dtype": str(self.dtype).removeprefix("torch.")}


@torch.no_grad()
def _norm_scale(norm: nn.Module) -> torch.Tensor:
    """What the norm multiplies its unit-rms input with, (d,): some families keep the weight, some weight − 1."""
    weight: torch.Tensor = norm.weight  # type: ignore[assignment]
    ones = torch.ones(1, len(weight), device=weight.device, dtype=weight.dtype)
    return norm(ones)[0].detach()
