"""The phantom model: MAIRA-2's architecture at toy size, trained on phantom studies, weights shipped in the package.

Three variants: ``phantom`` (text reads the image from the middle block on: known reading depth), ``phantom:free``
(trained without that bar) and ``phantom:random`` (the same architecture with random weights: the control).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import xxhash
from safetensors.torch import load_file
from torch import nn
from transformers import Dinov2Config, LlamaConfig

from activations.models.base import ModelInputs
from activations.models.maira2 import Maira2Config, Maira2ForConditionalGeneration
from activations.models.phantom_language import BOX_BINS, IMAGE, build_prompt, build_tokenizer, ids_text, vocabulary
from activations.models.pixels import square, stretch
from activations.models.transformer import TransformerReportModel
from activations.roles import IMAGE_NAMES
from radiology.errors import InputError

if TYPE_CHECKING:
    from activations.roles import TokenTable
    from radiology.grounding import Grounded
    from radiology.study import Study

WEIGHTS = Path(__file__).parent / "weights"
VARIANTS = ("late", "free", "random")

IMAGE_SIZE = 140
PATCH = 14
GRID = (IMAGE_SIZE // PATCH, IMAGE_SIZE // PATCH)
READ_FROM = 3
#: Mean and standard deviation of phantom pixels in [0, 1] after the per-image min–max stretch.
PIXEL_MEAN, PIXEL_STD = 0.45, 0.26
_RANDOM_SEED = 20250717


def phantom_config(image_read_from: int) -> Maira2Config:
    """The architecture: ViT 128×4 on 140 px with patch 14, four projector layers, Llama 128×6."""
    vision = Dinov2Config(  # type: ignore[call-arg]
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        mlp_ratio=4,
        image_size=IMAGE_SIZE,
        patch_size=PATCH,
        out_features=["stage4"],
        apply_layernorm=True,
        reshape_hidden_states=True,
        use_mask_token=False,
    )
    words = vocabulary()
    text = LlamaConfig(
        vocab_size=len(words),
        hidden_size=128,
        intermediate_size=320,
        num_hidden_layers=6,
        num_attention_heads=4,
        max_position_embeddings=1024,
        rope_parameters={"rope_type": "linear", "factor": 1.5, "rope_theta": 10_000.0},
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=False,
    )
    return Maira2Config(vision, text, image_token_index=words.index(IMAGE), image_read_from=image_read_from)


def open_phantom(variant: str = "late", device: str = "cpu", dtype: torch.dtype | None = None) -> PhantomReportModel:
    """Open a variant of the phantom model.

    Raises:
        InputError: an unknown variant, or weights that are missing from the installation.
    """
    if variant not in VARIANTS:
        raise InputError(f"model 'phantom:{variant}': there is no such variant; choose one of {list(VARIANTS)}")
    if variant == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_RANDOM_SEED)
            module = Maira2ForConditionalGeneration(phantom_config(READ_FROM))
        return PhantomReportModel("phantom:random", _placed(module, device, dtype))
    return open_phantom_folder(WEIGHTS / f"phantom-{variant}", f"phantom:{variant}", device, dtype)


def open_phantom_folder(
    folder: Path, name: str, device: str = "cpu", dtype: torch.dtype | None = None
) -> PhantomReportModel:
    """Open phantom weights from a folder with ``config.json`` and ``model.safetensors``."""
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise InputError(
            f"model {name!r}: no weights at {weights}; reinstall the package, or train them: interp phantom train"
        )
    saved = json.loads((folder / "config.json").read_text())
    if saved["vocabulary"] != list(vocabulary()):
        raise InputError(f"model {name!r}: {folder} was trained with another vocabulary; train it anew")
    with torch.random.fork_rng(devices=[]):  # a new module draws weights, which the saved ones replace
        module = Maira2ForConditionalGeneration(phantom_config(saved["image_read_from"]))
    module.load_state_dict({key: value.float() for key, value in load_file(weights).items()}, strict=True)
    return PhantomReportModel(name, _placed(module, device, dtype))


def _placed(
    module: Maira2ForConditionalGeneration, device: str, dtype: torch.dtype | None
) -> Maira2ForConditionalGeneration:
    nn.Module.to(module, device, dtype or torch.float32)
    return module


def phantom_pixels(grey_hw: np.ndarray) -> np.ndarray:
    """Preprocessing up to the crop: min–max to 0–255, shortest edge to 140 px, centre crop → (140, 140) uint8.

    A constant image becomes all zero.
    """
    return square(stretch(grey_hw), IMAGE_SIZE)


def normalise(crops_nhw: torch.Tensor) -> torch.Tensor:
    """uint8 crops (n, H, W) → encoder input (n, 3, H, W) float32."""
    scaled = (crops_nhw.float() / 255 - PIXEL_MEAN) / PIXEL_STD
    return scaled[:, None].expand(-1, 3, -1, -1)


class PhantomReportModel(TransformerReportModel):
    """The phantom model behind the common interface."""

    module: Maira2ForConditionalGeneration

    def __init__(self, name: str, module: Maira2ForConditionalGeneration) -> None:
        super().__init__(
            name,
            module,
            fingerprint=_fingerprint(module),
            tokenizer=build_tokenizer(),
            grid=GRID,
            image_size=IMAGE_SIZE,
            pad_token_id=0,
            eos_token_ids=(2,),
            max_new_tokens=128,
        )

    @property
    def image_read_from(self) -> int:
        """First block in which text may attend to image tokens: the known reading depth."""
        return int(self.module.config.image_read_from)

    def encode(self, study: Study, report: str | None = None, *, grounded: bool = False) -> ModelInputs:
        table = build_prompt(study, self.grid, report, grounded)
        ids_bt = torch.from_numpy(table.token_id.astype(np.int64))[None]
        crops = [phantom_pixels(study.pixels(name)) for name in _image_order(table)]
        pixels = normalise(torch.from_numpy(np.stack(crops))) if crops else None
        return ModelInputs(ids_bt, torch.ones_like(ids_bt), pixels, (table,), (study.study_id,))

    def text_of(self, ids: Sequence[int]) -> str:
        return ids_text(ids)

    def grounded(self, text: str) -> Grounded:
        from radiology.grounding import parse_grounded

        return parse_grounded(text, BOX_BINS)

    def preview(self, study: Study, image: str, size: int | None = None) -> np.ndarray:
        return square(stretch(study.pixels(image)), size or self.image_size)


def _image_order(table: TokenTable) -> list[str]:
    """Names of the images of a prompt in the order of their tokens."""
    numbers = table.image[table.image >= 0]
    return [IMAGE_NAMES[n] for n in dict.fromkeys(numbers.tolist())]


def _fingerprint(module: nn.Module) -> str:
    digest = xxhash.xxh3_128()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
