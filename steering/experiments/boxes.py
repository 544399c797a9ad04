"""Boxes of grounded reports: where a finding is drawn without and with steering."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from activations.models.base import ReportModel
from radiology.metrics.boxes import box_mask
from radiology.study import Box
from steering.experiments.reports import Arms, Label, Outcomes
from steering.reading import Reader, Reading, related
from steering.statistics import grouped_mean


def read_grounded(model: ReportModel, text: str, reader: Reader) -> tuple[Reading, str]:
    """What a grounded report says, and its boxes as JSON: finding that is present → boxes.

    A malformed mark counts as a report that cannot be read.
    """
    grounded = model.grounded(text)
    reading = reader(grounded.text)
    boxes: dict[str, list[Box]] = {}
    for sentence in grounded.sentences:
        for key, status in reader(sentence.text).findings.items():
            if status == "present" and sentence.boxes:
                boxes.setdefault(key, []).extend(sentence.boxes)
    return Reading(reading.findings, reading.parse_ok and not grounded.errors), json.dumps(boxes, sort_keys=True)


def box_row(arms: Arms, label: Label, found: Outcomes, seed: int) -> dict[str, Any]:
    """Columns of an arm about boxes; nothing where the reports have none."""
    before, after = arms.baseline(label), arms.reports[label]
    if not any(report.boxes for report in (*before.values(), *after.values())):
        return {}
    ious: list[float] = []
    shifts: list[float] = []
    patients: list[str] = []
    others: list[float] = []
    for study, report in after.items():
        for key in sorted(set(report.boxes) & set(before[study].boxes)):
            if key == arms.key:
                ious.append(iou(before[study].boxes[key], report.boxes[key]))
                shifts.append(_shift(before[study].boxes[key], report.boxes[key]))
                patients.append(report.patient)
            elif not related(arms.key, key):
                others.append(iou(before[study].boxes[key], report.boxes[key]))
    new = [arms.key in after[s].boxes for s, hit in zip(found.studies, found.hits_n, strict=True) if hit]
    out: dict[str, Any] = {
        "box_n": len(ious),
        "box_new": float(np.mean(new)) if new and arms.goal == "present" else float("nan"),
        "other_box_iou": float(np.mean(others)) if others else float("nan"),
    }
    for name, values in (("box_iou", ious), ("box_shift", shifts)):
        mean, low, high = grouped_mean(np.array(values), patients, seed=seed)
        out |= {name: mean, f"{name}_low": low, f"{name}_high": high}
    return out


def iou(ours: Sequence[Box], theirs: Sequence[Box]) -> float:
    """Intersection over union of two sets of boxes, on the pixel mask of RadFact; 0 where neither covers a pixel."""
    a, b = box_mask(ours), box_mask(theirs)
    union = int((a | b).sum())
    return float((a & b).sum() / union) if union else 0.0


def _shift(ours: Sequence[Box], theirs: Sequence[Box]) -> float:
    """Distance between the area-weighted centres, in image sides."""
    return float(np.linalg.norm(_centre(ours) - _centre(theirs)))


def _centre(boxes: Sequence[Box]) -> np.ndarray:
    corners_n4 = np.array(boxes, dtype=float)
    sides_n2 = corners_n4[:, 2:] - corners_n4[:, :2]
    areas_n = sides_n2.prod(axis=1) + 1e-9
    centres_n2 = (corners_n4[:, 2:] + corners_n4[:, :2]) / 2
    return (areas_n[:, None] * centres_n2).sum(axis=0) / areas_n.sum()
