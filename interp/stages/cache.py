"""Stage ``cache``: from studies to activations."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.left_out import FILE_NAME as LEFT_OUT
from interp.left_out import Entry, LeftOut, agree, read_sources
from interp.plain import later
from interp.progress import Progress, seconds, silent
from interp.ranks import Ranks
from interp.run import Run, StageResult
from interp.sources import WithoutReports, decisions
from interp.sources import open_sources as open_sources
from interp.stages.base import Work
from radiology.errors import InputError

if TYPE_CHECKING:
    from activations import StoreSummary
    from activations.estimate import Estimate
    from activations.models.base import ReportModel
    from interp.opening import Opening
    from radiology.sources.base import StudySource
    from radiology.study import Study

NAME = "cache"
MODES = ("teacher-forced", "generate")
COMPRESSIONS = ("none", "blosc2", "bitshuffle")
#: Reasons that go into ``run.json``; the list in ``left-out.csv`` has all of them.
REASONS_KEPT = 200


@dataclass(frozen=True)
class CacheConfig:
    """What to cache from which model.

    Attributes:
        model: name or folder of the model.
        studies: sources, ``SCHEME:ARGUMENTS``; study numbers run through all of them.
        sites: sites or aliases.
        roles: token roles or presets, comma-separated.
        mode: ``teacher-forced`` or ``generate``.
        dtype: number format on disk.
        max_new_tokens: limit of written reports; None is the model's own.
        generated_sources: sources whose own reports are ignored, so that the model writes them.
        model_dtype: number format of the model's weights; None is float32 on a CPU, elsewhere the checkpoint's own.
        compression: of the rows on disk, ``none``, ``blosc2`` or ``bitshuffle``; their values stay the same.
        merged_from: digests of the stores that the run was joined from (``interp store merge``), not cached.
    """

    model: str
    studies: tuple[str, ...]
    sites: tuple[str, ...]
    roles: str = "content,template"
    mode: str = "teacher-forced"
    dtype: str = "bfloat16"
    max_new_tokens: int | None = None
    generated_sources: tuple[str, ...] = ()
    model_dtype: str | None = later(None)
    compression: str = later("none")
    merged_from: tuple[str, ...] = later(())

    def __post_init__(self) -> None:
        for name in ("studies", "sites"):
            if not getattr(self, name):
                raise InputError(f"{name}: none given; name at least one")
        if self.mode not in MODES:
            raise InputError(f"mode: {self.mode!r} is not one of {list(MODES)}")
        if self.compression not in COMPRESSIONS:
            raise InputError(f"compression: {self.compression!r} is not one of {list(COMPRESSIONS)}")
        if len(set(self.studies)) != len(self.studies):
            raise InputError(f"studies: {list(self.studies)} names a source twice")


def cache(
    run: Run,
    config: CacheConfig,
    work: Work,
    *,
    batch_size: int = 16,
    strict: bool = False,
    ranks: Ranks | None = None,
) -> StageResult:
    """Run the model over the studies and fill ``RUN/activations``, ``RUN/studies.parquet`` and ``RUN/left-out.csv``.

    The model is opened where ``run.opening`` says.

    Args:
        strict: let the first study that cannot be used be an error, instead of leaving it out. Not part of the
            configuration: a strict run that ends has the same result as one that is not.
        ranks: the processes that share the work, of which this is number 0; the others call :func:`follow`. Not part of
            the configuration either, but a run that was begun by some number of processes is ended by as many.

    Raises:
        InputError: no study can be used; or, if strict, one cannot, now or when the stage was done before.
    """
    ranks = ranks or Ranks()
    left_out_path = run.path / LEFT_OUT
    shares = "" if ranks.alone else f" (the first of {ranks.world} equal shares)"

    def say(text: str) -> None:
        if work.reporter.on_terminal:
            print(text, file=sys.stderr)  # which the bar has replaced: the line goes above it
        else:
            work.reporter.say(text)

    result = work.do(
        run,
        NAME,
        f"Caching activations{shares}",
        config,
        [run.activations_dir, run.studies_path, left_out_path],
        lambda progress: _lead(run, config, _Way(ranks, ranks.watched(progress), batch_size, strict, say)),
        also=[run.path / name for name in ("sae", "trace", run.dashboard_path.name)],
    )
    if result.skipped:
        ranks.from_first(None)
    if strict and result.skipped:
        LeftOut(left_out_path).refuse_losses()
    return result


def follow(
    path: Path, opening: Opening, config: CacheConfig, ranks: Ranks, *, batch_size: int = 16, strict: bool = False
) -> None:
    """What the processes beside the first do of :func:`cache`: their share of the studies, once it has begun.

    They print nothing and write nothing but their own shards (and the table of studies, who ends last).
    """
    begun = ranks.from_first()
    if begun is None:  # done before
        return
    run = Run.open(path)
    run.opening = opening
    left_out = LeftOut(run.path / LEFT_OUT, map(Entry.of_cells, begun["left_out"]))
    sources = open_sources(config, strict=strict)
    way = _Way(ranks, ranks.watched(silent), batch_size, strict, lambda text: None)
    _share(run, config, way, sources, left_out, frozenset(begun["stored"]))
    ranks.leave()


@dataclass(frozen=True)
class _Way:
    """How the stage is done; none of it decides the result."""

    ranks: Ranks
    progress: Progress
    batch_size: int
    strict: bool
    say: Callable[[str], None]


def _lead(run: Run, config: CacheConfig, way: _Way) -> Mapping[str, Any]:
    left_out = LeftOut(run.path / LEFT_OUT)
    if way.strict:
        left_out.refuse_losses()
    sources = open_sources(config, strict=way.strict)
    _same_number_of_processes(run, way.ranks)
    stored = _stored_ids(run)
    left_out.begin()
    way.ranks.from_first({"stored": sorted(stored), "left_out": [entry.cells() for entry in left_out.entries]})
    try:
        model, summary = _share(run, config, way, sources, left_out, stored)
    finally:
        left_out.finish({name: source.skipped for name, source in sources.items()})
    return {
        "model": model.describe(),
        "studies": summary.studies,
        "rows": summary.rows,
        "bytes": summary.bytes,
        "rows_by_role": summary.rows_by_role,
        "studies_without_rows": summary.studies_without_rows,
        "generated_reports": summary.generated_reports,
        "studies_by_source": {name: stored_studies(run, name) for name in sources},
        "out_of_world": out_of_world(config.model, run),
        "decisions": {name: dict(decided) for name, source in sources.items() if (decided := decisions(source))},
        "left_out": {name: sum(entry.source == name for entry in left_out.entries) for name in sources},
        "left_out_reasons": [str(entry.what) for entry in left_out.entries[:REASONS_KEPT]],
    }


def _share(
    run: Run,
    config: CacheConfig,
    way: _Way,
    sources: Mapping[str, StudySource | WithoutReports],
    left_out: LeftOut,
    stored: Collection[str],
) -> tuple[ReportModel, StoreSummary]:
    """This process's share of the studies; process 0 waits for the others and gives the summary of all."""
    model = run.opening.open(config.model, config.model_dtype, way.progress)
    if not way.ranks.alone:
        agree(open_sources(config, strict=way.strict), left_out, stored, way.ranks, way.progress)
    summary = _store(run, config, way, model, read_sources(sources, left_out, stored, way.ranks))
    if way.ranks.leads and not way.ranks.alone:
        way.ranks.wait_for_others()
        known = LeftOut(left_out.path, [entry for entry in left_out.entries if entry.study_id is not None])
        summary = _store(run, config, way, model, read_sources(sources, known, _stored_ids(run), way.ranks))
    return model, summary


def _store(
    run: Run, config: CacheConfig, way: _Way, model: ReportModel, studies: Mapping[str, Iterable[Study]]
) -> StoreSummary:
    from activations import cache_activations

    def announce(estimate: Estimate) -> None:
        if way.ranks.leads:
            way.say(announced(estimate, config))
        try:
            estimate.require_room(run.activations_dir)
        except OSError as error:  # it says more than that a disk is full
            raise InputError(str(error.strerror)) from None

    return cache_activations(
        model,
        studies,
        config.sites,
        run.activations_dir,
        roles=config.roles.split(","),
        mode=config.mode,
        dtype=config.dtype,
        batch_size=way.batch_size,
        max_new_tokens=config.max_new_tokens,
        compression=config.compression,
        rank=way.ranks.rank,
        world=way.ranks.world,
        progress=way.progress,
        announce=announce,
    )


def announced(estimate: Estimate, config: CacheConfig) -> str:
    """What is to come, in a line: ``about 230,000 rows, 0.9 GB at language.15 (bfloat16), 12 min; 75 GB free``."""
    sites = ", ".join(config.sites)
    packed = "" if config.compression == "none" else f" before {config.compression}"
    return (
        f"  about {estimate.rows:,} rows of {estimate.studies:,} studies, {_size(estimate.bytes)} at {sites} "
        f"({config.dtype}){packed}, {seconds(estimate.seconds)}; {_size(estimate.free_bytes)} free"
    )


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


def _same_number_of_processes(run: Run, ranks: Ranks) -> None:
    """A store belongs to so many writers; another number of processes would share the studies otherwise."""
    from activations.manifest import read_manifest

    manifest = read_manifest(run.activations_dir)
    if manifest is not None and manifest.config.writers != ranks.world:
        begun, now = manifest.config.writers, ranks.world
        how = f"torchrun --nproc-per-node {begun} -m interp cache …" if begun > 1 else "interp cache … without torchrun"
        raise InputError(
            f"{run.path} was begun by {_processes(begun)}, and now there {'is' if now == 1 else 'are'} "
            f"{_processes(now)}. Go on with as many as before ({how}), or choose another --run."
        )


def _processes(count: int) -> str:
    return f"{count} process{'' if count == 1 else 'es'}"


def _stored_ids(run: Run) -> frozenset[str]:
    """Ids of the studies in the finished shards of a store that was begun before."""
    from activations import StudyIndex

    if not (run.activations_dir / "manifest.json").is_file():
        return frozenset()
    return frozenset(StudyIndex.read(run.path, allow_incomplete=True).frame["study_id"])


def out_of_world(model: str, run: Run) -> int:
    """Studies that are no phantoms, read by a model that knows nothing else: its words about them mean nothing."""
    if not model.startswith("phantom"):
        return 0
    import pyarrow.parquet as pq

    terms = pq.read_table(run.studies_path, columns=["terms"]).column("terms").to_pylist()
    return sum(one != "phantom" for one in terms)


def stored_studies(run: Run, source: str) -> int:
    """Studies of a run that come from a source."""
    import pyarrow.parquet as pq

    column = pq.read_table(run.studies_path, columns=["source"]).column("source").to_pylist()
    return sum(name == source for name in column)
