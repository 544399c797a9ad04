"""Image encoders of the Dinov2 kind (RAD-DINO): activations of patches, no text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from activations.models.base import ModelInputs
from activations.models.layout import leading_rows
from activations.models.pixels import Crop
from activations.models.structure import module_tree
from activations.models.transformer import TransformerReportModel
from activations.roles import IMAGE_NAMES, TokenTable
from radiology.errors import InputError

if TYPE_CHECKING:
    from radiology.study import Study

PATCH_TOKEN = "<patch>"


class EncoderModel(TransformerReportModel):
    """An image encoder behind the common interface: the tokens of a study are the patches of all its images.

    An image is stretched to 8 bit by its own minimum and maximum and cut to a square, as MAIRA-2 and RAD-DINO are
    trained; the checkpoint's image processor does the rest (scale, mean, standard deviation). Sites are ``vision.L``;
    rows of CLS and registers are left out. The last site is before the encoder's final norm.

    Args:
        module: its ``forward`` takes ``pixel_values``.
        image_processor: of transformers.

    Raises:
        InputError: the rows of the encoder's blocks are not its patches in row-major order.
    """

    def __init__(self, name: str, module: nn.Module, image_processor: Any, crop: Crop, *, fingerprint: str) -> None:
        self.crop = crop
        self._image_processor = image_processor
        blank = self._pixels([np.zeros((crop.side, crop.side), dtype=np.uint8)])
        super().__init__(
            name,
            module,
            fingerprint=fingerprint,
            tokenizer=_patch_tokenizer(),
            grid=(0, 0),
            image_size=int(blank.shape[-1]),
            pad_token_id=0,
            eos_token_ids=(-1,),
        )
        height, width = self._stride()
        self.grid = (int(blank.shape[-2]) // height, int(blank.shape[-1]) // width)
        if leading_rows(self, self._inputs(blank, ("frontal",), "blank")) is None:
            raise InputError(
                f"model {name!r}: the rows of its blocks are not the {self.grid[0]} × {self.grid[1]} patches of an "
                f"image, row by row, so nobody can say which is which. Its modules are:\n{module_tree(module)}"
            )

    def encode(self, study: Study, report: str | None = None, *, grounded: bool = False) -> ModelInputs:
        self.refuse_boxes(grounded)
        images = tuple(name for name in IMAGE_NAMES if name in study.images)
        if not images:
            raise InputError(f"study {study.study_id!r}: has no image, and model {self.name!r} reads images only")
        return self._inputs(self._pixels([study.pixels(name) for name in images]), images, study.study_id)

    def arguments(self, inputs: ModelInputs) -> dict[str, Any]:
        pixels = inputs.pixel_values_nchw
        assert pixels is not None
        return {"pixel_values": pixels.to(self.device, self.dtype)}

    @torch.no_grad()
    def forward(self, inputs: ModelInputs) -> torch.Tensor:
        """The last hidden state (images, rows, d): an encoder has no logits."""
        return self.module(**self.arguments(inputs)).last_hidden_state

    def preview(self, study: Study, image: str, size: int | None = None) -> np.ndarray:
        return self.crop.preview(study.pixels(image), size or self.image_size)

    def describe(self) -> Mapping[str, Any]:
        return {**super().describe(), "writes": False}

    def _inputs(self, pixels_nchw: torch.Tensor, images: tuple[str, ...], study_id: str) -> ModelInputs:
        table = TokenTable.concatenate([TokenTable.patches(0, name, *self.grid) for name in images])
        ids_bt = torch.zeros(1, len(table), dtype=torch.int64)
        return ModelInputs(ids_bt, torch.ones_like(ids_bt), pixels_nchw, (table,), (study_id,))

    def _pixels(self, images: list[np.ndarray]) -> torch.Tensor:
        pictures = [self.crop.picture(grey) for grey in images]
        return self._image_processor(images=pictures, return_tensors="pt")["pixel_values"]

    def _stride(self) -> tuple[int, int]:
        height, width = self.parts.patch_embedding.stride[-2:]  # type: ignore[union-attr, index]
        return int(height), int(width)


def _patch_tokenizer() -> Any:
    """A tokenizer whose only word is the patch, so that tables of tokens can be read as those of other models."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({PATCH_TOKEN: 0}, unk_token=PATCH_TOKEN))
    return PreTrainedTokenizerFast(tokenizer_object=words, unk_token=PATCH_TOKEN, pad_token=PATCH_TOKEN)
