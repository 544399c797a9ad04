"""``interp index``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interp.commands.options import (
    DeviceMapOption,
    DeviceOption,
    RunOption,
    SAEOption,
    SeedOption,
    TrustOption,
    opening,
    work,
)

if TYPE_CHECKING:
    from interp.opening import Opening
    from interp.ranks import Ranks
    from interp.stages.index import IndexConfig


def index(
    run: RunOption,
    sae: SAEOption = "main",
    contexts: Annotated[
        int,
        typer.Option(
            "--contexts", metavar="N", min=1, help="Contexts of each kind, for each feature, split and modality."
        ),
    ] = 12,
    max_studies: Annotated[
        int,
        typer.Option("--max-context-studies", metavar="N", min=1, help="Take contexts from at most so many studies."),
    ] = 2000,
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    device_map: DeviceMapOption = None,
    trust_remote_code: TrustOption = False,
) -> None:
    """Make the feature table: where each feature fires, how much, with which others, and in which contexts.

    Streams over the store once; memory grows with it by some 60 bytes a row. Contexts are image patches and sentences
    where the feature fires most, over its whole range, and not at all: hard negatives (the same finding with another
    polarity, nearly the same text, features that usually fire with it) and random ones. The patients that explain a
    feature are never those that score its label. Stopped or killed, it goes on where it was, with any number of
    processes.

    \b
    Examples:
      interp index --run runs/mine
      torchrun --nproc-per-node 4 -m -- interp index --run runs/mine --device cuda   # processes share the pass
    """
    from interp.ranks import Ranks
    from interp.stages.index import IndexConfig, follow

    ranks = Ranks.here()
    with ranks.one_voice():
        config = IndexConfig(sae, contexts, max_studies, seed)
        where = opening(ranks.device(device), device_map, trust_remote_code)
        if ranks.leads:
            _lead(run, config, where, ranks)
        else:
            follow(run, where, config, ranks)


def _lead(run: Path, config: IndexConfig, where: Opening, ranks: Ranks) -> None:
    """What one process does alone, or the first of several."""
    from interp.run import Run
    from interp.stages.index import index

    opened = Run.open(run)
    opened.opening = where
    with opened.writing("interp index"):
        summary = index(opened, config, work(redo=True), ranks=ranks).summary
    typer.echo(
        f"{summary['n_features']} features, {summary['n_dead']} of them dead, {summary['n_contexts']} contexts "
        f"in {opened.features_dir(config.name)}"
    )
    if summary.get("no_contexts"):
        typer.echo(
            f"{summary['no_contexts']} features fire, but in no image and no sentence of the "
            f"{summary['context_studies']} studies that contexts come from; --max-context-studies takes more"
        )
    if not summary.get("findings_told", True):
        typer.echo(
            "no study has a report or labels that tell findings: only words and co-firing make a negative hard here"
        )
