"""``interp train-sae``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from interp.commands.options import (
    DeviceMapOption,
    DeviceOption,
    RedoOption,
    RunOption,
    SAEOption,
    TrustOption,
    numbers,
    opening,
    work,
)
from interp.commands.train_live_options import (
    LiveOption,
    PassSizeOption,
    PoolRowsOption,
    StudiesOption,
    live_config,
)
from interp.commands.train_options import (
    COST,
    OBJECTIVE,
    SCHEDULE,
    AuxAlphaOption,
    AuxKOption,
    BandwidthOption,
    BDecInitOption,
    DeadAfterOption,
    DecayOption,
    DtypeOption,
    GradClipOption,
    GroupWeightsOption,
    KAnnealOption,
    KernelsOption,
    KStartOption,
    LogEveryOption,
    NormalizeOption,
    PrefixesOption,
    PrefixLossOption,
    SparsityOption,
    ThresholdBetaOption,
    WarmupOption,
    recipe,
)
from interp.commands.train_site import training_site

if TYPE_CHECKING:
    from interp.run import Run
    from interp.stages.base import Work
    from interp.stages.train_sae import TrainSAEConfig
    from interp.stages.training import Way


def train_sae(
    run: RunOption,
    sae: SAEOption = "main",
    site: Annotated[
        str | None,
        typer.Option(
            "--site",
            metavar="S",
            help="Cached site to read.  [default: the only one, or by the causal map of interp trace]",
        ),
    ] = None,
    roles: Annotated[
        str, typer.Option("--roles", metavar="ROLES", help="Token roles or presets to learn from.")
    ] = "content",
    max_norm: Annotated[
        float,
        typer.Option("--max-norm", metavar="X", help="Leave out tokens longer than so many medians; 0 keeps all."),
    ] = 10.0,
    expansion: Annotated[
        float, typer.Option("--expansion", metavar="X", help="Features per dimension of the residual.")
    ] = 4,
    k: Annotated[
        str, typer.Option("--k", metavar="N,…", help="Features kept a token, on average over a batch; see above.")
    ] = "64",
    tokens: Annotated[
        int, typer.Option("--tokens", metavar="N", min=1, help="Tokens to train on, over as many epochs.")
    ] = 2_000_000,
    seed: Annotated[
        str, typer.Option("--seed", metavar="N,…", help="Seed of the first weights and of the order of the tokens.")
    ] = "0",
    data_seed: Annotated[
        int | None,
        typer.Option(
            "--data-seed", metavar="N", min=0, help="Seed of the order alone.  [default: the first of --seed]"
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Go on from the newest checkpoint, or start anew.")
    ] = True,
    redo: RedoOption = False,
    groups: Annotated[
        str | None,
        typer.Option(
            "--groups",
            metavar="SHARES",
            help="Matryoshka groups as shares of the features, first prefix first.  [default: .0625,.0625,.125,.25,.5]",
            rich_help_panel=OBJECTIVE,
        ),
    ] = None,
    group_weights: GroupWeightsOption = None,
    prefix_loss: PrefixLossOption = None,
    prefixes: PrefixesOption = None,
    activation: Annotated[
        str,
        typer.Option(
            "--activation",
            metavar="RULE",
            help="batch_topk, topk or jumprelu: which activations count.",
            rich_help_panel=OBJECTIVE,
        ),
    ] = "batch_topk",
    k_start: KStartOption = None,
    k_anneal: KAnnealOption = None,
    threshold_beta: ThresholdBetaOption = None,
    jumprelu_bandwidth: BandwidthOption = None,
    jumprelu_sparsity: SparsityOption = None,
    aux_k: AuxKOption = None,
    aux_alpha: AuxAlphaOption = None,
    dead_after: DeadAfterOption = None,
    batch_size: Annotated[
        int, typer.Option("--batch-size", metavar="N", min=1, help="Tokens a step.", rich_help_panel=SCHEDULE)
    ] = 2048,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            "--learning-rate",
            metavar="X",
            help="Peak rate of Adam.  [default: 2e-4 / sqrt(features / 2^14)]",
            rich_help_panel=SCHEDULE,
        ),
    ] = None,
    warmup: WarmupOption = None,
    decay: DecayOption = None,
    grad_clip: GradClipOption = None,
    b_dec_init: BDecInitOption = None,
    normalize: NormalizeOption = None,
    dtype: DtypeOption = "float32",
    live: LiveOption = False,
    studies: StudiesOption = None,
    pass_size: PassSizeOption = 16,
    pool_rows: PoolRowsOption = 131_072,
    device_map: DeviceMapOption = None,
    trust_remote_code: TrustOption = False,
    device: DeviceOption = "cpu",
    shard_features: Annotated[
        bool,
        typer.Option(
            "--shard-features",
            help="With torchrun: share out the features, not the tokens of a batch.",
            rich_help_panel=COST,
        ),
    ] = False,
    kernels: KernelsOption = None,
    checkpoint_every: Annotated[
        int,
        typer.Option(
            "--checkpoint-every", metavar="N", min=1, help="Steps between two checkpoints.", rich_help_panel=COST
        ),
    ] = 1000,
    log_every: LogEveryOption = 50,
    wandb: Annotated[
        str | None,
        typer.Option(
            "--wandb",
            metavar="PROJECT",
            help="Send the figures of the training to Weights & Biases too.",
            rich_help_panel=COST,
        ),
    ] = None,
) -> None:
    """Train a Matryoshka autoencoder on the cached activations.

    Stopped, it goes on from its newest checkpoint. Settings are written to RUN/sae/NAME/cfg.json, the course of the
    training to metrics.parquet and, for TensorBoard, to tensorboard/. docs/sae-training.md is the guide.

    Several values of --k and --seed train an SAE for each pair, called NAME-k32-s0, on one reading: each batch is read
    once for all, and each SAE is the one that the same --k, --seed and --data-seed give alone.

    With --live the model reads --studies while the autoencoder learns, for runs whose activations no disk would hold.
    Cache a sample of them first: model, roles and norm limit are those of the sample, and eval-sae and index read it.
    A stopped training goes on exactly where it was; at most the mixing pool in hand is run again.

    \b
    Examples:
      interp train-sae --run runs/mine --site language.2 --expansion 8 --k 16
      interp train-sae --run runs/mine --sae small --site language.2 --expansion 2 --groups .25,.25,.5
      interp train-sae --run runs/mine --k 16,32,64 --seed 0,1,2
      interp train-sae --run runs/mine --sae random-prefixes --prefixes random --k-start 256 --aux-alpha .1
      torchrun --nproc-per-node 4 -m -- interp train-sae --run runs/mine --device cuda
      interp train-sae --run runs/mine --live --studies phantom:n=20000,seed=7 --tokens 20000000
    """
    from interp.ranks import Ranks
    from interp.run import Run
    from interp.stages.train_sae import TrainSAEConfig
    from interp.stages.training import Way, follow

    ranks = Ranks.here()
    with ranks.one_voice():
        if shard_features and ranks.alone:
            raise typer.BadParameter(
                "several processes share the features; start them with torchrun", param_hint="--shard-features"
            )
        ks, seeds = _list(k, "--k", least=1), _list(seed, "--seed", least=0)
        source = live_config(live, studies, pass_size, pool_rows)
        training = recipe(
            activation=activation,
            group_weights=group_weights,
            prefix_loss=prefix_loss,
            prefixes=prefixes,
            k_start=k_start,
            k_anneal=k_anneal,
            threshold_beta=threshold_beta,
            jumprelu_bandwidth=jumprelu_bandwidth,
            jumprelu_sparsity=jumprelu_sparsity,
            aux_k=aux_k,
            aux_alpha=aux_alpha,
            dead_after=dead_after,
            warmup=warmup,
            decay=decay,
            grad_clip=grad_clip,
            b_dec_init=b_dec_init,
            normalize=normalize,
            kernels=kernels,
        )
        opened = Run.open(run)
        chosen, said = training_site(opened, site, ranks.leads)
        configs = TrainSAEConfig(
            name=sae,
            site=chosen,
            roles=roles,
            expansion=expansion,
            groups=numbers(groups, "--groups") if groups else (),
            tokens=tokens,
            batch_size=batch_size,
            learning_rate=learning_rate,
            max_norm_times=max_norm or None,
            live=source,
            activation=activation,
            dtype=dtype,
            training=training,
        ).members(ks, seeds, data_seed)
        way = Way(ranks.device(device), wandb, ranks, shard_features, checkpoint_every, log_every)
        if not ranks.leads:
            follow(run, configs, way)
            return
        opened.opening = opening(device, device_map, trust_remote_code)
        _lead(opened, configs, way, work(redo), resume, said)


def _lead(
    run: Run, configs: Sequence[TrainSAEConfig], way: Way, work: Work, resume: bool, said: Mapping[str, str]
) -> None:
    """What one process does alone, or the first of several."""
    from interp.left_out import FILE_NAME
    from interp.stages.train_live import require_sample
    from interp.stages.train_sae import train_saes

    if configs[0].live is not None:
        require_sample(run)
    with run.writing("interp train-sae"):
        for config in configs if not resume else ():
            run.discard(config.stage)
        results = train_saes(run, configs, work, way, said)
    for config, result in zip(configs, results, strict=True):
        last = result.summary["last_metrics"]
        if "kernels" in result.summary:
            typer.echo(f"SAE {config.name!r}: trained with kernels {result.summary['kernels']['kernels']}", err=True)
        typer.echo(
            f"SAE {config.name!r}: {result.summary['features']} features at {config.site}; last batch: "
            f"variance explained {last['variance_explained']:.3f}, L0 {last['l0']:.1f}, dead {last['dead_share']:.1%}"
        )
    if configs[0].live is not None and (lost := results[0].summary["live"]["left_out"]):
        typer.echo(f"{lost} studies were left out; they are listed in {run.sae_dir(configs[0].name)}/{FILE_NAME}")


def _list(text: str, option: str, least: int) -> tuple[int, ...]:
    values = tuple(int(value) for value in numbers(text, option, int))
    if not values or min(values) < least or len(set(values)) < len(values):
        raise typer.BadParameter(
            f"{text!r}: give different whole numbers from {least} on, separated by commas, e.g. 32,64",
            param_hint=option,
        )
    return values
