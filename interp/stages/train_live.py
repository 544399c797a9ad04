"""Training without a store: the trainer is fed by the model that reads a source of studies.

The run must hold the cache of a sample: model, number format and roles are those of the sample, the limit of the norms
is measured on it, and what comes later (evaluation, index, labels) is made from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.left_out import FILE_NAME, LeftOut
from interp.run import Run
from radiology.errors import InputError
from radiology.sources.base import Skipped, StudySource

if TYPE_CHECKING:
    from activations import ActivationStore
    from activations.live import LiveBatches
    from interp.stages.train_sae import TrainSAEConfig
    from radiology.study import Study

#: Files of a live training in the SAE's folder.
POOLS = "live-pools.jsonl"


@dataclass(frozen=True)
class LiveConfig:
    """What the model reads while the SAE is trained.

    Attributes:
        studies: sources, ``SCHEME:ARGUMENTS``.
        pass_size: studies in one pass of the model.
        pool_rows: rows that are mixed with each other in memory, of which there are up to three times as many.
    """

    studies: tuple[str, ...]
    pass_size: int = 16
    pool_rows: int = 131_072

    def __post_init__(self) -> None:
        object.__setattr__(self, "studies", tuple(self.studies))
        if not self.studies:
            raise InputError("studies: none given; with --live, name at least one source")
        if len(set(self.studies)) != len(self.studies):
            raise InputError(f"studies: {list(self.studies)} names a source twice")


def require_sample(run: Run) -> None:
    """InputError that says what to do if nothing is cached yet."""
    if not run.is_done("cache"):
        raise InputError(
            f"{run.path}: --live takes its model, site and roles from the cache of a sample, which eval-sae and index "
            f"read later, and there is none. Run `interp cache --run {run.path}` on some of the studies first."
        )


@dataclass(frozen=True)
class Live:
    """A live stream with what it tells afterwards."""

    batches: LiveBatches
    studies: ListedStudies

    def summary(self) -> Mapping[str, Any]:
        """Studies, those left out, and the rows of all pools that were formed."""
        pools = self.batches.log.pools
        by_role: dict[str, int] = {}
        for pool in pools:
            for role, count in pool.rows_by_role.items():
                by_role[role] = by_role.get(role, 0) + count
        return {
            "studies": len(self.studies),
            "left_out": self.studies.lost,
            "epochs_begun": 1 + max((pool.epoch for pool in pools), default=0),
            "rows_by_role": by_role,
            "left_by_norm": sum(pool.left_by_norm for pool in pools),
        }


@contextmanager
def live(
    run: Run, config: TrainSAEConfig, settings: LiveConfig, store: ActivationStore, limit: float | None
) -> Iterator[Live]:
    """The stream of a training; the list of what was left out is complete when the context ends.

    Raises:
        InputError: no source can be used; the model is not the one that the sample was cached from; no role is asked
            for that the sample has.
    """
    from activations.live import LiveBatches, LivePlan
    from activations.store import as_roles

    sample = store.manifest.config
    roles = tuple(role for role in as_roles(config.roles.split(",")) if role in sample.roles)
    if not roles:
        have = ", ".join(role.name.lower() for role in sample.roles)
        raise InputError(f"roles: {config.roles!r} has none of the cached sample's, which are {have}")
    folder = run.sae_dir(config.name)
    folder.mkdir(parents=True, exist_ok=True)
    studies = ListedStudies(settings, LeftOut(folder / FILE_NAME))
    model = run.model
    if model.fingerprint != sample.fingerprint:
        raise InputError(
            f"{run.path}: the model {model.name!r} is not the one that the sample was cached from; its weights or "
            "configuration have changed. Cache a sample of the new one into another --run."
        )
    plan = LivePlan(
        config.site,
        roles,
        config.order_seed,
        sample.dtype,
        sample.mode,
        sample.max_new_tokens,
        limit,
        settings.pass_size,
        settings.pool_rows,
    )
    batches = LiveBatches(model, studies, plan, config.batch_size, log=folder / POOLS, study_key=studies.key)
    try:
        yield Live(batches, studies)
    finally:
        batches.close()
        studies.finish()


class ListedStudies:
    """The studies of some sources by number; their images are read when a study is asked for.

    Sources are listed once; texts and paths of all studies stay in memory. Phantoms are drawn when asked for.

    Args:
        left_out: takes note of what cannot be used; studies that it holds already stay left out.
    """

    def __init__(self, settings: LiveConfig, left_out: LeftOut) -> None:
        from radiology import open_studies

        self._sources = {spec: open_studies(spec) for spec in settings.studies}
        self._left_out = left_out
        self._listed: list[tuple[str, Study | int]] = []
        self._given: set[str] = set()
        left_out.begin()
        hashed = sha256()
        for spec, source in self._sources.items():
            for one, study_id in _listed(source):
                if study_id in self._given:
                    self._duplicate(spec, one)
                    continue
                self._given.add(study_id)
                hashed.update(study_id.encode() + b"\n")
                self._listed.append((spec, one))
        self._given.clear()
        #: Hash of the ids in their order.
        self.key = hashed.hexdigest()[:16]

    def __len__(self) -> int:
        return len(self._listed)

    def __getitem__(self, number: int) -> Study | None:
        """A study with its images in memory; None if one cannot be read, now or at any time before."""
        spec, one = self._listed[number]
        source = self._sources[spec]
        if isinstance(one, int):
            return _phantom(source, one)
        if self._left_out.has_study(spec, one.study_id):
            return None
        decoded = source.decoded(one)
        if decoded is None:
            self._left_out.add(spec, one.study_id, source.skipped.pop())
        return decoded

    @property
    def lost(self) -> int:
        """Studies left out so far."""
        listed = sum(skipped.lost for source in self._sources.values() for skipped in source.skipped)
        return listed + sum(entry.what.lost for entry in self._left_out.entries)

    def finish(self) -> None:
        """Write the whole list of what was left out."""
        self._left_out.finish({spec: source.skipped for spec, source in self._sources.items()})

    def _duplicate(self, spec: str, one: Study | int) -> None:
        images = () if isinstance(one, int) else one.images.values()
        file = next((image for image in images if isinstance(image, Path)), Path(spec))
        what = Skipped(file, None, "study_id", "its study has the id of one that was given before", lost=True)
        self._left_out.add(spec, None, what)


def _listed(source: StudySource) -> Iterator[tuple[Study | int, str]]:
    """Studies with their ids; of phantoms the numbers, by which they are drawn."""
    from radiology.sources.phantom import PhantomSource

    if isinstance(source, PhantomSource):
        for number in range(source.n):
            yield number, f"phantom {source.seed} {source.start + number}"
    else:
        for study in source.listed():
            yield study, study.study_id


def _phantom(source: StudySource, number: int) -> Study:
    from radiology.phantom.cases import phantom_study
    from radiology.sources.phantom import PhantomSource

    if not isinstance(source, PhantomSource):
        raise TypeError("only phantoms are drawn by number")
    return phantom_study(source.seed, source.start + number, correlate=source.correlate)
