"""Screening: which of thousands of features change what a report says about a finding?

Two steps. Every candidate is pushed once in a teacher-forced pass (:mod:`steering.experiments.teacher_forced`): cheap,
and no more than a sieve, since the log-odds of one sentence also reward directions that break the text. The best of
the sieve by each of its measures, and the features whose label names the finding, then write about twenty reports, and
are ranked by clean success: the goal is reached, the report can be read, and no other finding changed. Features are
ranked on one half of the studies; the other half says what the choice is worth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from activations.models.base import ReportModel
from radiology.study import Study
from sae.model import MatryoshkaSAE
from steering.errors import SteeringError
from steering.experiments.controls import FeaturePool
from steering.experiments.design import Goal
from steering.experiments.experiment import sae_fingerprint
from steering.experiments.screening_reports import CleanReports
from steering.experiments.teacher_forced import TeacherForced
from steering.interventions.kinds import check_one_of
from steering.schema import SCREEN_COLUMNS
from steering.statistics import bootstrap_mean
from steering.tables import claim_json, read_table, table_of, write_table
from steering.tracing.pairs import Pair

Progress = Callable[[int, int], None]
#: Ways to choose features that the table compares: column → largest first.
WAYS: tuple[str, ...] = ("effect", "output_score", "confidence", "label_score")


@dataclass(frozen=True)
class ScreenConfig:
    """How to screen.

    Args:
        finding: key of the finding.
        goal: ``present`` pushes features into studies without it; ``absent`` takes them away from studies with it.
        site: where; usually where the autoencoder was trained.
        strength: of the teacher-forced pushes, in units of the feature's own mean map (or max activation).
        strengths: of the reports that are written.
        shape: ``map`` or ``uniform``, as in :class:`steering.interventions.kinds.Amount`.
        keep: best features of each way that write reports.
        chunk: features in one pass.
    """

    finding: str
    goal: Goal = "present"
    site: str = ""
    strength: float = 4.0
    strengths: tuple[float, ...] = (2.0, 4.0)
    shape: str = "map"
    keep: int = 8
    chunk: int = 8

    def __post_init__(self) -> None:
        object.__setattr__(self, "strengths", tuple(self.strengths))
        check_one_of("goal", self.goal, ("present", "absent"))
        check_one_of("shape", self.shape, ("map", "uniform"))
        if not self.strengths or min(*self.strengths, self.strength) <= 0:
            raise SteeringError(
                f"strengths: {self.strengths} and {self.strength} must be positive; goal gives the sign"
            )
        if self.keep < 1 or self.chunk < 1:
            raise SteeringError(f"keep {self.keep} and chunk {self.chunk} must be at least 1")


@dataclass(frozen=True)
class Labels:
    """What labels say of features: feature → (label, whether it names the finding as present, score)."""

    of: dict[int, tuple[str, bool, float]]


def screen(
    model: ReportModel,
    sae: MatryoshkaSAE,
    config: ScreenConfig,
    pairs: Sequence[Pair],
    studies: Sequence[Study],
    pool: FeaturePool,
    path: Path,
    *,
    candidates: Sequence[int] | None = None,
    labels: Labels | None = None,
    batch: int = 16,
    seed: int = 0,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Screen features for one finding, and write ``screen-FINDING.parquet``; goes on where it was stopped.

    Args:
        pairs: (recipient, donor) for the teacher-forced passes: one image, the recipient's (with the goal ``absent``
            the donor's), and both reports.
        studies: to write reports about, that leave room for the goal; their patients are halved.
        pool: the features with their maps.
        path: the table; settings lie beside it as JSON.
        candidates: by default all of the pool that the shape can be used with.
        progress: called with (features done, features in all), of both steps together.

    Raises:
        SteeringError: no pair or candidate, or a table of other settings at ``path``.
    """
    usable = sorted(pool.maps if config.shape == "map" else pool.max_activations)
    features = usable if candidates is None else sorted(set(candidates) & set(usable))
    if not pairs or not features:
        raise SteeringError(f"screen {config.finding!r}: {len(pairs)} pairs and {len(features)} usable candidates")
    asked = _settings(model, sae, config, pairs, studies, features, seed)
    claim_json(path.with_suffix(".json"), asked)
    table = read_table(path, SCREEN_COLUMNS) if path.is_file() else table_of([], SCREEN_COLUMNS)
    labels = labels or Labels({})
    table = _forced(model, sae, config, pairs, pool, path, table, features, labels, seed, progress)
    chosen = chosen_features(table, config.keep)
    return _written(model, sae, config, studies, pool, path, table, chosen, batch, seed, progress)


def chosen_features(table: pd.DataFrame, keep: int) -> list[int]:
    """The ``keep`` best of the table by each way, without repeats; of the labelled ones those that name the finding."""
    found: list[int] = []
    for way in WAYS:
        rows = table[table["by_label"]] if way == "label_score" else table
        best = rows.sort_values([way, "feature"], ascending=[False, True], kind="stable")["feature"].head(keep)
        found += [int(feature) for feature in best]
    return list(dict.fromkeys(found))


def best_features(table: pd.DataFrame, n: int) -> dict[str, list[int]]:
    """Way of choosing → its ``n`` best features: clean generations on the select half, and each of :data:`WAYS`."""
    found: dict[str, list[int]] = {}
    for way in ("select_clean", *WAYS):
        rows = table[table["by_label"]] if way == "label_score" else table
        rows = rows[rows["generated"]] if way == "select_clean" else rows
        best = rows.sort_values([way, "effect", "feature"], ascending=[False, False, True], kind="stable").head(n)
        if len(best):
            found[_NAMES.get(way, way.replace("_", " "))] = [int(feature) for feature in best["feature"]]
    return found


_NAMES = {"select_clean": "clean generations", "label_score": "label"}


def _forced(
    model: ReportModel,
    sae: MatryoshkaSAE,
    config: ScreenConfig,
    pairs: Sequence[Pair],
    pool: FeaturePool,
    path: Path,
    table: pd.DataFrame,
    features: list[int],
    labels: Labels,
    seed: int,
    progress: Progress | None,
) -> pd.DataFrame:
    """One pass a chunk of features; the table is written after every tenth chunk."""
    known = set(table["feature"])
    left = [feature for feature in features if feature not in known]
    if not left:
        return table
    sign = 1.0 if config.goal == "present" else -1.0
    shown = [recipient if config.goal == "present" else donor for recipient, donor in pairs]
    reports = [(recipient.report or "", donor.report or "") for recipient, donor in pairs]
    forced = TeacherForced(model, sae, shown, reports, config.site, pool, config.shape)
    new: list[dict[str, Any]] = []
    for start in range(0, len(left), config.chunk):
        some = left[start : start + config.chunk]
        found = forced.push(some, sign * config.strength)
        for i, feature in enumerate(some):
            low, high = bootstrap_mean(sign * found.effect[i], seed=seed, resamples=500)
            new.append(
                {"finding": config.finding, "goal": config.goal, "feature": feature, "n_pairs": len(pairs)}
                | {"effect": sign * float(found.effect[i].mean()), "effect_low": low, "effect_high": high}
                | {"output_score": sign * float(found.output_score[i].mean())}
                | {"confidence": float(found.confidence[i].mean()), "generated": False}
                | dict(zip(("label", "by_label", "label_score"), labels.of.get(feature, _NO_LABEL), strict=True))
                | {"select_n": 0, "report_n": 0}
            )
        if start // config.chunk % 10 == 9 or start + config.chunk >= len(left):
            table = _grown(table, new, path)
            new = []
        if progress is not None:
            progress(len(features) - len(left) + start + len(some), len(features) + 1)
    return table


_NO_LABEL = ("", False, float("nan"))


def _grown(table: pd.DataFrame, new: list[dict[str, Any]], path: Path) -> pd.DataFrame:
    more = table_of(new, SCREEN_COLUMNS)
    table = pd.concat([table, more], ignore_index=True) if len(table) else more
    write_table(table, path)
    return table


def _written(
    model: ReportModel,
    sae: MatryoshkaSAE,
    config: ScreenConfig,
    studies: Sequence[Study],
    pool: FeaturePool,
    path: Path,
    table: pd.DataFrame,
    chosen: list[int],
    batch: int,
    seed: int,
    progress: Progress | None,
) -> pd.DataFrame:
    """Clean generations of the chosen features; the table is written after each."""
    reports: CleanReports | None = None
    done = set(table.loc[table["generated"], "feature"])
    for number, feature in enumerate(chosen):
        if feature not in done:
            reports = reports or CleanReports(model, sae, config.finding, config.goal, studies, batch, seed)
            row = reports.of([feature], config.site, config.shape, config.strengths, pool)
            place = table["feature"] == feature
            for name, value in ({"generated": True} | row).items():
                table.loc[place, name] = value
            table = table.astype(SCREEN_COLUMNS)
            write_table(table, path)
        if progress is not None:
            progress(len(table) + number + 1, len(table) + len(chosen))
    return table


def _settings(
    model: ReportModel,
    sae: MatryoshkaSAE,
    config: ScreenConfig,
    pairs: Sequence[Pair],
    studies: Sequence[Study],
    features: Sequence[int],
    seed: int,
) -> dict[str, Any]:
    """What decides the table, as JSON."""
    return {
        "model": model.fingerprint,
        "sae": sae_fingerprint(sae),
        "settings": asdict(replace(config, chunk=1)) | {"strengths": list(config.strengths), "seed": seed},
        "pairs": [[study.study_id for study in pair] for pair in pairs],
        "studies": [study.study_id for study in studies],
        "features": [int(feature) for feature in features],
    }
