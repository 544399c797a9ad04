"""``interp cache``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interp.commands.options import (
    DeviceMapOption,
    DeviceOption,
    RedoOption,
    RunOption,
    TrustOption,
    opening,
    work,
)
from radiology.errors import InputError

if TYPE_CHECKING:
    from interp.opening import Opening
    from interp.ranks import Ranks
    from interp.stages.cache import CacheConfig

#: Reasons that are printed; more would scroll the rest away.
REASONS_SHOWN = 20


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
        str,
        typer.Option("--model", metavar="M", help="phantom, microsoft/maira-2, another name on the hub, or a folder."),
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
    model_dtype: Annotated[
        str | None,
        typer.Option(
            "--model-dtype",
            metavar="F",
            help="float32, bfloat16 or float16.  [default: float32 on a CPU, else the checkpoint's own]",
        ),
    ] = None,
    compression: Annotated[
        str,
        typer.Option(
            "--compression", metavar="C", help="Of the rows on disk: none, blosc2 or bitshuffle (hdf5plugin)."
        ),
    ] = "none",
    device: DeviceOption = "cpu",
    device_map: DeviceMapOption = None,
    trust_remote_code: TrustOption = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at the first study that cannot be used, instead of leaving it out.")
    ] = False,
    redo: RedoOption = False,
) -> None:
    """Run a model over studies and write its activations into a run directory.

    Before the first shard it says what is to come, and refuses if the disk has too little room for it.
    Stopped, it goes on where it was: at most the shard in hand is lost. What cannot be used (a broken image, a row
    without one, an id that comes twice) is left out, and listed at the end and in RUN/left-out.csv.

    \b
    Studies:
      phantom:n=600,seed=1     synthetic chests with known findings
      folder:scans             PNG, JPG, DICOM; with studies.csv and masks/ if they are there
      mimic-cxr:/data/mimic    PhysioNet's tree; also padchest-gr:, openi:, lunguage:

    \b
    Sites: language.L (residual after block L, counted from 0), vision.L, projector.

    \b
    Examples:
      interp cache --run runs/mine --model phantom --studies phantom:n=600,seed=1 --site language.2 --site language.4
      interp cache --run runs/own --studies folder:scans --site language.2 --generate
      torchrun --nproc-per-node 4 -m -- interp cache --device cuda …   # processes share the studies, a GPU each
      interp cache --run runs/m2 --model /maira-2 --trust-remote-code --studies mimic-cxr:/mimic-cxr --site language.15
    """
    from interp.ranks import Ranks
    from interp.stages.cache import CacheConfig, follow

    ranks = Ranks.here()
    with ranks.one_voice():
        config = CacheConfig(
            model=model,
            studies=tuple(studies),
            sites=tuple(site),
            roles=roles,
            mode="generate" if generate else "teacher-forced",
            max_new_tokens=max_new_tokens,
            model_dtype=model_dtype,
            compression=compression,
        )
        if device_map is not None and not ranks.alone:
            raise InputError(
                "device-map: it spreads a model over all GPUs; each of several processes has one of its own"
            )
        where = opening(ranks.device(device), device_map, trust_remote_code)
        if ranks.leads:
            _lead(run, config, where, ranks, redo, batch_size, strict)
        else:
            follow(run, where, config, ranks, batch_size=batch_size, strict=strict)


def _lead(
    run: Path, config: CacheConfig, where: Opening, ranks: Ranks, redo: bool, batch_size: int, strict: bool
) -> None:
    """What one process does alone, or the first of several."""
    from interp.run import Run
    from interp.stages.cache import cache, open_sources

    open_sources(config, strict=strict)
    opened = Run.create(run)
    opened.opening = where
    with opened.writing("interp cache"):
        result = cache(opened, config, work(redo), batch_size=batch_size, strict=strict, ranks=ranks)
    summary = result.summary
    typer.echo(
        f"{summary['rows']} tokens of {summary['studies']} studies at {', '.join(config.sites)} in {run}/activations"
    )
    _tell_left_out(run, summary)
    if summary["out_of_world"]:
        typer.echo(
            f"{summary['out_of_world']} studies are no phantoms: out of the phantom model's world, "
            "its words about them mean nothing."
        )


def _tell_left_out(run: Path, summary: Mapping[str, Any]) -> None:
    from interp.left_out import FILE_NAME

    count = sum(summary["left_out"].values())
    for reason in summary["left_out_reasons"][:REASONS_SHOWN]:
        typer.echo(f"left out: {reason}")
    if count > REASONS_SHOWN:
        typer.echo(f"left out: {count} in all; every one is listed in {run}/{FILE_NAME}")
