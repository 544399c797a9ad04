"""``interp store``: look at activation stores and check them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

_HELP = """Look at an activation store, or check it.

\b
Examples:
  interp store info --run runs/mine
  interp store verify --run runs/mine
"""
app = typer.Typer(help=_HELP, short_help="Look at an activation store, or check it.", no_args_is_help=True)
StoreOption = Annotated[Path, typer.Option("--run", metavar="DIR", help="A run directory, or a store's own folder.")]


def store_folder(path: Path) -> Path:
    """The folder with the manifest: ``path`` itself, or ``activations`` in it."""
    inside = path / "activations"
    return inside if not (path / "manifest.json").exists() and inside.is_dir() else path


@app.command("info", short_help="Say what a store holds.")
def info(
    run: StoreOption,
    batch_size: Annotated[
        int, typer.Option("--batch-size", metavar="N", min=1, help="Batch for which the shuffle is measured.")
    ] = 2048,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a machine.")] = False,
) -> None:
    """Say what a store holds: sites, roles, rows, norms with their outliers, and how well batches are mixed.

    Outliers are rows of more than ten times the median norm of their role: attention sinks and high-norm patches. The
    shuffle's number is the entropy of studies within a batch against a perfect shuffle of the same rows; 1 is perfect.

    \b
    Examples:
      interp store info --run runs/mine
      interp store info --run runs/mine --json
    """
    from activations.report import describe

    found = describe(store_folder(run), batch_size)
    if as_json:
        typer.echo(json.dumps(found, indent=1))
    else:
        _show(found)


def _show(found: dict[str, Any]) -> None:
    from interp.tables import console, number, table

    state = (
        "complete"
        if found["complete"]
        else f"incomplete, {found['finished_writers']} of {found['writers']} writers done"
    )
    typer.echo(f"{found['directory']}: {state}")
    typer.echo(f"model {found['model']} ({found['fingerprint']}), {found['mode']}, {found['dtype']}")
    typer.echo(
        f"{found['rows']} rows of {found['studies']} studies of {found['patients']} patients in {found['shards']} "
        f"shards, {found['bytes'] / 1e6:.1f} MB"
    )
    out = console()
    for site in found["sites"]:
        rows = [
            (role, str(of["rows"]), *(number(of[name], 2) for name in ("median", "p99", "max")), str(of["outliers"]))
            for role, of in site["norms"].items()
        ]
        mixed = "not measured, too few rows" if site["shuffle"] is None else number(site["shuffle"])
        out.print(
            table(
                f"Norms at {site['name']} (width {site['width']})",
                ["role", "rows", "median", "99 %", "max", "outliers"],
                rows,
                caption=f"--max-norm {number(site['max_norm'], 2)} leaves outliers out. Shuffle: {mixed}.",
            )
        )


@app.command("verify", short_help="Check every byte of a store.")
def verify(run: StoreOption) -> None:
    """Check a store: checksums, shapes, types, values, norms, study numbers and studies.parquet.

    Goes through all shards and lists all damage, with the site where it can be told; status 2 if there is any.

    \b
    Example:
      interp store verify --run runs/mine
    """
    from activations.verify import damages
    from interp.progress import Reporter
    from radiology.errors import InputError

    folder = store_folder(run)
    with Reporter().stage("checking shards") as progress:
        found = list(damages(folder, progress))
    for line in found:
        typer.echo(line)
    if found:
        raise InputError(f"{folder}: {len(found)} damages, listed above; restore the files or cache anew")
    typer.echo(f"{folder}: sound")
