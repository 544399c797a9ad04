"""Stage ``train-sae``: from activations to a sparse autoencoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from interp.plain import restored
from interp.run import Run, StageResult
from interp.stages.base import Work
from interp.stages.train_live import LiveConfig, require_sample
from interp.stages.training import Training, Way
from radiology.errors import InputError
from sae.config import TrainConfig
from sae.config_fields import check, to_json

STAGE = "train-sae"
#: Fields that runs did not have from the beginning, with their defaults.
_LATER: dict[str, Any] = {
    "live": None,
    "data_seed": None,
    "activation": "batch_topk",
    "dtype": "float32",
    "training": {},
}
#: Fields of `TrainConfig` that `TrainSAEConfig.training` may set; the others have a place of their own.
RECIPE = frozenset(
    {
        "warmup_fraction",
        "decay_fraction",
        "grad_clip",
        "aux_k",
        "aux_alpha",
        "dead_after_tokens",
        "threshold_beta",
        "prefix_loss",
        "b_dec_init",
        "normalize",
        "group_weights",
        "prefixes",
        "k_start",
        "k_anneal_fraction",
        "jumprelu_bandwidth",
        "jumprelu_sparsity",
        "kernels",
    }
)


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
        seed: of the first weights, and of the order of the tokens unless ``data_seed`` says otherwise.
        data_seed: of the order of the tokens; SAEs that are trained on one reading share it.
        max_norm_times: leave out tokens whose norm is over so many medians of the largest role (attention sinks).
        live: read from the model instead of the disk; None reads the cached rows.
        activation: which activations count, one of ``sae.config.ACTIVATIONS``.
        dtype: type of the weights in the file.
        training: fields of :class:`sae.config.TrainConfig` out of `RECIPE` that shall not have their defaults.
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
    data_seed: int | None = None
    activation: str = "batch_topk"
    dtype: str = "float32"
    training: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.live, Mapping):  # from run.json
            object.__setattr__(self, "live", restored(LiveConfig, self.live))
        if self.data_seed == self.seed:  # says nothing new, so that the hash is that of a run without it
            object.__setattr__(self, "data_seed", None)
        if not self.name or "/" in self.name or self.name.startswith("."):
            raise InputError(f"sae: {self.name!r} cannot be a folder name; use letters, digits, dash and underscore")
        if self.expansion <= 0:
            raise InputError(f"expansion: {self.expansion} must be more than 0")
        for name, value in self.training.items():
            check(name in RECIPE, f"training.{name}", value, "one of " + ", ".join(sorted(RECIPE)))
        # What has its default says nothing new; SAEError for a value that cannot be.
        changed = to_json(TrainConfig.from_dict({"n_tokens": self.tokens, **self.training}))
        usual = {one.name: one.default for one in fields(TrainConfig)}
        kept = {name: changed[name] for name in sorted(self.training) if changed.get(name, usual[name]) != usual[name]}
        object.__setattr__(self, "training", kept)

    @property
    def stage(self) -> str:
        return f"{STAGE}:{self.name}"

    @property
    def order_seed(self) -> int:
        """Seed of the order of the tokens."""
        return self.seed if self.data_seed is None else self.data_seed

    def settings(self) -> dict[str, Any]:
        """As it is kept in ``run.json``; what came later is left out while it has its default."""
        return {key: value for key, value in asdict(self).items() if key not in _LATER or value != _LATER[key]}

    def train_config(self, **way: Any) -> TrainConfig:
        """What the trainer is told; `way` sets fields that do not decide the result."""
        return TrainConfig.from_dict(
            {
                "n_tokens": self.tokens,
                "batch_size": self.batch_size,
                "learning_rate": self.learning_rate,
                "seed": self.seed,
                **self.training,
                **way,
            }
        )

    def members(self, ks: Sequence[int], seeds: Sequence[int], data_seed: int | None = None) -> list[TrainSAEConfig]:
        """One for each pair of k and seed, called ``NAME-k32-s0``; this one if there is only one pair.

        All read the data in one order: that of ``data_seed``, which is the first seed unless given.
        """
        order = seeds[0] if data_seed is None else data_seed
        several = len(ks) * len(seeds) > 1
        return [
            replace(self, name=f"{self.name}-k{k}-s{seed}" if several else self.name, k=k, seed=seed, data_seed=order)
            for k in ks
            for seed in seeds
        ]


def train_sae(run: Run, config: TrainSAEConfig, work: Work, *, device: str = "cpu") -> StageResult:
    """Train and write ``RUN/sae/NAME``; goes on from the newest checkpoint if it was stopped.

    With ``config.live`` the model is opened where ``run.opening`` says.

    Raises:
        InputError: the stage before is missing, or what the trainer and :func:`interp.stages.train_live.live` refuse.
    """
    return train_saes(run, [config], work, Way(device))[0]


def train_saes(
    run: Run,
    configs: Sequence[TrainSAEConfig],
    work: Work,
    way: Way | None = None,
    said: Mapping[str, str] | None = None,
) -> list[StageResult]:
    """Train several on one reading, each a stage of its own; each is as if :func:`train_sae` had trained it alone.

    ``said`` is kept in the summaries of the stages: why this site, and warnings about it.

    Of several processes the first calls this, the others :func:`interp.stages.training.follow`.

    Raises:
        InputError: as :func:`train_sae`, before any is touched; or the configurations do not read the same.
        SAEError: some could not be trained; the others were.
    """
    readings = {_reading(config) for config in configs}
    if len(readings) != 1 or len({config.name for config in configs}) != len(configs):
        raise InputError("train-sae: SAEs of one reading share site, roles, tokens, batch size, order; not their name")
    way = way or Way()
    if configs[0].live is not None:
        if not way.ranks.alone:
            raise InputError("train-sae --live: the model feeds one process; run it without torchrun")
        require_sample(run)
    if not work.redo:
        for config in configs:
            run.refuse_other(config.stage, config.settings(), after=["cache"])
    return Training(run, configs, work, way, said or {}).results()


def _reading(config: TrainSAEConfig) -> str:
    """What decides which batches come."""
    same = replace(config, name="same", k=1, groups=(), expansion=1, learning_rate=None, seed=config.order_seed)
    return repr(replace(same, data_seed=None, dtype="float32", training={}))
