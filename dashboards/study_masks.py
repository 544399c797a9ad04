"""Masks of findings on the pictures of a study: what the pages draw, and what lies inside of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dashboards.data import IMAGE_NAMES
from dashboards.tables import UnreadableError, read_table
from radiology.errors import InputError
from radiology.masks import decode_mask, patch_coverage


class StudyMasks:
    """The masks of one study.

    Args:
        text: the column ``masks`` of ``studies.parquet`` (docs/activation-store.md); None for none. Of a damaged one
            what can be read is kept.
    """

    def __init__(self, text: Any) -> None:
        self._encoded: dict[str, dict[str, Mapping[str, Any]]] = {}
        self._decoded: dict[tuple[str, str], np.ndarray] = {}
        for image, found in _object(text).items():
            for finding, encoded in found.items() if image in IMAGE_NAMES and isinstance(found, dict) else ():
                try:
                    self._decoded[finding, image] = decode_mask(encoded if isinstance(encoded, dict) else {})
                except InputError:
                    continue
                self._encoded.setdefault(finding, {})[image] = {key: encoded[key] for key in ("size", "counts")}

    @property
    def findings(self) -> list[str]:
        """Findings with a mask, ``concept`` or ``concept:side``."""
        return list(self._encoded)

    def content(self, images: Iterable[str]) -> list[dict[str, Any]]:
        """What a page draws on these images: a finding each, with its encoded masks by image.

        What is drawn once under two names (a tube, and the same tube as misplaced) has the longer one.
        """
        wanted = set(images)
        drawn: list[dict[str, Any]] = []
        for finding, by_image in self._encoded.items():
            longer = [own for name, own in self._encoded.items() if name.startswith(f"{finding}:")]
            own = {
                image: one
                for image, one in by_image.items()
                if image in wanted and all(other.get(image) != one for other in longer)
            }
            if own:
                drawn.append({"finding": finding, "images": own})
        return drawn

    def about(self, concept: str | None, side: str | None) -> list[str]:
        """Findings with a mask that a concept names; where both name a side, the same one."""
        named = [(finding, *finding.partition(":")[::2]) for finding in self._encoded]
        return [finding for finding, own, at in named if own == concept and (not side or not at or at == side)]

    def inside(self, feature: Mapping[str, Any], grid: tuple[int, int]) -> dict[str, dict[str, float]]:
        """How much of a feature's activation lies in the masks of what its label names.

        Args:
            feature: ``concept``, ``side``, ``polarity``, and ``images`` with ``patches`` (row by row) and ``weights``.
            grid: (rows, columns) of patches.

        Returns:
            Image → ``share``, the part of the activation of its patches that lies inside, each patch counted by how
            much of it the mask covers; and ``area``, the part of the image that the mask covers, which is the share of
            a map that is the same everywhere. Empty for a label of absence.
        """
        names = [] if feature["polarity"] == "absent" else self.about(feature["concept"], feature["side"])
        found = {}
        for image, own in feature["images"].items():
            masks = [self._decoded[name, image] for name in names if (name, image) in self._decoded]
            weight_p = np.asarray(own["weights"], dtype=np.float64)
            if masks and weight_p.sum() > 0:
                mask = np.logical_or.reduce(masks)
                covered_p = patch_coverage(mask, *grid).ravel()[np.asarray(own["patches"])]
                share = float(weight_p @ covered_p / weight_p.sum())
                found[image] = {"share": round(share, 4), "area": round(float(mask.mean()), 4)}
        return found


def masks_of_studies(run_dir: Path, numbers: Sequence[int]) -> dict[int, str]:
    """Study number → its column ``masks``, of those that have any; empty for a table from before there were masks."""
    try:
        table = read_table(run_dir / "studies.parquet", ["study", "masks"], [("study", "in", list(numbers))])
    except UnreadableError:  # a table that is damaged is told of by who reads its other columns
        return {}
    rows = [] if table is None else table.to_pylist()
    return {row["study"]: row["masks"] for row in rows if row["masks"]}


def _object(text: Any) -> dict[str, Any]:
    try:
        value = json.loads(text) if isinstance(text, str) else {}
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
