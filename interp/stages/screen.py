"""Stage ``screen``: which features change what reports say about a finding."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.causal_pairs import causal_pairs
from interp.progress import Progress
from interp.run import Run, StageResult
from interp.stages.base import Work
from interp.steering_targets import room_for
from radiology.errors import InputError

if TYPE_CHECKING:
    from steering.experiments.screening import Labels

STAGE = "screen"


@dataclass(frozen=True)
class ScreenStageConfig:
    """One screening of one finding.

    Attributes:
        finding, goal: what should change; the goal ``absent`` takes features away.
        study_ids: studies of the report half that leave room; reports are written about them.
        name: SAE of the run.
        pairs: pairs for the teacher-forced passes.
        source: where they come from; empty is phantom twins for the phantom model, else donors of the run.
        strength: of the teacher-forced pushes.
        strengths: of the reports.
        shape: ``map`` or ``uniform``.
        keep: best features of each way that write reports.
        group: the best features of each way that are steered together.
        only: candidates; empty is every feature that can be pushed so.
    """

    finding: str
    study_ids: tuple[str, ...]
    goal: str = "present"
    name: str = "main"
    pairs: int = 4
    source: str = ""
    strength: float = 4.0
    strengths: tuple[float, ...] = (2.0, 4.0)
    shape: str = "map"
    keep: int = 8
    only: tuple[int, ...] = ()
    group: int = 10
    seed: int = 0

    @property
    def stage(self) -> str:
        return f"{STAGE}:{self.name}:{self.finding}:{self.goal}"


def screen_config(run: Run, finding: str, studies: int, **settings: Any) -> ScreenStageConfig:
    """A configuration with ``studies`` studies that leave room."""
    goal, seed = settings.get("goal", "present"), settings.get("seed", 0)
    return ScreenStageConfig(finding, tuple(room_for(run, finding, goal, studies, seed=seed)), **settings)


def screen(run: Run, config: ScreenStageConfig, work: Work) -> StageResult:
    """Write ``RUN/sae/NAME/steering/screen-FINDING.parquet``."""
    path = table_path(run, config.name, config.finding, config.goal)
    return work.do(
        run,
        config.stage,
        f"Screening features for {config.finding}",
        config,
        [path, path.with_suffix(".json"), _groups_path(path)],
        lambda progress: _screen(run, config, progress),
        after=[f"index:{config.name}"],
    )


def table_path(run: Run, name: str, finding: str, goal: str) -> Path:
    """Where the table of a screening lies."""
    from steering.schema import screen_file

    return run.sae_dir(name) / "steering" / screen_file(finding if goal == "present" else f"{finding}-{goal}")


def _groups_path(path: Path) -> Path:
    return path.with_name(f"{path.stem}-groups.parquet")


def _screen(run: Run, config: ScreenStageConfig, progress: Progress) -> Mapping[str, Any]:
    from steering.experiments.recipes import feature_pool
    from steering.experiments.screening import ScreenConfig, screen
    from steering.experiments.screening_groups import screen_groups

    if not run.model.writes:
        raise InputError(f"model {run.model.name!r}: is an encoder and writes no reports that features could change")
    rows = run.features_of(config.name).frame
    pool = feature_pool(rows)
    pairs = causal_pairs(run, [config.finding], config.pairs, source=config.source)[config.finding]
    start, before = time.monotonic(), _rows_there(run, config)
    passed: list[float] = []

    def watched(done: int, total: int) -> None:
        if done == total - 1 and not passed:
            passed.append(time.monotonic() - start)
        progress(done, total)

    asked = ScreenConfig(
        config.finding,
        config.goal,  # type: ignore[arg-type]
        run.config_of(f"train-sae:{config.name}")["site"],
        config.strength,
        config.strengths,
        config.shape,
        config.keep,
    )
    path = table_path(run, config.name, config.finding, config.goal)
    sae, studies = run.sae_named(config.name), run.studies.pick(config.study_ids)
    table = screen(
        run.model,
        sae,
        asked,
        pairs,
        studies,
        pool,
        path,
        candidates=config.only or None,
        labels=labels_of(run, config.name, config.finding, config.goal),
        seed=config.seed,
        progress=watched,
    )
    groups = screen_groups(
        run.model, sae, asked, studies, pool, table, _groups_path(path), size=config.group, seed=config.seed
    )
    new, seconds = len(table) - before, passed[0] if passed else float("nan")
    return {
        "finding": config.finding,
        "goal": config.goal,
        "features": len(table),
        "written": int(table["generated"].sum()),
        "features_an_hour": 3600 * new / seconds if new and seconds > 0 else None,
        "features_an_hour_in_all": 3600 * new / (time.monotonic() - start) if new else None,
        "groups": groups.to_dict("records"),
    }


def _rows_there(run: Run, config: ScreenStageConfig) -> int:
    import pandas as pd

    path = table_path(run, config.name, config.finding, config.goal)
    return len(pd.read_parquet(path, columns=["feature"])) if path.is_file() else 0


def labels_of(run: Run, name: str, finding: str, goal: str = "present") -> Labels:
    """The label of every feature, whether it names the finding as present, and its score on hard negatives."""
    import pandas as pd

    from steering.experiments.screening import Labels
    from steering.reading import related

    folder = run.labels_dir(name)
    if not (folder / "explanations.parquet").is_file():
        return Labels({})
    rows = pd.read_parquet(folder / "explanations.parquet").drop_duplicates("feature")
    if (folder / "scores.parquet").is_file():
        scores = pd.read_parquet(folder / "scores.parquet")
        hard = scores[(scores["negative_kind"] == "hard_negative") & (scores["n"] > 0)].drop_duplicates("feature")
        rows = rows.merge(hard[["feature", "balanced_accuracy"]], on="feature", how="left")
    else:
        rows = rows.assign(balanced_accuracy=float("nan"))
    found = {}
    for row in rows.to_dict("records"):
        concept, side = row.get("concept"), row.get("side")
        key = f"{concept}:{side}" if isinstance(side, str) and side else str(concept)
        named = isinstance(concept, str) and related(key, finding) and row.get("polarity") == "present"
        found[int(row["feature"])] = (str(row.get("label") or ""), bool(named), float(row["balanced_accuracy"]))
    return Labels(found)
