"""``interp train-sae``."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from interp.commands.options import DeviceOption, RedoOption, RunOption, SAEOption, SeedOption, numbers, work


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
    device: DeviceOption = "cpu",
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Go on from the newest checkpoint, or start anew.")
    ] = True,
    redo: RedoOption = False,
) -> None:
    """Train a Matryoshka BatchTopK autoencoder on the cached activations.

    Stopped, it goes on from its newest checkpoint. Settings are written to RUN/sae/NAME/cfg.json, the course of the
    training to metrics.parquet.

    \b
    Examples:
      interp train-sae --run runs/mine --site language.2 --expansion 8 --k 16
      interp train-sae --run runs/mine --sae small --site language.2 --expansion 2 --groups .25,.25,.5
    """
    from interp.run import Run
    from interp.stages.train_sae import TrainSAEConfig, train_sae
    from radiology.errors import InputError

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError("train-sae: this version trains on one device; run it without torchrun")
    opened = Run.open(run)
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


def _only_site(sites: list[str]) -> str:
    if len(sites) > 1:
        raise typer.BadParameter(f"several sites are cached: choose one of {', '.join(sites)}", param_hint="--site")
    return sites[0]
