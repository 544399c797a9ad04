"""The sources of studies that a run is made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sized
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interp.stages.cache import CacheConfig
    from radiology.sources.base import Skipped, StudySource
    from radiology.study import Study


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
        return decisions(self._source)

    @property
    def skipped(self) -> list[Skipped]:
        return self._source.skipped


def decisions(source: StudySource | WithoutReports) -> Mapping[str, int]:
    """How often a source had to decide where its data leave it open (which picture is the lateral …)."""
    return getattr(source, "decisions", None) or {}


def _without_report(study: Study) -> Study:
    return replace(study, report=None, grounded=None, structured=None)
