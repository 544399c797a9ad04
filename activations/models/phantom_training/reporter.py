"""Stage two: projector and decoder learn to write reports from the frozen encoder's features, by teacher forcing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from activations.models.maira2 import Maira2ForConditionalGeneration
from activations.models.phantom_training.data import TrainingData
from activations.models.phantom_training.loop import LoopConfig, optimise

_IGNORE = -100
#: Share of steps on grounded reports, and of the first steps that use studies with one image only (they are cheap).
_GROUNDED_SHARE = 0.4
_WARMUP_SHARE = 0.25


class ReporterTrainer(nn.Module):
    """The parts that learn: everything but the vision tower."""

    def __init__(self, model: Maira2ForConditionalGeneration) -> None:
        super().__init__()
        self.projector = model.multi_modal_projector
        self.language = model.language_model
        self._model = [model]  # in a list, so that the frozen tower is not one of this module's parameters
        # fusing the small operations of a small decoder makes its step half as long; it needs a C++ compiler
        self._decoder = [
            torch.compile(self.language.model, dynamic=True) if shutil.which("g++") else self.language.model
        ]

    def loss(self, ids_bt: torch.Tensor, targets_bt: torch.Tensor, features_npd: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy of the report tokens; ``targets_bt`` is −100 where nothing is to be learned."""
        model = self._model[0]
        embeds = model.embed(ids_bt, None, features_npd)
        hidden = self._decoder[0](
            inputs_embeds=embeds, image_mask_bt=ids_bt == model.config.image_token_index, use_cache=False
        ).last_hidden_state
        wanted = targets_bt != _IGNORE
        return functional.cross_entropy(self.language.lm_head(hidden[wanted]), targets_bt[wanted])


def train_reporter(
    model: Maira2ForConditionalGeneration,
    data: TrainingData,
    features_mpd: np.ndarray,
    checkpoint: Path,
    *,
    steps: int,
    learning_rate: float,
    stop: int | None = None,
    batch: int = 32,
    seed: int = 0,
    single_image_first: bool = True,
    progress: Callable[[int, int, str], None] | None = None,
) -> None:
    """Train projector and decoder in place. Batches hold studies with equally many images, so that they pad little.

    ``single_image_first``: the first quarter of the steps takes only studies with one image, which are cheap.
    """
    torch.manual_seed(seed)
    trainer = ReporterTrainer(model).train()
    images_of_study = _images_of_study(data)
    counts = np.asarray([len(images) for images in images_of_study])
    buckets = {n: np.flatnonzero(counts == n) for n in np.unique(counts)}

    def loss_of_step(step: int) -> torch.Tensor:
        rng = np.random.default_rng([seed, step])
        only_one = single_image_first and step < _WARMUP_SHARE * steps
        n_images = int(min(buckets)) if only_one else int(counts[rng.integers(len(counts))])
        chosen = rng.choice(buckets[n_images], batch)
        grounded = rng.random() < _GROUNDED_SHARE
        ids_bt, targets_bt = _batch(data, chosen, grounded)
        images = np.concatenate([images_of_study[study] for study in chosen])
        return trainer.loss(ids_bt, targets_bt, torch.from_numpy(features_mpd[images].astype(np.float32)))

    optimise(trainer, loss_of_step, LoopConfig(steps, learning_rate, stop=stop), checkpoint, progress)


def _images_of_study(data: TrainingData) -> list[np.ndarray]:
    counts = np.bincount(data.study_of_image, minlength=len(data))
    return np.split(np.arange(len(data.study_of_image)), np.cumsum(counts)[:-1])


def _batch(data: TrainingData, chosen: np.ndarray, grounded: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Right-padded ids (B, T) and next-token targets (B, T), −100 outside of the report.

    Padding at the right needs no attention mask: a causal decoder never looks there.
    """
    prompts = data.grounded_prompts if grounded else data.prompts
    reports = data.grounded_reports if grounded else data.reports
    width = max(len(prompts[i]) + len(reports[i]) for i in chosen) - 1
    ids_bt = torch.zeros(len(chosen), width, dtype=torch.long)
    targets_bt = torch.full((len(chosen), width), _IGNORE)
    for row, i in enumerate(chosen):
        whole = torch.from_numpy(np.concatenate([prompts[i], reports[i]]).astype(np.int64))
        ids_bt[row, : len(whole) - 1] = whole[:-1]
        targets_bt[row, len(prompts[i]) - 1 : len(whole) - 1] = whole[len(prompts[i]) :]
    return ids_bt, targets_bt
