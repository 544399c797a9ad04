"""``interp score``."""

from __future__ import annotations

from typing import Annotated

import typer

from interp.commands.options import RunOption, SAEOption, work


def score(
    run: RunOption,
    sae: SAEOption = "main",
    explainer: Annotated[str, typer.Option("--explainer", metavar="NAME", help="Whose labels.")] = "contrast",
    feature: Annotated[
        list[int] | None, typer.Option("--feature", metavar="N", help="Only these features.  [default: all labelled]")
    ] = None,
) -> None:
    """Score labels: does a label tell where its feature fires?

    On contexts of patients that the explainer never saw, against hard negatives (same concept, other polarity) and
    random ones, beside what labels of other features reach on the same contexts.

    \b
    Example:
      interp score --run runs/mine
    """
    from interp.run import Run
    from interp.stages.score import ScoreConfig, score
    from interp.tables import score_lines

    opened = Run.open(run)
    with opened.writing("interp score"):
        result = score(opened, ScoreConfig(sae, explainer, tuple(feature or ())), work(redo=True))
    for line in score_lines(result.summary):
        typer.echo(line)
