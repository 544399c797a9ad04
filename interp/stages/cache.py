"""Stage ``cache``: from studies to activations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sized
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from interp.progress import Progress
from interp.run import Run, StageResult
from interp.stages.base import Work
from radiology.errors import InputError

if TYPE_CHECKING:
    from radiology.sources.base import StudySource
    from radiology.study import Study

NAME = "cache"
MODES = ("teacher-forced", "generate")


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
    """

    model: str
    studies: tuple[str, ...]
    sites: tuple[str, ...]
    roles: str = "content,template"
    mode: str = "teacher-forced"
    dtype: str = "bfloat16"
    max_new_tokens: int | None = None
    generated_sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("studies", "sites"):
            if not getattr(self, name):
                raise InputError(f"{name}: none given; name at least one")
        if self.mode not in MODES:
            raise InputError(f"mode: {self.mode!r} is not one of {list(MODES)}")
        if len(set(self.studies)) != len(self.studies):
            raise InputError(f"studies: {list(self.studies)} names a source twice")


def cache(run: Run, config: CacheConfig, work: Work, *, batch_size: int = 16, device: str = "cpu") -> StageResult:
    """Run the model over the studies and fill ``RUN/activations`` and ``RUN/studies.parquet``."""
    return work.do(
        run,
        NAME,
        "Caching activations",
        config,
        [run.activations_dir, run.studies_path],
        lambda progress: _cache(run, config, progress, batch_size, device),
        also=[run.path / name for name in ("sae", "trace", run.dashboard_path.name)],
    )


def _cache(run: Run, config: CacheConfig, progress: Progress, batch_size: int, device: str) -> Mapping[str, Any]:
    from activations import cache_activations, open_model

    sources = open_sources(config)
    model = open_model(config.model, device=device)
    summary = cache_activations(
        model,
        sources,
        config.sites,
        run.activations_dir,
        roles=config.roles.split(","),
        mode=config.mode,
        dtype=config.dtype,
        batch_size=batch_size,
        max_new_tokens=config.max_new_tokens,
        progress=progress,
    )
    skipped = {name: len(source.skipped) for name, source in sources.items()}
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
        "left_out": skipped,
        "left_out_reasons": [str(item) for source in sources.values() for item in source.skipped[:20]],
    }


def open_sources(config: CacheConfig) -> dict[str, StudySource | WithoutReports]:
    """The sources of a configuration, opened; InputError if one is unknown, empty or not there."""
    from radiology import open_studies

    opened: dict[str, StudySource | WithoutReports] = {}
    for spec in config.studies:
        source = open_studies(spec)
        opened[spec] = WithoutReports(source) if spec in config.generated_sources else source
    return opened


class WithoutReports(Sized):
    """A source whose studies have no report of their own: what the model reads is then what it wrote itself."""

    def __init__(self, source: StudySource) -> None:
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __iter__(self) -> Iterator[Study]:
        return (replace(study, report=None, grounded=None) for study in self._source)

    @property
    def skipped(self) -> list[Any]:
        return self._source.skipped


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
