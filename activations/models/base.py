"""The one interface through which every room sees a report-writing model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from activations.roles import TokenTable
from radiology.errors import InputError

if TYPE_CHECKING:
    from radiology.grounding import Grounded
    from radiology.study import Study


@dataclass(frozen=True)
class ModelInputs:
    """A batch of prompts, left-padded, with a role for every token.

    Shapes: ``input_ids_bt`` and ``attention_mask_bt`` (B, T) int64; ``pixel_values_nchw`` (images of the whole batch in
    the order of their placeholders, 3, H, W) float32, or ``None``. ``tokens[i]`` describes the last ``len(tokens[i])``
    columns of row i; what is left of them is padding. ``extra`` holds whatever else the module's ``forward`` wants, by
    argument name: (B, T) tensors are padded like the ids, others are joined along their first axis.
    """

    input_ids_bt: torch.Tensor
    attention_mask_bt: torch.Tensor
    pixel_values_nchw: torch.Tensor | None
    tokens: tuple[TokenTable, ...]
    study_ids: tuple[str, ...]
    extra: Mapping[str, torch.Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def padding(self) -> tuple[int, ...]:
        """Number of padding columns at the left of each row."""
        width = int(self.input_ids_bt.shape[1])
        return tuple(width - len(table) for table in self.tokens)

    def columns(self, i: int, positions: np.ndarray) -> np.ndarray:
        """Columns of the padded batch that hold the given prompt positions of row ``i``."""
        return np.asarray(positions) + self.padding[i]

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> ModelInputs:
        pixels = self.pixel_values_nchw
        return replace(
            self,
            input_ids_bt=self.input_ids_bt.to(device),
            attention_mask_bt=self.attention_mask_bt.to(device),
            pixel_values_nchw=None if pixels is None else pixels.to(device, dtype),
            extra={name: _moved(value, device, dtype) for name, value in self.extra.items()},
        )


def _moved(value: torch.Tensor, device: torch.device | str, dtype: torch.dtype | None) -> torch.Tensor:
    return value.to(device, dtype) if value.is_floating_point() else value.to(device)


@dataclass(frozen=True)
class Generation:
    """What a model wrote for one study: the text and the new token ids (end token and padding left out)."""

    study_id: str
    text: str
    token_ids: tuple[int, ...]
    finished: bool  # False: stopped by max_new_tokens


class ReportModel(ABC):
    """A model that writes reports about studies, opened by :func:`activations.models.open_model`.

    Attributes:
        name: what was asked for, e.g. ``phantom``.
        fingerprint: hash of configuration and weights; equal models have equal fingerprints.
        module: the torch module; its parameters are never changed by this toolkit.
        tokenizer: a ``transformers`` tokenizer.
        grid: (rows, columns) of patches of one image.
        image_size: side of the square crop that the encoder sees, in pixels; 0 for a model without images.
        writes: False for an encoder, which has activations and writes nothing.
    """

    name: str
    fingerprint: str
    module: nn.Module
    tokenizer: Any
    grid: tuple[int, int]
    image_size: int
    pad_token_id: int
    eos_token_id: int
    writes: bool = True

    @property
    def device(self) -> torch.device:
        return next(self.module.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.module.parameters()).dtype

    @abstractmethod
    def encode(self, study: Study, report: str | None = None, *, grounded: bool = False) -> ModelInputs:
        """One prompt (B = 1). With ``report``, the prompt is followed by it and the end token: teacher forcing."""

    @abstractmethod
    def sites(self) -> dict[str, nn.Module]:
        """Site name → module whose output is that site: ``projector``, ``language.0`` …, ``vision.0`` …

        A ``language.L`` module's output is (or is a tuple that starts with) the residual (B, T, d) after block L.
        """

    @abstractmethod
    def width(self, site: str) -> int:
        """Width d of a site. InputError lists the sites if there is no such."""

    @abstractmethod
    def forward(self, inputs: ModelInputs) -> torch.Tensor:
        """Logits (B, T, V) of one pass without gradients."""

    @abstractmethod
    def generate(
        self, inputs: ModelInputs, *, max_new_tokens: int | None = None, do_sample: bool = False, num_beams: int = 1
    ) -> list[Generation]:
        """Continue each prompt of the batch (greedy by default) with a KV cache."""

    @abstractmethod
    def preview(self, study: Study, image: str, size: int | None = None) -> np.ndarray:
        """The square crop of an image that the encoder sees, (size, size) uint8 grey; patch (r, c) of the grid covers
        rows r·size/rows … and columns c·size/cols … of it."""

    @abstractmethod
    def unembedding(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        """(norm weight (d,), W_U (V, d)): logits of a residual x are ``rmsnorm(x) * norm @ W_U.T`` (logit lens).

        None where that formula does not hold: an encoder, or a decoder with another norm.
        """

    def text_of(self, ids: Sequence[int]) -> str:
        """The text of generated ids."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True)).strip()

    def grounded(self, text: str) -> Grounded:
        """Grounded text → sentences with boxes in [0, 1] of the crop, and what was malformed; never raises.

        A model without grounding gives the text as it is.
        """
        from radiology.grounding import Grounded

        return Grounded((), text, ())

    def nnsight(self) -> Any:
        """The very module for nnsight; see :func:`activations.models.views.nnsight_view`."""
        raise InputError(f"model {self.name!r}: has no view for nnsight")

    def bridge(self) -> Any:
        """The language half as a TransformerLens bridge over the same parameters (``blocks.L.hook_resid_post``).

        See :func:`activations.models.views.bridge_view`; InputError where TransformerLens cannot bridge the model.
        """
        raise InputError(f"model {self.name!r}: has no bridge to TransformerLens")

    def collate(self, batch: Sequence[ModelInputs]) -> ModelInputs:
        """Left-pad prompts of different length into one batch."""
        width = max(int(one.input_ids_bt.shape[1]) for one in batch)

        def pad(rows_bt: torch.Tensor, value: int) -> torch.Tensor:
            return nn.functional.pad(rows_bt, (width - rows_bt.shape[1], 0), value=value)

        pixels = [one.pixel_values_nchw for one in batch if one.pixel_values_nchw is not None]
        return ModelInputs(
            torch.cat([pad(one.input_ids_bt, self.pad_token_id) for one in batch]),
            torch.cat([pad(one.attention_mask_bt, 0) for one in batch]),
            torch.cat(pixels) if pixels else None,
            tuple(table for one in batch for table in one.tokens),
            tuple(study_id for one in batch for study_id in one.study_ids),
            {name: self._joined(name, batch, pad) for name in dict.fromkeys(key for one in batch for key in one.extra)},
        )

    @staticmethod
    def _joined(
        name: str, batch: Sequence[ModelInputs], pad: Callable[[torch.Tensor, int], torch.Tensor]
    ) -> torch.Tensor:
        parts = [(one.extra[name], one.input_ids_bt.shape) for one in batch if name in one.extra]
        a_token = all(value.shape == shape for value, shape in parts)
        return torch.cat([pad(value, 0) if a_token else value for value, _ in parts])

    def encode_batch(
        self, studies: Sequence[Study], reports: Sequence[str | None] | None = None, *, grounded: bool = False
    ) -> ModelInputs:
        """Prompts of several studies (teacher-forced where a report is given) as one left-padded batch."""
        texts = reports if reports is not None else [None] * len(studies)
        return self.collate([self.encode(s, r, grounded=grounded) for s, r in zip(studies, texts, strict=True)])

    def write(self, studies: Sequence[Study], *, batch: int = 16, **options: Any) -> list[Generation]:
        """Reports for many studies, in order. ``options`` go to :meth:`generate`."""
        written: list[Generation] = []
        for start in range(0, len(studies), batch):
            written += self.generate(self.encode_batch(studies[start : start + batch]), **options)
        return written

    def describe(self) -> Mapping[str, Any]:
        """What goes into manifests: name, fingerprint, grid, image size, sites."""
        return {
            "name": self.name,
            "fingerprint": self.fingerprint,
            "grid": list(self.grid),
            "image_size": self.image_size,
            "sites": list(self.sites()),
        }
