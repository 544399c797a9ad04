"""``interp demo``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interp.commands.options import RedoOption

if TYPE_CHECKING:
    from interp.run import Run


def demo(
    run: Annotated[
        Path | None,
        typer.Option("--run", metavar="DIR", help="Run directory.  [default: runs/demo, with images runs/demo-images]"),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option("--images", metavar="FOLDER", help="Your own radiographs (PNG, JPG, DICOM) as further studies."),
    ] = None,
    no_serve: Annotated[bool, typer.Option("--no-serve", help="Do not offer to serve the dashboard.")] = False,
    redo: RedoOption = False,
) -> None:
    """Go the whole way on the embedded phantom model: five minutes on two cores, no GPU, no account.

    Phantom chests are read by the phantom model; its activations are cached, traced, and decomposed into features by a
    sparse autoencoder; features are held against the known truth and against a random-weight control, named, scored
    and steered. Ends with a table and dashboard.html. Run again, it skips what is done; stopped, it goes on.

    With --images your radiographs go through every stage too. The phantom model has seen nothing but phantoms: its
    words about real patients mean nothing, and the output says so wherever they appear.

    \b
    Examples:
      interp demo
      interp demo --images scans --run runs/scans
    """
    from interp.commands.options import work
    from interp.demo import DemoConfig
    from interp.demo_report import print_report
    from interp.pipeline import run_demo
    from interp.run import Run
    from interp.stages.cache import open_sources

    config = DemoConfig(images=None if images is None else images.absolute())
    open_sources(config.cache)
    directory = run or Path("runs/demo" if images is None else "runs/demo-images")
    opened = Run.create(directory, ["interp", "demo", *sys.argv[2:]])
    run_demo(opened, config, work(redo or _is_demo(opened)))
    print_report(opened, config.sae.name)
    on_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if not no_serve and on_terminal and typer.confirm("Serve the dashboard on this machine now?", default=True):
        from interp.commands.dashboard import serve_until_stopped

        serve_until_stopped(directory, config.sae.name, port=0)


def _is_demo(run: Run) -> bool:
    """A directory that the demo made may be made anew by it; any other only with --redo."""
    return run.record.command[1:2] == ["demo"]
