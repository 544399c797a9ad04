"""The prompt of the explainer ``vision``: pictures under heat maps and crops, for a chat model that sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from autointerp.explainers.base import FeatureEvidence
from autointerp.explainers.llm_prompt import RULES, context, modality_line, quoted, shown_contexts
from autointerp.explainers.pictures import StudyPictures, crop, heat_map, part_of, with_pictures
from radiology.errors import InputError
from radiology.llm.calls import Messages

#: Pictures shown, firing and quiet each; every firing one has a crop besides.
MAX_PICTURES = 6
_SEEING = """

You also see pictures. Where the feature fires, the picture is shown under a heat map (red: the patches on which it \
fires), followed by a crop around the patch of its largest activation. Quiet pictures are plain. The patient's left is \
at the right of a frontal picture. Judge by what you see at the red patches first, and by the reports second."""


@dataclass(frozen=True)
class VisionPrompt:
    """Builds the conversation for one feature.

    Attributes:
        pictures: where they come from.
        n: pictures, firing and quiet each, at most.
        n_texts: contexts as text beside them, firing and quiet each.
    """

    pictures: StudyPictures
    n: int = MAX_PICTURES
    n_texts: int = 8

    def __post_init__(self) -> None:
        if self.n < 1:
            raise InputError(f"pictures: {self.n}; show at least one")

    def messages(self, evidence: FeatureEvidence) -> Messages:
        """System message and one user message of text and pictures; the contexts must have their maps."""
        images = evidence.contexts["modality"] == "image"
        firing, quiet = shown_contexts(FeatureEvidence(evidence.feature, evidence.contexts[images]), self.n)
        texts = [[context(row, evidence) for row in side] for side in shown_contexts(evidence, self.n_texts)]
        shown = {"firing": texts[0], "quiet": texts[1]}
        parts: list[dict[str, Any]] = [_text(f"{modality_line(evidence)}\n{quoted(shown)}")]
        strongest = float(evidence.feature["max_activation"])
        for number, (row, picture) in enumerate(with_pictures(firing, self.pictures), start=1):
            rows, columns = int(row.map_rows), int(row.map_cols)
            parts.append(_text(f"Firing picture {number} ({row.image}), then its crop:"))
            parts.append(part_of(heat_map(picture, row.map, rows, columns, strongest)))
            if not pd.isna(row.row):
                parts.append(part_of(crop(picture, int(row.row), int(row.col), rows, columns)))
        for number, (row, picture) in enumerate(with_pictures(quiet, self.pictures), start=1):
            parts += [_text(f"Quiet picture {number} ({row.image}):"), part_of(picture)]
        return [{"role": "system", "content": RULES + _SEEING}, {"role": "user", "content": parts}]


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}
