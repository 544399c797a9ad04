"""Stage ``train-sae``: from activations to a sparse autoencoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from interp.left_out import FILE_NAME as LEFT_OUT
from interp.plain import restored
from interp.progress import Progress
from interp.run import Run, StageResult
from interp.stages.base import Work
from interp.stages.train_live import POOLS, LiveConfig, live, require_sample
from radiology.errors import InputError

if TYPE_CHECKING:
    import torch

    from activations import ActivationStore

STAGE = "train-sae"


@dataclass(frozen=True)
class TrainSAEConfig:
    """How to train one SAE of a run.

    Attributes:
        name: folder under ``RUN/sae``.
        site: where it reads; must be cached.
        roles: token roles that it learns from, comma-separated roles or presets.
        expansion: features per residual dimension.
        k: features kept a token, on average over a batch.
        groups: Matryoshka group fractions in prefix order; empty is 1/16, 1/16, 1/8, 1/4, 1/2.
        tokens: tokens to train on; more than are cached means several epochs.
        batch_size: tokens a step.
        learning_rate: peak rate; None scales with the number of features.
        seed: of the first weights and of the order of the tokens.
        max_norm_times: leave out tokens whose norm is over so many medians of the largest role (attention sinks).
        live: read from the model instead of the disk; None reads the cached rows.
        activation: which activations count, one of ``sae.config.ACTIVATIONS``.
    """

    name: str = "main"
    site: str = ""
    roles: str = "content"
    expansion: float = 8
    k: int = 16
    groups: tuple[float, ...] = ()
    tokens: int = 2_000_000
    batch_size: int = 2048
    learning_rate: float | None = None
    seed: int = 0
    max_norm_times: float | None = 10.0
    live: LiveConfig | None = None
    activation: str = "batch_topk"

    def __post_init__(self) -> None:
        if isinstance(self.live, Mapping):  # from run.json
            object.__setattr__(self, "live", restored(LiveConfig, self.live))
        if not self.name or "/" in self.name or self.name.startswith("."):
            raise InputError(f"sae: {self.name!r} cannot be a folder name; use letters, digits, dash and underscore")
        if self.expansion <= 0:
            raise InputError(f"expansion: {self.expansion} must be more than 0")

    @property
    def stage(self) -> str:
        return f"{STAGE}:{self.name}"

    def settings(self) -> dict[str, Any]:
        """As it is kept in ``run.json``; what came later is left out while it has its default."""
        usual = {"live": None, "activation": "batch_topk"}
        return {key: value for key, value in asdict(self).items() if key not in usual or value != usual[key]}


def train_sae(run: Run, config: TrainSAEConfig, work: Work, *, device: str = "cpu") -> StageResult:
    """Train and write ``RUN/sae/NAME``; goes on from the newest checkpoint if it was stopped.

    With ``config.live`` the model is opened where ``run.opening`` says.

    Raises:
        InputError: the stage before is missing, or what the trainer and :func:`interp.stages.train_live.live` refuse.
    """
    if config.live is not None:
        require_sample(run)
    folder = run.sae_dir(config.name)
    outputs = [folder / name for name in ("cfg.json", "sae.safetensors", "metrics.parquet")]
    return work.do(
        run,
        config.stage,
        f"Training the SAE {config.name!r} at {config.site}" + (" from the model" if config.live else ""),
        config.settings(),
        outputs,
        lambda progress: _train(run, config, progress, device),
        after=["cache"],
        also=[folder / name for name in (*_ALSO, POOLS, LEFT_OUT)],
    )


_ALSO = ("checkpoints", "evaluation.json", "features", "labels", "steering")


def _train(run: Run, config: TrainSAEConfig, progress: Progress, device: str) -> Mapping[str, Any]:
    import pyarrow.parquet as pq

    from activations import ActivationStore
    from activations.norms import norm_table, outlier_limit
    from sae import SAEConfig, TrainConfig, train
    from sae.config import group_sizes

    folder = run.sae_dir(config.name)
    with ActivationStore(run.activations_dir) as store:
        width = store.width(config.site)
        n_features = round(config.expansion * width)
        limit = None if config.max_norm_times is None else outlier_limit(store, config.site, config.max_norm_times)
        groups = group_sizes(n_features, config.groups) if config.groups else ()
        with _stream(run, config, store, limit) as stream:
            sae = train(
                stream.batches,
                SAEConfig(d=width, n_features=n_features, k=config.k, groups=groups, activation=config.activation),
                TrainConfig(
                    n_tokens=config.tokens,
                    batch_size=config.batch_size,
                    learning_rate=config.learning_rate,
                    seed=config.seed,
                    device=device,
                ),
                folder,
                progress=progress,
                extra={"site": config.site, "roles": config.roles, "model": store.manifest.config.fingerprint},
            )
            told = stream.told()
        norms = norm_table(store, config.site)
    last = pq.read_table(folder / "metrics.parquet").to_pylist()[-1]
    return {
        "features": sae.n_features,
        "width": sae.d,
        "max_norm": limit,
        "norms": {role: dict(row) for role, row in norms.to_dict("index").items()},
        "last_metrics": last,
        "config": config.settings(),
        **told,
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
    source_of = store.batch_source(config.site, config.batch_size, seed=config.seed, roles=roles, max_norm=limit)
    yield _Stream(source_of, dict)
