"""Any vision-language model that transformers opens for images and text: LLaVA, Gemma 3 / MedGemma, Qwen2.5-VL …

The checkpoint's own processor makes ids and pixels of our words (:mod:`activations.models.chat`) and of square
pictures; roles come from how the prompt was put together. How many tokens an image has, and which row of which module
is which patch, is seen from one blank study when the model is opened.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from activations.models.base import ModelInputs
from activations.models.chat import PromptWriter
from activations.models.layout import leading_rows, projects_patches
from activations.models.pixels import Crop
from activations.models.prompts import Piece, expanded, pieces_of, recorded, section_texts, text_of, token_table
from activations.models.transformer import TransformerReportModel
from activations.roles import IMAGE_NAMES, Role
from radiology.errors import InputError

if TYPE_CHECKING:
    from radiology.study import Study

_OWN = ("input_ids", "attention_mask")


class VisionLanguageModel(TransformerReportModel):
    """A vision-language model behind the common interface.

    Attributes:
        writer: the prompt's wording; ``writer.instruction`` may be changed.
        crop: the square that the processor gets, and what it keeps of it.

    Args:
        processor: of transformers; called with text and images.
        image_token_id: the token of one patch.

    Raises:
        InputError: image tokens form no grid, or the processor's pixels have an unknown shape.
    """

    def __init__(
        self,
        name: str,
        module: nn.Module,
        processor: Any,
        crop: Crop,
        *,
        fingerprint: str,
        writer: PromptWriter,
        image_token_id: int,
        pad_token_id: int,
        eos_token_ids: Sequence[int],
    ) -> None:
        super().__init__(
            name,
            module,
            fingerprint=fingerprint,
            tokenizer=writer.tokenizer,
            grid=(0, 0),
            image_size=crop.seen,
            pad_token_id=pad_token_id,
            eos_token_ids=eos_token_ids,
            vision_sites=False,
        )
        self.writer = writer
        self.crop = crop
        self._processor = processor
        self._image_token_id = image_token_id
        self._accepted = set(inspect.signature(module.forward).parameters) - set(_OWN)
        self._look_at_blank_study()

    def encode(self, study: Study, report: str | None = None, *, grounded: bool = False) -> ModelInputs:
        self.refuse_boxes(grounded)
        images = tuple(name for name in IMAGE_NAMES if name in study.images)
        texts = section_texts(study, report)
        if "prior_frontal" not in images:
            texts.pop(Role.PRIOR_REPORT, None)
        if not images and not texts:
            raise InputError(f"study {study.study_id!r}: has neither an image nor a text for a prompt")
        for role, text in texts.items():
            if self.writer.image_token in text:
                raise InputError(
                    f"study {study.study_id!r}: {role.name.lower()} holds {self.writer.image_token!r}, which stands "
                    "for an image in this model's prompts; remove it"
                )
        pieces = pieces_of(self.writer.marked(images, tuple(texts), prior="prior_frontal" in images), texts)
        made, pieces = self._processed(pieces, [self.crop.picture(study.pixels(name)) for name in images])
        table = token_table(
            self.tokenizer,
            pieces,
            made["input_ids"][0].tolist(),
            image_token_id=self._image_token_id,
            images=images,
            grid=self.grid,
        )
        inputs = replace(self._inputs(made), tokens=(table,), study_ids=(study.study_id,))
        return self.checked(inputs, report is not None)

    def preview(self, study: Study, image: str, size: int | None = None) -> np.ndarray:
        return self.crop.preview(study.pixels(image), size or self.image_size)

    def _processed(self, pieces: Sequence[Piece], pictures: list[Image.Image]) -> tuple[Mapping[str, Any], list[Piece]]:
        """What the processor makes of a prompt, and the prompt with its image tokens written out."""
        text = text_of(pieces)
        start = self.tokenizer.bos_token
        # templates that write the start token themselves must not get a second one
        options = {"add_special_tokens": False} if start is not None and text.startswith(start) else {}

        def call() -> Any:
            try:
                return self._processor(
                    text=[text], images=[pictures] if pictures else None, return_tensors="pt", **options
                )
            except Exception as error:
                # what it says may quote the prompt, and with it a patient; only the blank study has nobody's words
                said = f": {error}" if all(piece.role is Role.TEMPLATE for piece in pieces) else ""
                raise InputError(
                    f"model {self.name!r}: its processor cannot take the prompt ({type(error).__name__}{said})"
                ) from None

        made, written = recorded(self._processor, call)
        return made, expanded(pieces, written, self.writer.image_token)

    def _inputs(self, made: Mapping[str, Any]) -> ModelInputs:
        ids_bt: torch.Tensor = made["input_ids"]
        extra = {name: value for name, value in made.items() if name in self._accepted}
        pixels = extra.get("pixel_values")
        if pixels is not None and pixels.dim() == 4:
            del extra["pixel_values"]
        elif pixels is not None and pixels.dim() != 2:
            raise InputError(
                f"model {self.name!r}: its processor makes pixels of shape {tuple(pixels.shape)} of one image; "
                "understood are (images, 3, height, width) and flat patches (patches, values), not images in tiles"
            )
        else:
            pixels = None
        return ModelInputs(ids_bt, torch.ones_like(ids_bt), pixels, (), (), extra)

    def _look_at_blank_study(self) -> None:
        """Find grid, image size and the sites whose rows are patches."""
        blank = self.crop.picture(np.zeros((self.crop.side, self.crop.side), dtype=np.uint8))
        pieces = pieces_of(self.writer.marked(("frontal",), ()), {})
        made, pieces = self._processed(pieces, [blank])
        ids = made["input_ids"]
        inputs = self._inputs(made)
        count = int((ids == self._image_token_id).sum())
        self.grid = self._grid(count, inputs)
        self.image_size = self._side_in_pixels(inputs)
        if self.crop.side == self.crop.seen != self.image_size:  # it takes many sizes: give what it makes of them all
            self.crop = Crop(self.image_size, self.image_size)
        table = token_table(
            self.tokenizer,
            pieces,
            ids[0].tolist(),
            image_token_id=self._image_token_id,
            images=("frontal",),
            grid=self.grid,
        )
        inputs = replace(inputs, tokens=(table,), study_ids=("blank",))
        self._vision_sites = leading_rows(self, inputs) is not None
        if not projects_patches(self, inputs):
            self.parts = replace(self.parts, projector=None)

    def _grid(self, count: int, inputs: ModelInputs) -> tuple[int, int]:
        """Rows and columns of the image tokens of one image."""
        shape = inputs.extra.get("image_grid_thw")
        if shape is not None and count:
            frames, rows, cols = (int(n) for n in shape[0])
            merged = math.isqrt(frames * rows * cols // count)
            if merged and (rows // merged) * (cols // merged) == count:
                return rows // merged, cols // merged
        side = math.isqrt(count)
        if not count or side * side != count:
            raise InputError(
                f"model {self.name!r}: its processor makes {count} image tokens of a square picture of "
                f"{self.crop.side} pixels, which form no square grid; nobody can say which patch a token is"
            )
        return side, side

    def _side_in_pixels(self, inputs: ModelInputs) -> int:
        if inputs.pixel_values_nchw is not None:
            return int(inputs.pixel_values_nchw.shape[-1])
        shape = inputs.extra.get("image_grid_thw")
        stride = getattr(self.parts.patch_embedding, "stride", None)
        return int(shape[0, -1]) * int(stride[-1]) if shape is not None and stride else self.crop.seen
