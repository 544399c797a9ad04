"""Training data of the phantom model: studies as arrays, in chunk files that are made once and reused."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from activations.models.phantom import GRID, IMAGE_SIZE, PATCH, phantom_pixels
from activations.models.phantom_language import BOX_BINS, build_prompt, text_ids
from activations.roles import IMAGE_NAMES
from radiology.phantom.cases import PhantomStudy, phantom_study
from radiology.phantom.factors import FINDING_KEYS
from radiology.phantom.grammar import write_grounded

CHUNK = 500
#: A patch counts as showing a finding where the finding covers at least this share of it (a thin tube covers little).
PATCH_COVERAGE = 0.05


@dataclass(frozen=True)
class TrainingData:
    """n studies, m images; all images of a study stand together, in prompt order.

    ``crops`` (m, 140, 140) uint8; ``image_kind`` (m,) index into ``IMAGE_NAMES``; ``study_of_image`` (m,);
    ``patch_targets`` (m, 100, findings) bool, all false for prior images, whose findings are not known here;
    ``labels`` (n, findings) bool; ``prompts``, ``grounded_prompts``, ``reports``, ``grounded_reports``: token ids a
    study.
    """

    crops: np.ndarray
    image_kind: np.ndarray
    study_of_image: np.ndarray
    patch_targets: np.ndarray
    labels: np.ndarray
    prompts: list[np.ndarray]
    grounded_prompts: list[np.ndarray]
    reports: list[np.ndarray]
    grounded_reports: list[np.ndarray]

    def __len__(self) -> int:
        return len(self.labels)


def load_training_data(
    folder: Path, n: int, seed: int, progress: Callable[[int, int, str], None] | None = None
) -> TrainingData:
    """Studies 0 … n − 1 of ``seed``; chunks missing from ``folder`` are made with all cores first."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"seed{seed}-{start:06d}.npz" for start in range(0, n, CHUNK)]
    missing = [(path, seed, number * CHUNK) for number, path in enumerate(paths) if not path.exists()]
    done = len(paths) - len(missing)
    with multiprocessing.get_context("spawn").Pool(min(len(missing), os.cpu_count() or 1) or 1) as pool:
        for _ in pool.imap_unordered(_make_chunk, missing):
            done += 1
            if progress:
                progress(done * CHUNK, len(paths) * CHUNK, "phantom studies")
    return _join([dict(np.load(path)) for path in paths])


def _make_chunk(job: tuple[Path, int, int]) -> None:
    path, seed, start = job
    studies = [phantom_study(seed, index, size=IMAGE_SIZE) for index in range(start, start + CHUNK)]
    arrays = _arrays(studies)
    temporary = path.with_suffix(".tmp.npz")
    np.savez(temporary, **arrays)  # type: ignore[arg-type]
    temporary.replace(path)


def _arrays(studies: list[PhantomStudy]) -> dict[str, np.ndarray]:
    crops, kinds, owners, targets = [], [], [], []
    texts: dict[str, list[np.ndarray]] = {"prompt": [], "grounded_prompt": [], "report": [], "grounded_report": []}
    for number, study in enumerate(studies):
        for kind, name in enumerate(IMAGE_NAMES):
            if name in study.images:
                crops.append(phantom_pixels(study.pixels(name)))
                kinds.append(kind)
                owners.append(number)
                masks = {"frontal": study.masks, "lateral": study.lateral_masks}.get(name, {})
                targets.append(patch_targets(masks))
        for prefix, grounded in (("", False), ("grounded_", True)):
            texts[prefix + "prompt"].append(build_prompt(study, GRID, None, grounded).token_id)
            text = _grounded_text(study) if grounded else study.report
            texts[prefix + "report"].append(np.asarray([*text_ids(text or ""), 2], dtype=np.int32))
    flat = {f"{name}_ids": np.concatenate(rows) for name, rows in texts.items()}
    lengths = {f"{name}_lengths": np.asarray([len(row) for row in rows]) for name, rows in texts.items()}
    labels = [[study.labels[key] == "present" for key in FINDING_KEYS] for study in studies]  # type: ignore[index]
    return {
        "crops": np.stack(crops),
        "kinds": np.asarray(kinds, dtype=np.uint8),
        "owners": np.asarray(owners, dtype=np.int64),
        "targets": np.packbits(np.stack(targets), axis=-1),
        "labels": np.asarray(labels),
        **flat,
        **lengths,
    }


def _grounded_text(study: PhantomStudy) -> str:
    return write_grounded([(sentence.text, sentence.boxes) for sentence in study.grounded or ()], BOX_BINS)


def patch_targets(masks: Mapping[str, np.ndarray]) -> np.ndarray:
    """Pixel masks by finding → which patches show which finding, (patches, findings) bool."""
    rows, cols = GRID
    out = np.zeros((rows * cols, len(FINDING_KEYS)), dtype=bool)
    for number, key in enumerate(FINDING_KEYS):
        if key in masks:
            coverage = masks[key].reshape(rows, PATCH, cols, PATCH).mean((1, 3)).ravel()
            # a finding smaller than the threshold in every patch still has its best patch
            out[:, number] = (coverage >= min(PATCH_COVERAGE, float(coverage.max()))) & (coverage > 0)
    return out


def _join(chunks: list[dict[str, np.ndarray]]) -> TrainingData:
    offsets = np.cumsum([0, *(len(chunk["labels"]) for chunk in chunks)])

    def texts(name: str) -> list[np.ndarray]:
        return [
            row for chunk in chunks for row in np.split(chunk[f"{name}_ids"], np.cumsum(chunk[f"{name}_lengths"])[:-1])
        ]

    return TrainingData(
        crops=np.concatenate([chunk["crops"] for chunk in chunks]),
        image_kind=np.concatenate([chunk["kinds"] for chunk in chunks]),
        study_of_image=np.concatenate(
            [chunk["owners"] + offset for chunk, offset in zip(chunks, offsets, strict=False)]
        ),
        patch_targets=np.concatenate(
            [np.unpackbits(chunk["targets"], axis=-1, count=len(FINDING_KEYS)).astype(bool) for chunk in chunks]
        ),
        labels=np.concatenate([chunk["labels"] for chunk in chunks]),
        prompts=texts("prompt"),
        grounded_prompts=texts("grounded_prompt"),
        reports=texts("report"),
        grounded_reports=texts("grounded_report"),
    )
