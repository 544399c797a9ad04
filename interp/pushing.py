"""Reports of the same studies without and with a push of one feature, for the causal label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from radiology.errors import InputError

if TYPE_CHECKING:
    from autointerp.explainers.base import FeatureEvidence
    from interp.run import Run
    from radiology.study import Study

_BATCH = 16
#: A push of features without a mean map, in their largest activations, on the words of the prompt and the report.
_UNIFORM = 1.0


class FeaturePusher:
    """Writes reports while a feature is pushed; the reports without a push are written once.

    A feature that fires on the frontal image is pushed patch by patch in the shape of its own mean map, any other
    uniformly on the words. Studies are the first of the half of patients on which nothing was chosen.

    Args:
        run: with a model that writes reports.
        name: of the SAE.
        n: studies.
        strength: in units of the mean map.
    """

    def __init__(self, run: Run, name: str, n: int, strength: float) -> None:
        self._run, self._n, self._strength = run, n, strength
        self._sae = run.sae_named(name)
        self._site = run.config_of(f"train-sae:{name}")["site"]
        self._model = run.model
        if not self._model.writes:
            raise InputError(
                f"model {self._model.name!r}: is an encoder and writes no reports that a push could change"
            )
        self._studies: list[Study] | None = None
        self._before: list[str] = []

    def __call__(self, evidence: FeatureEvidence) -> tuple[Sequence[str], Sequence[str]] | None:
        """Reports without and with the push; ``None`` if it changes no token."""
        from steering import SteeringError, steer

        if self._studies is None:
            self._studies = self._chosen()
            self._before = list(self._written())
        try:
            with self._pushed(steer, evidence.feature):
                after = list(self._written())
        except SteeringError:
            return None
        return self._before, after

    def _chosen(self) -> list[Study]:
        _, report_s = self._run.study_index.halves(0)
        ids = self._run.study_index.frame["study_id"][report_s].tolist()[: self._n]
        if not ids:
            raise InputError("steer: there are no studies to push a feature in")
        return self._run.studies.pick(ids)

    def _written(self) -> Iterator[str]:
        assert self._studies is not None
        for start in range(0, len(self._studies), _BATCH):
            inputs = self._model.encode_batch(self._studies[start : start + _BATCH])
            yield from (generation.text for generation in self._model.generate(inputs))

    @contextmanager
    def _pushed(self, steer: Any, record: dict[str, Any]) -> Iterator[None]:
        from steering import Add

        number, grid = int(record["feature"]), _mean_map(record)
        tops = {number: float(record["max_activation"])}
        if grid is not None:
            options: dict[str, Any] = {"maps": {number: grid}, "tokens": ("prompt.image",)}
            kind = Add(self._strength, shape="map")
        else:
            options, kind = {"tokens": ("prompt.text", "generated")}, Add(_UNIFORM, unit="max_activation")
        what = {number: kind}
        with steer(self._model, self._sae, what, site=self._site, max_activations=tops, **options):
            yield


def _mean_map(record: dict[str, Any]) -> np.ndarray | None:
    """The mean activation map of a feature; ``None`` if it never fires on a frontal image."""
    if record["mean_map"] is None or not record["map_rows"]:
        return None
    grid = np.asarray(record["mean_map"], dtype=np.float64).reshape(int(record["map_rows"]), int(record["map_cols"]))
    return grid if grid.any() else None
