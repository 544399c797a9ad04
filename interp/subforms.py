"""Sub-forms of a finding, study by study: side, placement, severity and zone.

Sides and placements come from the labels where these have them (``pleural_effusion:left``). Severity and zone, which
labels seldom tell, come from the study's own report, read by :func:`radiology.findings.read_report`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

import numpy as np

from activations import StudyIndex

#: Studies that must have a sub-form for it to be looked at.
MIN_STUDIES = 8
_KIND_OF_SUFFIX = {"left": "side", "right": "side", "misplaced": "placement", "placed": "placement"}


class Subforms:
    """The sub-forms of every finding of a run's studies; reports are read once."""

    def __init__(self, studies: StudyIndex) -> None:
        self._studies = studies

    def of(self, finding: str) -> dict[str, np.ndarray]:
        """``side:left`` → (S,) bool, whether a study has it; empty for a key that is a sub-form itself."""
        if ":" in finding:
            return {}
        found = self._labelled(finding)
        told = {name.partition(":")[0] for name in found}
        for name, rows in self._reported.get(finding, {}).items():
            if name.partition(":")[0] not in told:
                found[name] = np.zeros(len(self._studies), dtype=bool)
                found[name][rows] = True
        return {name: found[name] for name in sorted(found) if found[name].sum() >= MIN_STUDIES}

    def _labelled(self, finding: str) -> dict[str, np.ndarray]:
        keys = [key for key in self._studies.keys if key.startswith(f"{finding}:")]
        if not keys:
            return {}
        present_sk = self._studies.label_matrix(keys) == 1
        suffixes = [key.partition(":")[2] for key in keys]
        names = [f"{_KIND_OF_SUFFIX.get(suffix, 'form')}:{suffix}" for suffix in suffixes]
        return {name: present_sk[:, column] for column, name in enumerate(names)}

    @cached_property
    def _reported(self) -> Mapping[str, Mapping[str, list[int]]]:
        """Finding → sub-form → rows of the studies whose report says so."""
        table: dict[str, dict[str, list[int]]] = {}
        for row, report in enumerate(self._studies.frame["reference_report"]):
            if isinstance(report, str):
                for concept, name in set(_told(report)):
                    table.setdefault(concept, {}).setdefault(name, []).append(row)
        return table


def _told(report: str) -> Iterator[tuple[str, str]]:
    from radiology.findings import read_report, sides_of

    for finding in read_report(report):
        if finding.status != "present":
            continue
        for kind, value in (("severity", finding.severity), ("zone", finding.location)):
            if value is not None:
                yield finding.concept, f"{kind}:{value}"
        if finding.placement == "misplaced":  # "placed" is how a report words a device, not another look of it
            yield finding.concept, "placement:misplaced"
        for side in sides_of(finding):
            yield finding.concept, f"side:{side}"
