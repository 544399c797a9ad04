"""``interp dashboard``."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interp.commands.options import DeviceOption, RunOption, SAEOption

if TYPE_CHECKING:
    from interp.opening import Opening


def serve_until_stopped(run: Path, sae: str, port: int, live: Opening | None = None, **options: Any) -> None:
    """Serve until Ctrl-C, which is how serving is meant to end; ``options`` as of ``dashboards.app.server.serve``."""
    from dashboards.app.server import serve
    from interp.dashboard_helpers import helpers_of

    with suppress(KeyboardInterrupt):
        serve(run, sae_name=sae, port=port, helpers=helpers_of(run, sae, live=live), **options)


def dashboard(
    run: RunOption,
    sae: SAEOption = "main",
    export: Annotated[
        Path | None, typer.Option("--export", metavar="FILE", help="Write one HTML file and end.")
    ] = None,
    max_mb: Annotated[
        float, typer.Option("--max-mb", metavar="MB", min=0.1, help="With --export: largest size of the file.")
    ] = 25.0,
    features: Annotated[
        str | None,
        typer.Option(
            "--features",
            metavar="N|LIST",
            help="With --export: pages of the N features with the best labels, or of those given, e.g. 12,407.",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option("--host", metavar="NAME", help="Address to serve on; others than loopback want --token.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="Port to serve on; 0 takes a free one.")
    ] = 8050,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            metavar="SECRET",
            envvar="INTERP_DASHBOARD_TOKEN",
            help="What everybody must show who asks, once as ?token=… in the address; at least 16 characters.",
        ),
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="Let the page steer the run's model.")] = False,
    device: DeviceOption = "cpu",
    with_credentialed_data: Annotated[
        bool,
        typer.Option(
            "--with-credentialed-data",
            help="Show text and pictures of credentialed studies. Do not pass such a file on.",
        ),
    ] = False,
) -> None:
    """Look at a run: overview, features with contexts and heat maps, studies, steering, search, history.

    Serves on this machine until Ctrl-C; with --export it writes one file that opens without a network. A half-done run
    can be looked at too: the page says what is missing and which command makes it.

    \b
    Examples:
      interp dashboard --run runs/demo
      interp dashboard --run runs/demo --live
      interp dashboard --run runs/demo --export demo.html --features 500 --max-mb 10
    """
    if export is None:
        from interp.opening import Opening

        serve_until_stopped(
            run, sae, port, Opening(device) if live else None,
            host=host, token=token, with_credentialed_data=with_credentialed_data,
        )  # fmt: skip
        return
    from dashboards.export import export_html
    from interp.progress import Reporter

    number, chosen = _wanted(features)
    with Reporter().stage("Writing the dashboard") as progress:
        summary = export_html(
            run,
            export,
            sae_name=sae,
            max_bytes=int(max_mb * 1e6),
            max_features=number,
            features=chosen,
            with_credentialed_data=with_credentialed_data,
            progress=progress,
        )
    typer.echo(f"{summary.path}: {summary.bytes / 1e6:.1f} MB, {summary.features} features, {summary.studies} studies")
    for note in (*summary.missing, *summary.notes):
        typer.echo(f"note: {note}")


def _wanted(features: str | None) -> tuple[int | None, tuple[int, ...] | None]:
    """How many features, or which: ``"500"`` → (500, None), ``"12,407"`` or ``"12,"`` → (None, (12, 407))."""
    if features is None:
        return None, None
    try:
        numbers = tuple(int(part) for part in features.split(",") if part.strip())
    except ValueError:
        numbers = ()
    if not numbers or any(number < 0 for number in numbers):
        raise typer.BadParameter(f"{features!r}: give a number, or features as 12,407", param_hint="--features")
    return (None, numbers) if "," in features else (numbers[0], None)
