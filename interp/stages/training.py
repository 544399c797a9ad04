"""The training inside the stages ``train-sae:NAME``: one reading of the data, one stage for each SAE."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.left_out import FILE_NAME as LEFT_OUT
from interp.progress import Progress, silent
from interp.ranks import Ranks
from interp.run import Run, StageResult
from interp.stages.base import Work
from interp.stages.train_live import POOLS, live
from radiology.errors import InputError

if TYPE_CHECKING:
    import torch

    from activations import ActivationStore
    from interp.stages.train_sae import TrainSAEConfig
    from sae.member import Job
    from sae.metrics import Tracker
    from sae.peers import Peers

KERNELS_FILE = "kernels.json"
OUTPUTS = ("cfg.json", "sae.safetensors", "metrics.parquet")
#: What is stale with them: the course of the training, and what later stages made from the SAE.
_STALE_TOO = ("checkpoints", "tensorboard", "wandb", "wandb.json", KERNELS_FILE, POOLS, LEFT_OUT)
_MADE_FROM_IT = ("evaluation.json", "features", "labels", "steering")


@dataclass(frozen=True)
class Way:
    """How a training is done; none of it decides the result.

    Attributes:
        device: where it is done.
        wandb: project on Weights & Biases, if it shall hear of it.
        ranks: the processes that train together.
        shard_features: they share the features instead of the rows.
        checkpoint_every: steps between two checkpoints.
        log_every: steps between two rows of the log.
    """

    device: str = "cpu"
    wandb: str | None = None
    ranks: Ranks = field(default_factory=Ranks)
    shard_features: bool = False
    checkpoint_every: int = 1000
    log_every: int = 50


@dataclass(frozen=True)
class Training:
    """The stages of some SAEs around one training, in the process that leads.

    Attributes:
        configs: of one reading; the folder of the first has the files of a live stream.
        said: kept in every summary.
    """

    run: Run
    configs: Sequence[TrainSAEConfig]
    work: Work
    way: Way
    said: Mapping[str, str] = field(default_factory=dict)
    _done: dict[str, StageResult] = field(default_factory=dict)
    _summaries: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _failures: dict[str, Exception] = field(default_factory=dict)

    def results(self) -> list[StageResult]:
        """Do all stages; what came of each.

        Raises:
            SAEError: some could not be trained; the others were.
        """
        from sae import SAEError

        self._stages_from(0)
        if len(self._done) == len(self.configs) and not self._summaries:
            self.way.ranks.from_first([])  # done before: the others have nothing to do
        if self._failures:
            if len(self.configs) == 1:
                raise next(iter(self._failures.values()))
            reasons = "; ".join(f"{name}: {error}" for name, error in self._failures.items())
            raise SAEError(f"{len(self._failures)} of {len(self.configs)} SAEs failed. {reasons}")
        return [self._done[config.name] for config in self.configs]

    def _stages_from(self, number: int) -> None:
        """Begin a stage and those behind it, train inside the innermost, and end each with what came of it."""
        if number == len(self.configs):
            self._train()
            return
        config = self.configs[number]
        folder = self.run.sae_dir(config.name)

        def inside() -> Mapping[str, Any]:
            self._stages_from(number + 1)
            if config.name in self._failures:
                raise self._failures[config.name]
            return {**self._summaries[config.name], **self.said}

        try:
            result = self.run.do(
                config.stage,
                config.settings(),
                [folder / name for name in OUTPUTS],
                inside,
                after=["cache"],
                also=[folder / name for name in (*_STALE_TOO, *_MADE_FROM_IT)],
                redo=self.work.redo,
            )
        except Exception as error:
            if self._failures.get(config.name) is not error:
                raise
            return
        self._done[config.name] = result
        if result.skipped:
            self.work.reporter.say(f"{self._title([config])}: done before")
            self._stages_from(number + 1)

    def _title(self, configs: Sequence[TrainSAEConfig]) -> str:
        what = f"the SAE {configs[0].name!r}" if len(configs) == 1 else f"{len(configs)} SAEs"
        live = " from the model" if configs[0].live is not None else ""
        return f"{self.work.prefix}Training {what} at {configs[0].site}{live}"

    def _train(self) -> None:
        """Train those whose stages have begun."""
        configs = [config for config in self.configs if config.name not in self._done]
        if not configs:
            return
        begun = [path for config in configs if (path := _newest(self.run.sae_dir(config.name))) is not None]
        if begun:
            self.work.reporter.say(f"{self._title(configs)}: going on after {min(path.stem for path in begun)}")
        self.way.ranks.from_first([config.name for config in configs])
        with self.work.reporter.stage(self._title(configs)) as progress:
            self._failures.update(learn(self.run, self.configs[0], configs, self.way, progress, self._summaries))
            if not self._summaries:
                raise next(iter(self._failures.values()))


def _newest(folder: Path) -> Path | None:
    from sae.checkpoint import newest_checkpoint
    from sae.member import CHECKPOINTS

    return newest_checkpoint(folder / CHECKPOINTS)


def follow(path: Path, configs: Sequence[TrainSAEConfig], way: Way) -> None:
    """What the processes beside the first do of a training, once it has begun; they write nothing."""
    names = way.ranks.from_first()
    wanted = [config for config in configs if config.name in names]
    if wanted:
        for error in learn(Run.open(path), configs[0], wanted, way, silent, {}).values():
            raise error


def learn(
    run: Run,
    reading: TrainSAEConfig,
    configs: Sequence[TrainSAEConfig],
    way: Way,
    progress: Progress,
    summaries: dict[str, Mapping[str, Any]],
) -> Mapping[str, Exception]:
    """Train some SAEs on one reading.

    Args:
        reading: says what is read.
        summaries: gets one for each that was trained.

    Returns:
        What went wrong with the others.
    """
    from activations import ActivationStore
    from activations.norms import norm_table, outlier_limit
    from sae.trainer import SomeFailedError, train_several

    failures: dict[str, Exception] = {}
    with ActivationStore(run.activations_dir) as store:
        limit = None if reading.max_norm_times is None else outlier_limit(store, reading.site, reading.max_norm_times)
        jobs = [_job(run, config, store, way) for config in configs]
        with _stream(run, reading, store, limit, way.ranks) as stream, _peers(way) as peers:
            watched = way.ranks.watched(progress)
            try:
                train_several(stream.batches, jobs, progress=watched, peers=peers, shard_features=way.shard_features)
            except SomeFailedError as error:
                failures = {folder.name: one for folder, one in error.failures.items()}
            told = stream.told()
        norms = norm_table(store, reading.site) if way.ranks.leads else None
    if norms is None:
        return failures
    about = {"max_norm": limit, "norms": {role: dict(row) for role, row in norms.to_dict("index").items()}}
    for config, job in zip(configs, jobs, strict=True):
        if config.name not in failures:
            summaries[config.name] = _summary(config, job, {**about, **told})
    return failures


def _job(run: Run, config: TrainSAEConfig, store: ActivationStore, way: Way) -> Job:
    from sae.config import SAEConfig, group_sizes
    from sae.member import Job

    width = store.width(config.site)
    n_features = round(config.expansion * width)
    groups = group_sizes(n_features, config.groups) if config.groups else ()
    sae_config = SAEConfig(
        d=width, n_features=n_features, k=config.k, groups=groups, dtype=config.dtype, activation=config.activation
    )
    train_config = config.train_config(
        device=way.device, checkpoint_every=way.checkpoint_every, log_every=way.log_every
    )

    def tell_wandb(folder: Path) -> Tracker:
        from sae.wandb_log import WandbLog

        about = {"sae": sae_config.to_dict(), "train": train_config.to_dict(), "site": config.site}
        return WandbLog(folder, str(way.wandb), config.name, about)

    extra = {"site": config.site, "roles": config.roles, "model": store.manifest.config.fingerprint}
    trackers = () if way.wandb is None else (tell_wandb,)
    return Job(sae_config, train_config, run.sae_dir(config.name), extra, trackers)


@contextmanager
def _peers(way: Way) -> Iterator[Peers | None]:
    if way.ranks.alone:
        yield None
        return
    from sae.peers import Peers

    with way.ranks.process_group(way.device):
        yield Peers()


def _summary(config: TrainSAEConfig, job: Job, about: Mapping[str, Any]) -> Mapping[str, Any]:
    import pyarrow.parquet as pq

    return {
        "features": job.sae_config.n_features,
        "width": job.sae_config.d,
        "last_metrics": pq.read_table(job.out_dir / "metrics.parquet").to_pylist()[-1],
        "config": config.settings(),
        **_kernels(job.out_dir / KERNELS_FILE),
        **about,
    }


def _kernels(path: Path) -> Mapping[str, Any]:
    """How the kernels were chosen, if that was measured."""
    return {"kernels": json.loads(path.read_text())} if path.exists() else {}


@dataclass(frozen=True)
class _Stream:
    """Where batches come from, and what there is to tell of it for ``run.json``."""

    batches: Callable[[int], Iterator[torch.Tensor]]
    told: Callable[[], Mapping[str, Any]]


@contextmanager
def _stream(
    run: Run, config: TrainSAEConfig, store: ActivationStore, limit: float | None, ranks: Ranks
) -> Iterator[_Stream]:
    if config.live is not None:
        with live(run, config, config.live, store, limit) as source:
            yield _Stream(source.batches, lambda: {"live": source.summary()})
        return
    if config.batch_size % ranks.world:
        raise InputError(
            f"batch-size: {config.batch_size} tokens cannot be shared equally by {ranks.world} processes; "
            f"give a multiple of {ranks.world}"
        )
    source_of = store.batch_source(
        config.site,
        config.batch_size // ranks.world,
        seed=config.order_seed,
        roles=config.roles.split(","),
        max_norm=limit,
        rank=ranks.rank,
        world=ranks.world,
    )
    yield _Stream(source_of, dict)
