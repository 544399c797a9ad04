"""Stage one: the vision tower learns to show findings, patch by patch.

Study labels alone leave a small ViT near chance for minutes; a per-patch target (which findings cover this patch) is
what makes it learn quickly. Both heads are thrown away afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from activations.models.maira2 import Maira2ForConditionalGeneration
from activations.models.phantom import GRID, normalise
from activations.models.phantom_training.data import TrainingData
from activations.models.phantom_training.loop import LoopConfig, optimise
from activations.roles import IMAGE_NAMES
from radiology.phantom.factors import FINDING_KEYS

#: Patches with a finding are few, those with a nodule fewest: a positive weighs 1/√(its share), at most this.
_MOST_POSITIVE_WEIGHT = 25.0


class EncoderTrainer(nn.Module):
    """The model's vision tower with a patch head and an image head (max over patches, frontal images only)."""

    def __init__(self, model: Maira2ForConditionalGeneration) -> None:
        super().__init__()
        width = model.config.vision_config.hidden_size
        self.vision_tower = model.vision_tower
        self.patch_head = nn.Linear(width, len(FINDING_KEYS))
        self.image_head = nn.Linear(2 * width, len(FINDING_KEYS))
        with torch.no_grad():
            self.vision_tower.embeddings.position_embeddings.copy_(_sine_cosine_positions(width))

    def forward(self, pixels_nchw: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, 3, H, W) → patch logits (n, patches, findings) and image logits (n, findings)."""
        features_npd = self.vision_tower(pixels_nchw).feature_maps[-1].flatten(2).transpose(1, 2)
        pooled_nd = torch.cat([features_npd.mean(1), features_npd.amax(1)], dim=-1)
        return self.patch_head(features_npd), self.image_head(pooled_nd)


def train_encoder(
    model: Maira2ForConditionalGeneration,
    data: TrainingData,
    checkpoint: Path,
    *,
    steps: int,
    batch: int = 64,
    seed: int = 0,
    progress: Callable[[int, int, str], None] | None = None,
) -> None:
    """Train ``model.vision_tower`` in place on frontal and lateral images."""
    torch.manual_seed(seed)
    trainer = EncoderTrainer(model).train()
    usable = np.flatnonzero(data.image_kind != IMAGE_NAMES.index("prior_frontal"))
    frontal_m = torch.from_numpy(data.image_kind == IMAGE_NAMES.index("frontal"))
    share_f = torch.from_numpy(data.patch_targets[:4000].mean((0, 1))).float()
    weight_f = share_f.clamp(min=1e-6).rsqrt().clamp(max=_MOST_POSITIVE_WEIGHT)

    def loss_of_step(step: int) -> torch.Tensor:
        epoch, place = divmod(step * batch, len(usable) - batch)
        chosen = usable[np.random.default_rng([seed, epoch]).permutation(len(usable))[place : place + batch]]
        patch_logits, image_logits = trainer(normalise(torch.from_numpy(data.crops[chosen])))
        patches = torch.from_numpy(data.patch_targets[chosen]).float()
        labels = torch.from_numpy(data.labels[data.study_of_image[chosen]]).float()
        patch_loss = functional.binary_cross_entropy_with_logits(patch_logits, patches, pos_weight=weight_f)
        is_frontal = frontal_m[chosen]
        image_loss = functional.binary_cross_entropy_with_logits(image_logits[is_frontal], labels[is_frontal])
        return 2 * patch_loss + image_loss

    optimise(trainer, loss_of_step, LoopConfig(steps, 8e-4), checkpoint, progress)


def encoder_features(
    model: Maira2ForConditionalGeneration,
    data: TrainingData,
    path: Path,
    progress: Callable[[int, int, str], None] | None = None,
) -> np.ndarray:
    """Features of every image by the frozen encoder, (m, patches, d) float16 on disk, made once."""
    shape = (len(data.crops), GRID[0] * GRID[1], model.config.vision_config.hidden_size)
    if not path.exists():
        temporary = path.with_suffix(".tmp.npy")
        out = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float16, shape=shape)
        model.eval()
        with torch.no_grad():
            for start in range(0, shape[0], 256):
                crops = torch.from_numpy(data.crops[start : start + 256])
                out[start : start + 256] = model.image_features(normalise(crops)).numpy()
                if progress:
                    progress(min(start + 256, shape[0]), shape[0], "encoder features")
        out.flush()
        temporary.rename(path)
    return np.load(path, mmap_mode="r")


def _sine_cosine_positions(width: int) -> torch.Tensor:
    """Fixed 2-D sine–cosine table as a start of the learned positions, (1, 1 + patches, d); CLS row zero."""
    rows, cols = np.meshgrid(np.arange(GRID[0]), np.arange(GRID[1]), indexing="ij")
    frequencies = 1 / 100 ** (np.arange(width // 4) / (width // 4))
    parts = [f(axis.reshape(-1, 1) * frequencies) for axis in (rows, cols) for f in (np.sin, np.cos)]
    table = np.concatenate([np.zeros((1, width)), np.concatenate(parts, axis=1)])
    return torch.from_numpy(0.5 * table).float()[None]
