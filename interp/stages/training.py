"""The training inside the stages ``train-sae:NAME``: one reading of the data, one stage for each SAE."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.left_out import FILE_NAME as LEFT_OUT
from interp.progress import Progress
from interp.run import Run, StageResult
from interp.stages.base import Work
from interp.stages.train_live import POOLS, live

if TYPE_CHECKING:
    import torch

    from activations import ActivationStore
    from interp.stages.train_sae import TrainSAEConfig
    from sae.member import Job
    from sae.metrics import Tracker

OUTPUTS = ("cfg.json", "sae.safetensors", "metrics.parquet")
#: What is stale with them: the course of the training, and what later stages made from the SAE.
_STALE_TOO = ("checkpoints", "tensorboard", "wandb", "wandb.json", POOLS, LEFT_OUT)
_MADE_FROM_IT = ("evaluation.json", "features", "labels", "steering")


@dataclass(frozen=True)
class Training:
    """The stages of some SAEs around one training.

    Attributes:
        configs: of one reading; the folder of the first has the files of a live stream.
        wandb: project on Weights & Biases, if it shall hear of it.
    """

    run: Run
    configs: Sequence[TrainSAEConfig]
    work: Work
    device: str
    wandb: str | None = None
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
            return self._summaries[config.name]

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
        with self.work.reporter.stage(self._title(configs)) as progress:
            self._learn(configs, progress)
            if not self._summaries:
                raise next(iter(self._failures.values()))

    def _learn(self, configs: Sequence[TrainSAEConfig], progress: Progress) -> None:
        from activations import ActivationStore
        from activations.norms import norm_table, outlier_limit
        from sae.trainer import SomeFailedError, train_several

        first = self.configs[0]
        with ActivationStore(self.run.activations_dir) as store:
            limit = None if first.max_norm_times is None else outlier_limit(store, first.site, first.max_norm_times)
            jobs = [self._job(config, store) for config in configs]
            with _stream(self.run, first, store, limit) as stream:
                try:
                    train_several(stream.batches, jobs, progress=progress)
                except SomeFailedError as error:
                    self._failures.update({folder.name: one for folder, one in error.failures.items()})
                told = stream.told()
            norms = norm_table(store, first.site)
        about = {"max_norm": limit, "norms": {role: dict(row) for role, row in norms.to_dict("index").items()}}
        for config, job in zip(configs, jobs, strict=True):
            if config.name not in self._failures:
                self._summaries[config.name] = _summary(config, job, {**about, **told})

    def _job(self, config: TrainSAEConfig, store: ActivationStore) -> Job:
        from sae import SAEConfig, TrainConfig
        from sae.config import group_sizes
        from sae.member import Job

        width = store.width(config.site)
        n_features = round(config.expansion * width)
        groups = group_sizes(n_features, config.groups) if config.groups else ()
        sae_config = SAEConfig(d=width, n_features=n_features, k=config.k, groups=groups)
        train_config = TrainConfig(
            n_tokens=config.tokens,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            seed=config.seed,
            device=self.device,
        )

        def tell_wandb(folder: Path) -> Tracker:
            from sae.wandb_log import WandbLog

            about = {"sae": sae_config.to_dict(), "train": train_config.to_dict(), "site": config.site}
            return WandbLog(folder, str(self.wandb), config.name, about)

        extra = {"site": config.site, "roles": config.roles, "model": store.manifest.config.fingerprint}
        trackers = () if self.wandb is None else (tell_wandb,)
        return Job(sae_config, train_config, self.run.sae_dir(config.name), extra, trackers)


def _summary(config: TrainSAEConfig, job: Job, about: Mapping[str, Any]) -> Mapping[str, Any]:
    import pyarrow.parquet as pq

    return {
        "features": job.sae_config.n_features,
        "width": job.sae_config.d,
        "last_metrics": pq.read_table(job.out_dir / "metrics.parquet").to_pylist()[-1],
        "config": config.settings(),
        **about,
    }


@dataclass(frozen=True)
class _Stream:
    """Where batches come from, and what there is to tell of it for ``run.json``."""

    batches: Callable[[int], Iterator[torch.Tensor]]
    told: Callable[[], Mapping[str, Any]]


@contextmanager
def _stream(run: Run, config: TrainSAEConfig, store: ActivationStore, limit: float | None) -> Iterator[_Stream]:
    if config.live is not None:
        with live(run, config, config.live, store, limit) as source:
            yield _Stream(source.batches, lambda: {"live": source.summary()})
        return
    roles = config.roles.split(",")
    source_of = store.batch_source(config.site, config.batch_size, seed=config.order_seed, roles=roles, max_norm=limit)
    yield _Stream(source_of, dict)
