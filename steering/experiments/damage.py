"""The strength that costs the model's own text a given amount: matched damage."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from activations.hooks import is_image_site
from activations.models.base import ModelInputs, ReportModel
from radiology.study import Study
from steering.errors import SteeringError
from steering.experiments.calibration import Calibration
from steering.experiments.design import at_strength
from steering.interventions.apply import steer
from steering.interventions.autoencoders import Autoencoders
from steering.interventions.check import check_spec
from steering.interventions.positions import report_span
from steering.interventions.spec import SteeringSpec
from steering.tracing.patching import record, replayed

#: Largest factor on a spec's strengths that is looked at.
MAX_FACTOR = 1024.0


def calibrate_damage(
    model: ReportModel,
    sae: Autoencoders,
    spec: SteeringSpec,
    studies: Sequence[Study],
    damage: float = 0.1,
    *,
    start: float = 1.0,
    tolerance: float = 0.05,
    batch: int = 16,
) -> Calibration:
    """The factor on a spec's strengths at which teacher-forced reports cost ``damage`` nats a token more.

    The loss is the mean over all tokens of the studies' own reports, end tokens included. From ``start`` the factor is
    doubled or halved until the damage lies between two neighbours, then the interval is halved; found is the crossing
    nearest to ``start`` from below, and the curve shows whether there could be others.

    Args:
        damage: rise of the mean next-token loss (nats/token).
        tolerance: how near is near enough, as a share of ``damage``.

    Raises:
        SteeringError: a spec without strengths to multiply or that does not fit, or studies without reports.
    """
    if not (math.isfinite(damage) and damage > 0):
        raise SteeringError(f"damage: {damage!r}; a rise in nats/token above 0 is needed, for instance 0.1")
    at_strength(spec, 2.0)  # refuses kinds without a strength
    measure = DamageMeter(model, sae, spec, studies, batch=batch)
    seen: dict[float, float] = {}

    def rise(factor: float) -> float:
        if factor not in seen:
            seen[factor] = measure(factor)
        return seen[factor]

    low, high = _bracket(rise, damage, start)
    reached = high is not None
    while high is not None and abs(rise(high) - damage) > tolerance * damage and (high - low) > 1e-3 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if rise(middle) >= damage else (middle, high)
    nearest = high if high is not None else min(seen, key=lambda factor: abs(seen[factor] - damage))
    curve = tuple(sorted(seen.items()))
    return Calibration(
        strength=nearest,
        unit=f"matched damage {damage:g} nats/token",
        curve=curve,
        columns=("strength", "damage"),
        n=len(studies),
        reached=reached,
        note=_note(curve, damage, reached),
    )


def _bracket(rise: Callable[[float], float], damage: float, start: float) -> tuple[float, float | None]:
    """Neighbours low < high with rise(low) < damage ≤ rise(high); ``None`` where no factor does that much."""
    if rise(start) >= damage:
        high = start
        while high > start / MAX_FACTOR and rise(high / 2) >= damage:
            high /= 2
        return high / 2, high
    low = start
    while low < start * MAX_FACTOR:
        if rise(low * 2) >= damage:
            return low, low * 2
        low *= 2
    return low, None


def _note(curve: Sequence[tuple[float, float]], damage: float, reached: bool) -> str:
    rises = [rise for _, rise in curve]
    if not reached:
        return f"not reached: up to {curve[-1][0]:g} × the spec's strengths the loss rises by at most {max(rises):.3g}"
    falls = any(later < earlier - 0.05 * damage for earlier, later in pairwise(rises))
    return "the damage does not grow with the strength everywhere; see the curve" if falls else ""


class DamageMeter:
    """Rise of the mean next-token loss on the studies' own reports at a factor on a spec's strengths.

    What the model computes before the first steered site does not change with the strength; it is computed once and
    then replayed.

    Raises:
        SteeringError: a spec that does not fit, no studies, or one without a report.
    """

    def __init__(
        self, model: ReportModel, sae: Autoencoders, spec: SteeringSpec, studies: Sequence[Study], *, batch: int = 16
    ) -> None:
        check_spec(spec, model, sae)
        missing = [study.study_id for study in studies if not study.report]
        if not studies or missing:
            raise SteeringError(f"studies: {missing[0]!r} has no report" if missing else "studies: none given")
        self._model, self._sae, self._spec = model, sae, spec
        self._site = next(iter(spec.by_site))
        self._batches: list[tuple[ModelInputs, Any]] = []
        total, tokens = 0.0, 0
        for first in range(0, len(studies), batch):
            some = studies[first : first + batch]
            inputs = model.encode_batch(some, [study.report for study in some])
            logits_btv, outputs = record(model, [self._site], inputs)
            self._batches.append((inputs, outputs[self._site]))
            loss, count = report_loss(logits_btv, inputs)
            total, tokens = total + loss, tokens + count
        self.base = total / tokens

    def __call__(self, factor: float) -> float:
        """Nats/token above the unsteered loss."""
        total, tokens = 0.0, 0
        with steer(self._model, self._sae, at_strength(self._spec, factor)):
            for inputs, output in self._batches:
                if is_image_site(self._site):
                    logits_btv = self._model.forward(inputs)
                else:
                    with replayed(self._model, self._site, output):
                        logits_btv = self._model.forward(inputs)
                loss, count = report_loss(logits_btv, inputs)
                total, tokens = total + loss, tokens + count
        return total / tokens - self.base


def report_loss(logits_btv: torch.Tensor, inputs: ModelInputs) -> tuple[float, int]:
    """Summed negative log-likelihood (nats) of the teacher-forced reports, end tokens included, and their tokens."""
    rows, columns = [], []
    for row, (table, pad) in enumerate(zip(inputs.tokens, inputs.padding, strict=True)):
        positions = np.flatnonzero(report_span(table))
        if not len(positions):
            continue
        end = min(int(positions[-1]) + 2, len(table))  # with the end token, where there is one
        here = np.arange(int(positions[0]), end) + pad
        rows += [row] * len(here)
        columns += here.tolist()
    targets_n = inputs.input_ids_bt[rows, columns].to(logits_btv.device)
    logits_nv = logits_btv[rows, [column - 1 for column in columns]].float()
    return float(torch.nn.functional.cross_entropy(logits_nv, targets_n, reduction="sum")), len(rows)
