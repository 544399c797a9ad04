"""Masks that lie in a folder of images, as a segmentation model or a reader left them.

``masks/STUDY_ID/FINDING.png`` is a mask of the frontal image, ``masks/STUDY_ID/IMAGE/FINDING.png`` one of any image
(``frontal``, ``lateral``, ``prior_frontal``). A finding is a label (``cardiomegaly``, ``pleural_effusion:left``) with
``-`` for the colon, or any other structure by its name. What is not black is inside; a mask has the pixels of its
image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from radiology.images import IMAGE_SUFFIXES, read_image
from radiology.study import IMAGE_NAMES, Study

FOLDER = "masks"

Masks = Mapping[str, Mapping[str, "Path | np.ndarray"]]


@dataclass(frozen=True, eq=False)
class MaskedStudy(Study):
    """A study with ``masks``: image → finding → a file, or (height, width) bool."""

    masks: Masks = field(default_factory=dict)

    def masks_of(self, name: str) -> Mapping[str, np.ndarray]:
        """Finding → (height, width) bool; files are read now and not kept.

        Raises:
            InputError: a file is no image that can be read.
        """
        own = self.masks.get(name, {})
        return {finding: read_mask(mask) if isinstance(mask, Path) else mask for finding, mask in own.items()}


def read_mask(path: Path) -> np.ndarray:
    """(height, width) bool; errors as of :func:`radiology.images.read_image`."""
    inside: np.ndarray = read_image(path) > 0
    return inside


def is_mask(path: Path, folder: Path) -> bool:
    """Whether a file below ``folder`` lies where masks do."""
    return path.is_relative_to(folder / FOLDER)


def masks_below(folder: Path, study_id: str) -> dict[str, dict[str, Path]]:
    """Image → finding → file of a study's masks; empty without any."""
    own = folder / FOLDER / study_id
    found = {name: _files(own / name) for name in IMAGE_NAMES}
    found["frontal"] |= _files(own)
    return {name: files for name, files in found.items() if files}


def _files(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    files = sorted(one for one in folder.iterdir() if one.suffix.lower() in IMAGE_SUFFIXES and one.name[0] != ".")
    return {one.stem.replace("-", ":"): one for one in files if one.is_file()}
