"""``interp train-sae``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from interp.commands.options import (
    DeviceMapOption,
    DeviceOption,
    RedoOption,
    RunOption,
    SAEOption,
    SeedOption,
    TrustOption,
    numbers,
    opening,
    work,
)

if TYPE_CHECKING:
    from interp.stages.train_live import LiveConfig


def train_sae(
    run: RunOption,
    sae: SAEOption = "main",
    site: Annotated[
        str | None, typer.Option("--site", metavar="S", help="Cached site to read; needed if there are several.")
    ] = None,
    roles: Annotated[
        str, typer.Option("--roles", metavar="ROLES", help="Token roles or presets to learn from.")
    ] = "content",
    expansion: Annotated[
        float, typer.Option("--expansion", metavar="X", help="Features per dimension of the residual.")
    ] = 4,
    k: Annotated[
        int, typer.Option("--k", metavar="N", min=1, help="Features kept a token, on average over a batch.")
    ] = 64,
    groups: Annotated[
        str | None,
        typer.Option(
            "--groups",
            metavar="SHARES",
            help="Matryoshka groups as shares of the features, first prefix first.  [default: .0625,.0625,.125,.25,.5]",
        ),
    ] = None,
    activation: Annotated[
        str,
        typer.Option("--activation", metavar="RULE", help="batch_topk, topk or jumprelu: which activations count."),
    ] = "batch_topk",
    tokens: Annotated[
        int, typer.Option("--tokens", metavar="N", min=1, help="Tokens to train on, over as many epochs.")
    ] = 2_000_000,
    batch_size: Annotated[int, typer.Option("--batch-size", metavar="N", min=1, help="Tokens a step.")] = 2048,
    learning_rate: Annotated[
        float | None,
        typer.Option("--learning-rate", metavar="X", help="Peak rate.  [default: 2e-4 / sqrt(features / 2^14)]"),
    ] = None,
    max_norm: Annotated[
        float,
        typer.Option("--max-norm", metavar="X", help="Leave out tokens longer than so many medians; 0 keeps all."),
    ] = 10.0,
    seed: SeedOption = 0,
    live: Annotated[
        bool, typer.Option("--live", help="Feed the trainer from the model, with nothing of it on the disk.")
    ] = False,
    studies: Annotated[
        list[str] | None,
        typer.Option("--studies", metavar="SPEC", help="With --live: what the model reads; may come several times."),
    ] = None,
    pass_size: Annotated[
        int, typer.Option("--pass-size", metavar="N", min=1, help="With --live: studies in one pass of the model.")
    ] = 16,
    pool_rows: Annotated[
        int,
        typer.Option("--pool-rows", metavar="N", min=1, help="With --live: tokens that are mixed in memory."),
    ] = 131_072,
    device: DeviceOption = "cpu",
    device_map: DeviceMapOption = None,
    trust_remote_code: TrustOption = False,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Go on from the newest checkpoint, or start anew.")
    ] = True,
    redo: RedoOption = False,
) -> None:
    """Train a Matryoshka autoencoder on the cached activations.

    Stopped, it goes on from its newest checkpoint. Settings are written to RUN/sae/NAME/cfg.json, the course of the
    training to metrics.parquet.

    With --live the model reads --studies while the autoencoder learns, for runs whose activations no disk would hold.
    Cache a sample of them first: model, roles and norm limit are those of the sample, and eval-sae and index read it.
    A stopped training goes on exactly where it was; at most the mixing pool in hand is run again.

    \b
    Examples:
      interp train-sae --run runs/mine --site language.2 --expansion 8 --k 16
      interp train-sae --run runs/mine --sae small --site language.2 --expansion 2 --groups .25,.25,.5
      interp train-sae --run runs/mine --live --studies phantom:n=20000,seed=7 --tokens 20000000
    """
    from interp.left_out import FILE_NAME
    from interp.run import Run
    from interp.stages.train_live import require_sample
    from interp.stages.train_sae import TrainSAEConfig, train_sae
    from radiology.errors import InputError

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError("train-sae: this version trains on one device; run it without torchrun")
    source = _live(live, studies, pass_size, pool_rows)
    opened = Run.open(run)
    if source is not None:
        require_sample(opened)
    opened.opening = opening(device, device_map, trust_remote_code)
    config = TrainSAEConfig(
        name=sae,
        site=site or _only_site(opened.require("cache").config["sites"]),
        roles=roles,
        expansion=expansion,
        k=k,
        groups=numbers(groups, "--groups") if groups else (),
        tokens=tokens,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        max_norm_times=max_norm or None,
        live=source,
        activation=activation,
    )
    with opened.writing("interp train-sae"):
        if not resume:
            opened.discard(config.stage)
        result = train_sae(opened, config, work(redo), device=device)
    last = result.summary["last_metrics"]
    typer.echo(
        f"SAE {sae!r}: {result.summary['features']} features at {config.site}; last batch: "
        f"variance explained {last['variance_explained']:.3f}, L0 {last['l0']:.1f}, dead {last['dead_share']:.1%}"
    )
    if source is not None and (lost := result.summary["live"]["left_out"]):
        typer.echo(f"{lost} studies were left out; they are listed in {opened.sae_dir(sae)}/{FILE_NAME}")


def _live(live: bool, studies: list[str] | None, pass_size: int, pool_rows: int) -> LiveConfig | None:
    from interp.stages.train_live import LiveConfig

    if not live:
        if studies:
            raise typer.BadParameter(
                "belongs to --live; a training from the disk reads what is cached", param_hint="--studies"
            )
        return None
    if not studies:
        raise typer.BadParameter("--live needs to know what the model shall read", param_hint="--studies")
    return LiveConfig(tuple(studies), pass_size, pool_rows)


def _only_site(sites: list[str]) -> str:
    if len(sites) > 1:
        raise typer.BadParameter(f"several sites are cached: choose one of {', '.join(sites)}", param_hint="--site")
    return sites[0]
