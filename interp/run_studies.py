"""The studies of a run with their pictures, read again from where they came from."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from radiology.errors import InputError

if TYPE_CHECKING:
    from interp.stages.cache import CacheConfig
    from radiology.study import Study


class RunStudies:
    """Iterates over the studies of a run in the order of their numbers; nothing is kept in memory.

    With ``study_ids``, those that the run has, its sources are only listed and no image is opened on the way; without,
    every image is looked at, and what the run left out for another reason is there as well.
    """

    def __init__(self, config: CacheConfig, study_ids: Collection[str] | None = None) -> None:
        self._config = config
        self._study_ids = study_ids

    def __iter__(self) -> Iterator[Study]:
        from interp.stages.cache import open_sources

        missing = None if self._study_ids is None else set(self._study_ids)
        for source in open_sources(self._config).values():
            for study in source if missing is None else source.listed():
                if missing is None:
                    yield study
                elif study.study_id in missing:
                    missing.remove(study.study_id)  # the same id in a later source is another study
                    yield study

    def __getitem__(self, study_id: str) -> Study:
        """A study by its id; InputError if the run has none of that id."""
        return self.pick([study_id])[0]

    def pick(self, study_ids: Collection[str]) -> list[Study]:
        """Several studies by id, in the order asked for.

        Raises:
            InputError: an id that the run's sources do not have (any more).
        """
        wanted = dict.fromkeys(study_ids)
        found: dict[str, Study] = {}
        for study in self:
            if study.study_id in wanted:
                found[study.study_id] = study
                if len(found) == len(wanted):
                    break
        missing = [study_id for study_id in wanted if study_id not in found]
        if missing:
            raise InputError(
                f"study {missing[0]!r} is not in {', '.join(self._config.studies)}; was the source moved or changed?"
            )
        return [found[study_id] for study_id in study_ids]
