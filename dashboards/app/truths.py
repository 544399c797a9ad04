"""What the labels of studies say, and who the studies are, read once and kept in arrays."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from dashboards.app.tables import RunTables
from dashboards.roc import half_of

SLICES = ("sex", "view", "source")


class Truths:
    """Findings and details of the shown studies that the activity table covers.

    Attributes:
        frame: one row a study: ``study``, ``patient_id``, ``half`` (:func:`dashboards.roc.half_of` the patient), and
            the columns of :data:`SLICES`.
        findings: findings that some label tells.
    """

    def __init__(self, tables: RunTables) -> None:
        rows = tables.ask_frame(
            "SELECT s.study, s.patient_id, s.labels, d.metadata FROM studies s "
            "SEMI JOIN covered c ON c.study = s.study LEFT JOIN details d ON d.study = s.study ORDER BY s.study"
        )
        details = [read_object(text) for text in rows["metadata"]]
        self._labels = [read_object(text) for text in rows["labels"]]
        slices = {name: pd.Categorical([_scalar(one.get(name)) for one in details]) for name in SLICES}
        self.frame = rows[["study", "patient_id"]].assign(half=rows["patient_id"].map(half_of), **slices)
        self._told: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self.findings = sorted({name for labels in self._labels for name in labels})

    def detection_rows(self, finding: str, study_m: np.ndarray, value_m: np.ndarray) -> pd.DataFrame:
        """``frame`` with ``score`` (largest value, 0 without one) and ``truth``; untold studies are left out."""
        studies = self.frame["study"].to_numpy(np.int64)
        score = np.zeros(len(studies))
        place = np.searchsorted(studies, study_m)
        known = (place < len(studies)) & (studies[np.minimum(place, max(len(studies) - 1, 0))] == study_m)
        np.maximum.at(score, place[known], value_m[known])
        told, truth = self._status(finding)
        return self.frame.assign(score=score, truth=truth)[told]

    def _status(self, finding: str) -> tuple[np.ndarray, np.ndarray]:
        """Which studies tell the finding, and in which it is present; kept, since a person asks again and again."""
        found = self._told.get(finding)
        if found is None:
            status = np.array([labels.get(finding) or "" for labels in self._labels], dtype=object)
            truth = status == "present"
            found = truth | (status == "absent"), truth
            if finding in self.findings:  # any other name comes from an address, and there is no end of those
                self._told[finding] = found
        return found


def _scalar(value: Any) -> str | int | float | None:
    return value if isinstance(value, str | int | float) else None


def read_object(text: Any) -> dict[str, Any]:
    """A JSON object as a dictionary; empty for anything else."""
    if not isinstance(text, str) or not text:
        return {}
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
