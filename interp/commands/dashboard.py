"""``interp dashboard``."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from interp.commands.options import RunOption, SAEOption


def serve_until_stopped(run: Path, sae: str, port: int, with_credentialed_data: bool = False) -> None:
    """Serve until Ctrl-C, which is how serving is meant to end."""
    from dashboards.serve import serve

    with suppress(KeyboardInterrupt):
        serve(run, sae_name=sae, port=port, with_credentialed_data=with_credentialed_data)


def dashboard(
    run: RunOption,
    sae: SAEOption = "main",
    export: Annotated[
        Path | None, typer.Option("--export", metavar="FILE", help="Write one HTML file and end.")
    ] = None,
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="Port to serve on; 0 takes a free one.")
    ] = 8050,
    with_credentialed_data: Annotated[
        bool,
        typer.Option(
            "--with-credentialed-data",
            help="Show text and pictures of credentialed studies. Do not pass such a file on.",
        ),
    ] = False,
) -> None:
    """Look at a run: overview, features with contexts and heat maps, studies, steering.

    Serves on this machine until Ctrl-C; with --export it writes one file that opens without a network. A half-done run
    can be looked at too: the page says what is missing and which command makes it.

    \b
    Examples:
      interp dashboard --run runs/demo
      interp dashboard --run runs/demo --export demo.html
    """
    from interp.progress import Reporter

    if export is None:
        serve_until_stopped(run, sae, port, with_credentialed_data)
        return
    from dashboards.export import export_html

    with Reporter().stage("Writing the dashboard") as progress:
        summary = export_html(
            run, export, sae_name=sae, with_credentialed_data=with_credentialed_data, progress=progress
        )
    typer.echo(f"{summary.path}: {summary.bytes / 1e6:.1f} MB, {summary.features} features, {summary.studies} studies")
    for note in (*summary.missing, *summary.notes):
        typer.echo(f"note: {note}")
