"""``interp cache``."""

from __future__ import annotations

from typing import Annotated

import typer

from interp.commands.options import DeviceOption, RedoOption, RunOption, work


def cache(
    run: RunOption,
    studies: Annotated[
        list[str],
        typer.Option(
            "--studies", metavar="SPEC", help="Where studies come from, SCHEME:ARGUMENTS; may be given several times."
        ),
    ],
    site: Annotated[
        list[str],
        typer.Option(
            "--site", metavar="S", help="Which residuals to keep, e.g. language.2; may be given several times."
        ),
    ],
    model: Annotated[
        str, typer.Option("--model", metavar="M", help="phantom, phantom:free, phantom:random, or a folder.")
    ] = "phantom",
    roles: Annotated[
        str,
        typer.Option(
            "--roles",
            metavar="ROLES",
            help="Tokens to keep: roles (image, report, indication, template …) or presets (all, paper, content).",
        ),
    ] = "content,template",
    generate: Annotated[
        bool,
        typer.Option(
            "--generate/--teacher-forced",
            help="Watch the model write its own report, or let it read the study's report.",
        ),
    ] = False,
    max_new_tokens: Annotated[
        int | None,
        typer.Option("--max-new-tokens", metavar="N", min=1, help="Longest report that the model may write."),
    ] = None,
    batch_size: Annotated[
        int, typer.Option("--batch-size", metavar="N", min=1, help="Studies in one pass of the model.")
    ] = 16,
    device: DeviceOption = "cpu",
    redo: RedoOption = False,
) -> None:
    """Run a model over studies and write its activations into a run directory.

    Stopped, it goes on where it was: at most the shard in hand is lost.

    \b
    Studies:
      phantom:n=600,seed=1     synthetic chests with known findings
      folder:scans             PNG, JPG, DICOM; with studies.csv if there is one

    \b
    Sites: language.L (residual after block L, counted from 0), vision.L, projector.

    \b
    Examples:
      interp cache --run runs/mine --model phantom --studies phantom:n=600,seed=1 --site language.2 --site language.4
      interp cache --run runs/own --studies folder:scans --site language.2 --generate
    """
    from interp.run import Run
    from interp.stages.cache import CacheConfig, cache, open_sources

    config = CacheConfig(
        model=model,
        studies=tuple(studies),
        sites=tuple(site),
        roles=roles,
        mode="generate" if generate else "teacher-forced",
        max_new_tokens=max_new_tokens,
    )
    open_sources(config)
    opened = Run.create(run)
    with opened.writing("interp cache"):
        result = cache(opened, config, work(redo), batch_size=batch_size, device=device)
    summary = result.summary
    typer.echo(f"{summary['rows']} tokens of {summary['studies']} studies at {', '.join(site)} in {run}/activations")
    for reason in summary["left_out_reasons"]:
        typer.echo(f"left out: {reason}")
    if summary["out_of_world"]:
        typer.echo(
            f"{summary['out_of_world']} studies are no phantoms: out of the phantom model's world, "
            "its words about them mean nothing."
        )
