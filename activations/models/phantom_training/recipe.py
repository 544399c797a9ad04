"""The recipe as a whole: studies → encoder → report writer → two branches of it, free and late-reading → weights.

Each stage keeps its files under one work folder and is skipped or continued when the recipe is run again.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from activations.models.maira2 import Maira2ForConditionalGeneration
from activations.models.phantom import READ_FROM, phantom_config
from activations.models.phantom_language import BOX_BINS, vocabulary
from activations.models.phantom_training.data import TrainingData, load_training_data
from activations.models.phantom_training.encoder import encoder_features, train_encoder
from activations.models.phantom_training.reporter import train_reporter

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Recipe:
    """How the shipped weights were made. ``studies`` of phantom ``seed`` are for training only.

    The report writer starts with ``shared_steps`` of a schedule of ``shared_schedule`` steps, text free to look at the
    image in every block; from there one branch goes on so, in two rounds, the other with text barred from the image
    before block 3.
    """

    studies: int = 40_000
    seed: int = 0
    encoder_steps: int = 2_200
    shared_schedule: int = 3_200
    shared_steps: int = 1_250
    shared_learning_rate: float = 1.5e-3
    free_steps: int = 1_000
    free_again_steps: int = 1_000
    late_steps: int = 2_400
    branch_learning_rate: float = 1.2e-3


def train_phantom(work: Path, recipe: Recipe, progress: Progress | None = None) -> dict[str, Path]:
    """Train both variants; returns their weight folders under ``work``."""
    work.mkdir(parents=True, exist_ok=True)
    data = load_training_data(work / "studies", recipe.studies, recipe.seed, progress)
    minutes: dict[str, float] = {}
    encoder = _timed(minutes, "encoder", work, lambda: _encoder(work, recipe, data, progress))
    features = encoder_features(encoder, data, work / "features.npy", progress)

    def reporter(start: Maira2ForConditionalGeneration, name: str, **how: Any) -> Maira2ForConditionalGeneration:
        model = _model(recipe.seed, READ_FROM if name == "late" else 0, start)
        seed = recipe.seed + ("shared", "free", "late", "free-again").index(name)
        train_reporter(model, data, features, work / f"{name}.pt", seed=seed, progress=progress, **how)
        return model

    def branch(name: str, start: Maira2ForConditionalGeneration, steps: int) -> Maira2ForConditionalGeneration:
        rate = recipe.branch_learning_rate
        return _timed(
            minutes,
            name,
            work,
            lambda: reporter(start, name, steps=steps, learning_rate=rate, single_image_first=False),
        )

    shared = _timed(
        minutes,
        "shared",
        work,
        lambda: reporter(
            encoder,
            "shared",
            steps=recipe.shared_schedule,
            stop=recipe.shared_steps,
            learning_rate=recipe.shared_learning_rate,
        ),
    )
    late = branch("late", shared, recipe.late_steps)
    free = branch("free-again", branch("free", shared, recipe.free_steps), recipe.free_again_steps)
    folders = {"free": work / "phantom-free", "late": work / "phantom-late"}
    for name, model in (("free", free), ("late", late)):
        save_phantom(model, folders[name], {**asdict(recipe), "minutes": minutes, "machine": _machine()})
    return folders


def save_phantom(model: Maira2ForConditionalGeneration, folder: Path, made: dict[str, Any]) -> None:
    """Write ``config.json`` and ``model.safetensors`` (float16), the form that ``open_model(folder)`` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {key: value.detach().half().contiguous() for key, value in model.state_dict().items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    config = {
        "kind": "interp-phantom",
        "image_read_from": model.config.image_read_from,
        "box_bins": BOX_BINS,
        "vocabulary": list(vocabulary()),
        "recipe": made,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")


def _encoder(
    work: Path, recipe: Recipe, data: TrainingData, progress: Progress | None
) -> Maira2ForConditionalGeneration:
    model = _model(recipe.seed, 0, None)
    train_encoder(model, data, work / "encoder.pt", steps=recipe.encoder_steps, seed=recipe.seed, progress=progress)
    return model


def _model(seed: int, read_from: int, start: Maira2ForConditionalGeneration | None) -> Maira2ForConditionalGeneration:
    torch.manual_seed(seed)
    model = Maira2ForConditionalGeneration(phantom_config(read_from))
    if start is not None:
        model.load_state_dict(start.state_dict())
        model.vision_tower.requires_grad_(False)
    return model


def _timed(minutes: dict[str, float], stage: str, work: Path, run: Callable[[], Any]) -> Any:
    """Run a stage; its minutes add up over interrupted runs."""
    log = work / "minutes.json"
    started = time.monotonic()
    try:
        return run()
    finally:
        before: dict[str, float] = json.loads(log.read_text()) if log.exists() else {}
        before[stage] = round(before.get(stage, 0.0) + (time.monotonic() - started) / 60, 2)
        log.write_text(json.dumps(before))
        minutes[stage] = before[stage]


def _machine() -> str:
    return f"{torch.get_num_threads()} CPU threads, {platform.machine()}, torch {torch.__version__}"
