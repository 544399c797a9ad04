"""What the labels of studies say, and who the studies are, read once and kept in arrays."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from dashboards.app.tables import RunTables

SLICES = ("sex", "view", "source")


class Truths:
    """Findings and details of the shown studies that the activity table covers.

    Attributes:
        frame: one row a study: ``study``, ``patient_id``, and the columns of :data:`SLICES`.
        findings: findings that some label tells.
    """

    def __init__(self, tables: RunTables) -> None:
        rows = tables.ask_frame(
            "SELECT s.study, s.patient_id, s.labels, d.metadata FROM studies s "
            "SEMI JOIN covered c ON c.study = s.study LEFT JOIN details d ON d.study = s.study ORDER BY s.study"
        )
        details = [read_object(text) for text in rows["metadata"]]
        self._labels = [read_object(text) for text in rows["labels"]]
        self.frame = rows[["study", "patient_id"]].assign(
            **{name: [one.get(name) for one in details] for name in SLICES}
        )
        self.findings = sorted({name for labels in self._labels for name in labels})

    def detection_rows(self, finding: str, study_m: np.ndarray, value_m: np.ndarray) -> pd.DataFrame:
        """``frame`` with ``score`` (largest value, 0 without one) and ``truth``; untold studies are left out."""
        studies = self.frame["study"].to_numpy(np.int64)
        score = np.zeros(len(studies))
        place = np.searchsorted(studies, study_m)
        known = (place < len(studies)) & (studies[np.minimum(place, max(len(studies) - 1, 0))] == study_m)
        np.maximum.at(score, place[known], value_m[known])
        status = [labels.get(finding) for labels in self._labels]
        told = np.array([one in ("present", "absent") for one in status], dtype=bool)
        truth = np.array([one == "present" for one in status], dtype=bool)
        return self.frame.assign(score=score, truth=truth)[told]


def read_object(text: Any) -> dict[str, Any]:
    """A JSON object as a dictionary; empty for anything else."""
    if not isinstance(text, str) or not text:
        return {}
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
