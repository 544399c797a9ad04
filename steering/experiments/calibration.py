"""Strengths that can be compared: by the damage they do to the model's own text, and by what they achieve at a price.

Feature 12 at half its max activation and feature 40 at half of its say nothing about each other. Two strengths at which
the next-token loss on held-out reports has risen by the same amount do: they cost the model the same. Those are found
by :mod:`steering.experiments.damage`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from activations.models.base import ReportModel
from radiology.study import Study
from steering.errors import SteeringError
from steering.experiments.design import Goal, at_strength
from steering.interventions.apply import steer
from steering.interventions.autoencoders import Autoencoders
from steering.interventions.check import check_spec
from steering.interventions.spec import SteeringSpec
from steering.reading import Reader, Reading, reader_for, related


@dataclass(frozen=True)
class Calibration:
    """A strength and how it was found.

    Attributes:
        strength: factor on the strengths of the spec; where ``reached`` is False, the nearest that was seen.
        unit: what was matched: ``matched damage 0.1 nats/token``, or ``clean success at off-target ≤ 0.03``.
        curve: what was measured, by strength: (strength, value, …), with the names in ``columns``.
        columns: names of the numbers in ``curve``.
        n: studies that were measured on.
        reached: whether what was asked for was found.
        note: why not, or what to know.
    """

    strength: float
    unit: str
    curve: tuple[tuple[float, ...], ...]
    columns: tuple[str, ...]
    n: int
    reached: bool
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "curve": [list(point) for point in self.curve], "columns": list(self.columns)}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Calibration:
        """Read what :meth:`to_json` wrote.

        Raises:
            SteeringError: an unknown or missing field.
        """
        try:
            lists = {"curve": tuple(tuple(point) for point in data["curve"]), "columns": tuple(data["columns"])}
            return Calibration(**{**data, **lists})
        except (KeyError, TypeError) as error:
            raise SteeringError(f"calibration: {error}") from error


@dataclass(frozen=True)
class Outcome:
    """What a strength did, over the studies it was tried on.

    Attributes:
        success: share of studies with room for the goal whose steered report can be read and says what the goal asks.
        off_target: share of (study, other finding) whose presence changed, in reports that can be read.
        parse_failures: share of reports that cannot be read.
        n: studies with room for the goal.
    """

    success: float
    off_target: float
    parse_failures: float
    n: int


def calibrate_strength(
    measure: Callable[[float], Outcome],
    strengths: Sequence[float],
    *,
    off_target: float = 0.03,
    parse_failures: float = 0.02,
) -> Calibration:
    """The strength with the most success among those within the budget; of equal ones the weakest.

    Args:
        measure: strength → outcome; one experiment, or :class:`Generations` over the half that is for choosing. This
            function sees no other studies.
        strengths: factors on the spec's strengths.
        off_target, parse_failures: the budget.

    Raises:
        SteeringError: no strengths.
    """
    if not strengths or not all(math.isfinite(value) for value in strengths):
        raise SteeringError(f"strengths: {list(strengths)}; at least one finite number is needed")
    seen = {float(value): measure(float(value)) for value in sorted(strengths, key=abs)}
    within = [
        value for value, one in seen.items() if one.off_target <= off_target and one.parse_failures <= parse_failures
    ]
    best = max(within, key=lambda value: seen[value].success, default=None)
    reached = best is not None and seen[best].success > 0
    fallback = min(seen, key=lambda value: (seen[value].off_target, seen[value].parse_failures))
    return Calibration(
        strength=best if best is not None else fallback,
        unit=f"clean success at off-target ≤ {off_target:g}, parse failures ≤ {parse_failures:g}",
        curve=tuple((value, one.success, one.off_target, one.parse_failures) for value, one in sorted(seen.items())),
        columns=("strength", "success", "off_target", "parse_failures"),
        n=max(one.n for one in seen.values()),
        reached=reached,
        note="" if reached else "no strength within the budget reaches the goal in any study",
    )


class Generations:
    """Outcome of a spec at a strength, by generating reports of the given studies; the callable of
    :func:`calibrate_strength`.

    The unsteered reports are written once.

    Args:
        key: the finding, as the reader names it.
        goal: ``present`` or ``absent``.
        studies: of one half, see :func:`halves`.
    """

    def __init__(
        self,
        model: ReportModel,
        sae: Autoencoders,
        spec: SteeringSpec,
        key: str,
        goal: Goal,
        studies: Sequence[Study],
        *,
        reader: Reader | None = None,
        batch: int = 32,
        max_new_tokens: int | None = None,
    ) -> None:
        check_spec(spec, model, sae)
        if not studies:
            raise SteeringError("studies: none given")
        self._model, self._sae, self._spec, self._key, self._goal = model, sae, spec, key, goal
        self._reader = reader or reader_for(model)
        self._inputs = [model.encode_batch(studies[i : i + batch]) for i in range(0, len(studies), batch)]
        self._limit = max_new_tokens
        self.unsteered = self._read()

    def __call__(self, strength: float) -> Outcome:
        with steer(self._model, self._sae, at_strength(self._spec, strength)):
            return outcome_of(self.unsteered, self._read(), self._key, self._goal)

    def _read(self) -> list[Reading]:
        written = [one for inputs in self._inputs for one in self._model.generate(inputs, max_new_tokens=self._limit)]
        return [self._reader(one.text) for one in written]


def outcome_of(before: Sequence[Reading], after: Sequence[Reading], key: str, goal: Goal) -> Outcome:
    """Outcome of steered readings against the unsteered ones of the same studies; 0 where there is nothing to count."""
    hits, changed, pairs = [], 0, 0
    vocabulary = {name for reading in (*before, *after) for name in reading.findings if not related(key, name)}
    for was, now in zip(before, after, strict=True):
        if was.parse_ok and (was.status(key) == "present") == (goal == "absent"):
            status = now.status(key)
            hits.append(now.parse_ok and (status == "present" if goal == "present" else status in (None, "absent")))
        if was.parse_ok and now.parse_ok:
            pairs += len(vocabulary)
            changed += sum(
                (was.findings.get(name) == "present") != (now.findings.get(name) == "present") for name in vocabulary
            )
    broken = sum(not now.parse_ok for now in after) / max(len(after), 1)
    return Outcome(sum(hits) / max(len(hits), 1), changed / max(pairs, 1), broken, len(hits))


def halves(studies: Sequence[Study], seed: int = 0) -> tuple[list[Study], list[Study]]:
    """(select, report): strengths are chosen on the first and reported on the second; split by patient."""
    from activations.studies_table import patient_share

    select = [patient_share(study.patient_id, f"half {seed}") < 0.5 for study in studies]
    return [s for s, mine in zip(studies, select, strict=True) if mine], [
        s for s, mine in zip(studies, select, strict=True) if not mine
    ]


def calibrate(
    model: ReportModel,
    sae: Autoencoders,
    spec: SteeringSpec,
    studies: Sequence[Study],
    key: str,
    goal: Goal = "present",
    *,
    strengths: Sequence[float] = (0.5, 1.0, 2.0, 4.0, 8.0),
    off_target: float = 0.03,
    seed: int = 0,
    **options: Any,
) -> Calibration:
    """Calibrate a spec's strength on the select half of the studies; the report half is not looked at.

    ``options`` go to :class:`Generations`.

    Raises:
        SteeringError: a spec that does not fit, or no study in the select half.
    """
    select, _ = halves(studies, seed)
    return calibrate_strength(
        Generations(model, sae, spec, key, goal, select, **options), strengths, off_target=off_target
    )
