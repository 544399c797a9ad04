"""``interp index``."""

from __future__ import annotations

from typing import Annotated

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
    """Make the feature table: where each feature fires, how much, and in which contexts.

    Streams over the store; memory does not grow with it. Contexts are image patches and sentences where the feature
    fires most, over its whole range, and not at all (hard and random negatives); the patients that explain a feature
    are never those that score its label.

    \b
    Example:
      interp index --run runs/mine
    """
    from interp.run import Run
    from interp.stages.index import IndexConfig, index

    opened = Run.open(run)
    opened.opening = opening(device, device_map, trust_remote_code)
    with opened.writing("interp index"):
        config = IndexConfig(sae, contexts, max_studies, seed)
        result = index(opened, config, work(redo=True))
    summary = result.summary
    typer.echo(
        f"{summary['n_features']} features, {summary['n_dead']} of them dead, {summary['n_contexts']} contexts "
        f"in {opened.features_dir(sae)}"
    )
