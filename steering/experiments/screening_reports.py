"""Clean generations of single features: about twenty reports each, against the unsteered ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from activations.models.base import ReportModel
from radiology.study import Study
from sae.model import MatryoshkaSAE
from steering.errors import SteeringError
from steering.experiments.controls import FeaturePool
from steering.experiments.design import Goal
from steering.experiments.halves import select_half
from steering.experiments.reports import leaves_room, reaches
from steering.interventions.apply import steer
from steering.interventions.kinds import Add
from steering.interventions.targets import build_spec
from steering.reading import Reading, reader_for, related


class CleanReports:
    """Writes the unsteered reports once, and each feature's on top.

    Raises:
        SteeringError: no study, or none whose unsteered report leaves room for the goal.
    """

    def __init__(
        self,
        model: ReportModel,
        sae: MatryoshkaSAE,
        finding: str,
        goal: Goal,
        studies: Sequence[Study],
        batch: int = 16,
        seed: int = 0,
    ) -> None:
        self._model, self._sae, self._finding, self._goal, self._batch = model, sae, finding, goal, batch
        self._read = reader_for(model)
        before = self._readings(studies)
        room = [i for i, reading in enumerate(before) if leaves_room(reading, finding, goal)]
        if not room:
            raise SteeringError(
                f"studies: none of {len(studies)} unsteered reports can be read and leaves room for {finding} {goal}"
            )
        self._studies = [studies[i] for i in room]
        self._before = [before[i] for i in room]
        half = select_half((study.patient_id for study in self._studies), seed)
        self._select_n = np.array([study.patient_id in half for study in self._studies])

    def of(
        self, features: Sequence[int], site: str, shape: str, strengths: Sequence[float], pool: FeaturePool
    ) -> dict[str, Any]:
        """Steer the features together; columns of :data:`steering.schema.SCREEN_COLUMNS`.

        At the strength with most clean success on the select half.
        """
        tried = [(strength, self._outcomes(tuple(features), site, shape, strength, pool)) for strength in strengths]
        select_n = self._select_n
        strength, outcome = max(tried, key=lambda one: (one[1]["clean"][select_n].mean(), -one[0]))
        row: dict[str, Any] = {"strength": strength}
        for name, half_n in (("select", select_n), ("report", ~select_n)):
            row[f"{name}_n"] = int(half_n.sum())
            for measure, values_n in outcome.items():
                known = values_n[half_n][~np.isnan(values_n[half_n])]
                row[f"{name}_{measure}"] = float(known.mean()) if len(known) else float("nan")
        return row

    def _outcomes(
        self, features: tuple[int, ...], site: str, shape: str, strength: float, pool: FeaturePool
    ) -> dict[str, np.ndarray]:
        sign = 1.0 if self._goal == "present" else -1.0
        spec = build_spec(
            {features: Add(sign * strength, shape=shape)},  # type: ignore[arg-type]
            self._sae,
            site=site,
            maps=pool.maps,
            max_activations=pool.max_activations,
        )
        with steer(self._model, self._sae, spec):
            after = self._readings(self._studies)
        keys = {key for reading in (*self._before, *after) for key in reading.findings}
        others = [key for key in keys if not related(self._finding, key)]
        hits, clean, off = [], [], []
        for was, now in zip(self._before, after, strict=True):
            changed = sum((was.findings.get(k) == "present") != (now.findings.get(k) == "present") for k in others)
            hit = reaches(now, self._finding, self._goal)
            hits.append(hit)
            clean.append(hit and not changed)
            off.append(changed / max(len(others), 1) if now.parse_ok else np.nan)
        broken = [not reading.parse_ok for reading in after]
        named = {"clean": clean, "on_target": hits, "off_target": off, "parse_failures": broken}
        return {name: np.array(values, dtype=float) for name, values in named.items()}

    def _readings(self, studies: Sequence[Study]) -> list[Reading]:
        return [self._read(one.text) for one in self._model.write(studies, batch=self._batch)]
