"""Stage ``cache``: from studies to activations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sized
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from interp.left_out import FILE_NAME as LEFT_OUT
from interp.left_out import LeftOut, read_sources
from interp.progress import Progress
from interp.run import Run, StageResult
from interp.stages.base import Work
from radiology.errors import InputError

if TYPE_CHECKING:
    from radiology.sources.base import Skipped, StudySource
    from radiology.study import Study

NAME = "cache"
MODES = ("teacher-forced", "generate")
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
    """

    model: str
    studies: tuple[str, ...]
    sites: tuple[str, ...]
    roles: str = "content,template"
    mode: str = "teacher-forced"
    dtype: str = "bfloat16"
    max_new_tokens: int | None = None
    generated_sources: tuple[str, ...] = ()
    model_dtype: str | None = None

    def __post_init__(self) -> None:
        for name in ("studies", "sites"):
            if not getattr(self, name):
                raise InputError(f"{name}: none given; name at least one")
        if self.mode not in MODES:
            raise InputError(f"mode: {self.mode!r} is not one of {list(MODES)}")
        if len(set(self.studies)) != len(self.studies):
            raise InputError(f"studies: {list(self.studies)} names a source twice")


def cache(run: Run, config: CacheConfig, work: Work, *, batch_size: int = 16, strict: bool = False) -> StageResult:
    """Run the model over the studies and fill ``RUN/activations``, ``RUN/studies.parquet`` and ``RUN/left-out.csv``.

    The model is opened where ``run.opening`` says.

    Args:
        strict: let the first study that cannot be used be an error, instead of leaving it out. Not part of the
            configuration: a strict run that ends has the same result as one that is not.

    Raises:
        InputError: no study can be used; or, if strict, one cannot, now or when the stage was done before.
    """
    left_out_path = run.path / LEFT_OUT
    result = work.do(
        run,
        NAME,
        "Caching activations",
        config,
        [run.activations_dir, run.studies_path, left_out_path],
        lambda progress: _cache(run, config, progress, batch_size, strict),
        also=[run.path / name for name in ("sae", "trace", run.dashboard_path.name)],
    )
    if strict and result.skipped:
        LeftOut(left_out_path).refuse_losses()
    return result


def _cache(run: Run, config: CacheConfig, progress: Progress, batch_size: int, strict: bool) -> Mapping[str, Any]:
    from activations import cache_activations

    left_out = LeftOut(run.path / LEFT_OUT)
    if strict:
        left_out.refuse_losses()
    sources = open_sources(config, strict=strict)
    model = run.opening.open(config.model, config.model_dtype, progress)
    left_out.begin()
    try:
        summary = cache_activations(
            model,
            read_sources(sources, left_out, _stored_ids(run)),
            config.sites,
            run.activations_dir,
            roles=config.roles.split(","),
            mode=config.mode,
            dtype=config.dtype,
            batch_size=batch_size,
            max_new_tokens=config.max_new_tokens,
            progress=progress,
        )
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
        "studies_by_source": {name: _stored(run, name) for name in sources},
        "out_of_world": _out_of_world(config, run),
        "decisions": {name: dict(decided) for name, source in sources.items() if (decided := _decisions(source))},
        "left_out": {name: sum(entry.source == name for entry in left_out.entries) for name in sources},
        "left_out_reasons": [str(entry.what) for entry in left_out.entries[:REASONS_KEPT]],
    }


def open_sources(config: CacheConfig, *, strict: bool = False) -> dict[str, StudySource | WithoutReports]:
    """The sources of a configuration, opened; InputError if one is unknown, empty or not there."""
    from radiology import open_studies

    opened: dict[str, StudySource | WithoutReports] = {}
    for spec in config.studies:
        source = open_studies(spec, strict=strict)
        opened[spec] = WithoutReports(source) if spec in config.generated_sources else source
    return opened


class WithoutReports(Sized):
    """A source whose studies have no report of their own: what the model reads is then what it wrote itself."""

    def __init__(self, source: StudySource) -> None:
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __iter__(self) -> Iterator[Study]:
        return map(_without_report, self._source)

    def listed(self) -> Iterator[Study]:
        return map(_without_report, self._source.listed())

    def decoded(self, study: Study) -> Study | None:
        return self._source.decoded(study)

    @property
    def strict(self) -> bool:
        return self._source.strict

    @property
    def decisions(self) -> Mapping[str, int]:
        return _decisions(self._source)

    @property
    def skipped(self) -> list[Skipped]:
        return self._source.skipped


def _decisions(source: StudySource | WithoutReports) -> Mapping[str, int]:
    """How often a source had to decide where its data leave it open (which picture is the lateral …)."""
    return getattr(source, "decisions", None) or {}


def _without_report(study: Study) -> Study:
    return replace(study, report=None, grounded=None, structured=None)


def _stored_ids(run: Run) -> frozenset[str]:
    """Ids of the studies in the finished shards of a store that was begun before."""
    from activations import StudyIndex

    if not (run.activations_dir / "manifest.json").is_file():
        return frozenset()
    return frozenset(StudyIndex.read(run.path, allow_incomplete=True).frame["study_id"])


def _out_of_world(config: CacheConfig, run: Run) -> int:
    """Studies that are no phantoms, read by a model that knows nothing else: its words about them mean nothing."""
    if not config.model.startswith("phantom"):
        return 0
    import pyarrow.parquet as pq

    terms = pq.read_table(run.studies_path, columns=["terms"]).column("terms").to_pylist()
    return sum(one != "phantom" for one in terms)


def _stored(run: Run, source: str) -> int:
    import pyarrow.parquet as pq

    column = pq.read_table(run.studies_path, columns=["source"]).column("source").to_pylist()
    return sum(name == source for name in column)
