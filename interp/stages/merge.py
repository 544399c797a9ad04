"""Stage ``cache`` of a run that is joined from others instead of being cached: its later stages see no difference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from interp.files import remove
from interp.left_out import FILE_NAME as LEFT_OUT
from interp.left_out import Entry, LeftOut
from interp.plain import restored
from interp.progress import Progress
from interp.run import Run, StageResult
from interp.stages.base import Work
from interp.stages.cache import NAME, REASONS_KEPT, CacheConfig, out_of_world, stored_studies
from radiology.errors import InputError
from radiology.sources.base import Skipped

if TYPE_CHECKING:
    from activations.merge_plan import Duplicate, MergePlan
    from activations.summary import StoreSummary


def merge_runs(
    inputs: Sequence[Run], out: Run, plan: MergePlan, work: Work, *, shard_rows: int | None = None
) -> StageResult:
    """Copy the stores of finished runs into ``out`` as planned, with one ``left-out.csv`` and one study table.

    The run then has a stage ``cache`` as if one command had cached all studies, and can be trained on and evaluated.

    Args:
        plan: of the stores of ``inputs``, by :func:`activations.merge_plan.plan`.
        shard_rows: rows of a shard; None is the default of caching.

    Raises:
        InputError: what :func:`merged_config` and :func:`activations.merge.merge` refuse.
    """
    from activations.merge_plan import NOTE

    left_out = out.path / LEFT_OUT
    note = out.path / NOTE
    return work.do(
        out,
        NAME,
        f"Merging {len(inputs)} runs",
        merged_config(inputs, plan),
        [out.activations_dir, out.studies_path, left_out, note],
        lambda progress: _merge(inputs, out, plan, progress, shard_rows),
        also=[out.path / name for name in ("sae", "trace", out.dashboard_path.name)],
    )


def merged_config(inputs: Sequence[Run], plan: MergePlan) -> CacheConfig:
    """What one command would have been told to cache all of it.

    Raises:
        InputError: the runs opened the model in different number formats, or one ignored the reports of a source that
            another read.
    """
    configs = [restored(CacheConfig, run.config_of(NAME)) for run in inputs]
    first = configs[0]
    reports: dict[str, tuple[bool, Run]] = {}
    for run, config in zip(inputs, configs, strict=True):
        if config.model_dtype != first.model_dtype:
            raise InputError(
                f"model_dtype differs: {inputs[0].path} has {first.model_dtype!r}, {run.path} has "
                f"{config.model_dtype!r}; their rows are not rounded alike"
            )
        for source in config.studies:
            ignored = source in config.generated_sources
            before, where = reports.setdefault(source, (ignored, run))
            if before != ignored:
                readers = (run.path, where.path) if before else (where.path, run.path)
                raise InputError(
                    f"studies: the reports of {source} were read for {readers[0]} and ignored for {readers[1]}; "
                    "merge runs that treat a source alike"
                )
    return replace(
        first,
        studies=tuple(reports),
        generated_sources=tuple(source for source, (ignored, _) in reports.items() if ignored),
        merged_from=tuple(str(part.note()["digest"]) for part in plan.parts),
    )


def _merge(
    inputs: Sequence[Run], out: Run, plan: MergePlan, progress: Progress, shard_rows: int | None
) -> Mapping[str, Any]:
    from activations.merge import merge
    from activations.writer import DEFAULT_SHARD_ROWS

    summary = merge(plan, out.path, shard_rows=shard_rows or DEFAULT_SHARD_ROWS, progress=progress)
    remove(out.path / LEFT_OUT)
    left_out = LeftOut(out.path / LEFT_OUT)
    left_out.entries = [*dict.fromkeys(entry for run in inputs for entry in LeftOut(run.path / LEFT_OUT).entries)]
    left_out.entries += _duplicates(plan)
    left_out.finish({})
    return _summary(inputs, out, summary, left_out)


def _duplicates(plan: MergePlan) -> list[Entry]:
    """A study that is left out for another of its id, as ``interp cache`` notes it within one run."""
    return [
        Entry(one.source or str(part.directory), None, Skipped(part.directory, None, "study_id", _why(one), lost=True))
        for part in plan.parts
        for one in part.left_out
    ]


def _why(one: Duplicate) -> str:
    return f"study number {one.study} has the id of one that {one.first} gave before"


def _summary(inputs: Sequence[Run], out: Run, summary: StoreSummary, left_out: LeftOut) -> Mapping[str, Any]:
    """The same fields as of a run that was cached."""
    stages = [run.require(NAME) for run in inputs]
    sources = list(dict.fromkeys(source for stage in stages for source in stage.config["studies"]))
    decisions: dict[str, Counter[str]] = {}
    for stage in stages:
        for source, decided in stage.summary.get("decisions", {}).items():
            decisions.setdefault(source, Counter()).update(decided)
    return {
        "model": stages[0].summary["model"],
        "studies": summary.studies,
        "rows": summary.rows,
        "bytes": summary.bytes,
        "rows_by_role": summary.rows_by_role,
        "studies_without_rows": summary.studies_without_rows,
        "generated_reports": summary.generated_reports,
        "studies_by_source": {source: stored_studies(out, source) for source in sources},
        "out_of_world": out_of_world(stages[0].config["model"], out),
        "decisions": {source: dict(decided) for source, decided in decisions.items()},
        "left_out": {source: sum(entry.source == source for entry in left_out.entries) for source in sources},
        "left_out_reasons": [str(entry.what) for entry in left_out.entries[:REASONS_KEPT]],
        "merged_from": [str(run.path.absolute()) for run in inputs],
    }
