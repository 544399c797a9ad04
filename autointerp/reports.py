"""What the report of a study says of each of its images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from activations.roles import IMAGE_NAMES
from autointerp.reading import read_findings

_PRIOR = IMAGE_NAMES.index("prior_frontal")


def findings_of_image(record: Mapping[str, Any], image: int) -> tuple[str, ...] | None:
    """Readings for image number ``image`` of a row of ``StudyIndex.frame``, or ``None`` where nothing tells.

    A prior image is described by the prior report, the others by the report that came with the study (not by one that
    a model wrote); without a report, by the labels of the study.
    """
    if image == _PRIOR:
        text = record.get("prior_report")
        return read_findings(text) if text else None
    text = record.get("reference_report") or record.get("report")
    if text:
        return read_findings(text)
    labels = record.get("labels")
    if labels:
        return tuple(f"{key}={status}" for key, status in labels.items())
    return None
