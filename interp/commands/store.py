"""``interp store``: look at activation stores, check them, join them, and write them in a plainer form."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from interp.commands.options import RedoOption


class Form(StrEnum):
    """Forms that a store can be written in."""

    safetensors = "safetensors"
    npy = "npy"


_HELP = """Look at an activation store, check it, join several, or write one in a plainer form.

\b
Examples:
  interp store info --run runs/mine
  interp store verify --run runs/mine
  interp store merge runs/monday runs/tuesday --out runs/both
  interp store export --run runs/mine --to safetensors --out exported
"""
app = typer.Typer(
    help=_HELP, short_help="Look at an activation store, check, merge or export it.", no_args_is_help=True
)
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

    Outliers are rows of more than ten times the median norm of their role: attention sinks and high-norm patches. Where
    there are any, the places that most of them have are named (position and token id, or patch of an image). The
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
        f"shard{'' if found['shards'] == 1 else 's'}, {found['bytes'] / 1e6:.1f} MB"
    )
    out = console()
    for site in found["sites"]:
        rows = [
            (role, str(of["rows"]), *(number(of[name], 2) for name in _QUANTILES), _outliers(of))
            for role, of in site["norms"].items()
        ]
        few = f"not measured, fewer rows than a batch of {found['batch_size']}"
        mixed = few if site["shuffle"] is None else f"{number(site['shuffle'])} of a perfect one's entropy"
        out.print(
            table(
                f"Norms at {site['name']} (width {site['width']})",
                ["role", "rows", *_QUANTILES.values(), "outliers"],
                rows,
            )
        )
        if site["max_norm"] is not None:
            typer.echo(f"train-sae leaves out what is longer than {site['max_norm']:.2f} (--max-norm 10)")
        for role, of in site["outliers"].items():
            typer.echo(f"largest {role} rows: {of['rows']}, {_places(of)}")
        typer.echo(f"shuffle at {site['name']}: {mixed}")


#: Columns of the norm table that are shown → their heads.
_QUANTILES = {"p01": "1 %", "p25": "25 %", "median": "median", "p75": "75 %", "p99": "99 %", "max": "max"}


def _outliers(of: dict[str, Any]) -> str:
    return f"{of['outliers']} ({of['outlier_share']:.2%})" if of["outliers"] else "0"


def _places(of: dict[str, Any]) -> str:
    """Where the outliers of a role are most often: patches of image tokens, else positions and token ids."""
    if of["patch"]:
        named = [(f"{one['at']['image']} ({one['at']['row']}, {one['at']['col']})", one["rows"]) for one in of["patch"]]
        return "most at patch " + ", ".join(f"{place} {rows} x" for place, rows in named)
    kinds = (("position", "position"), ("token_id", "token"))
    return "; ".join(
        f"most at {name} " + ", ".join(f"{one['at']} {one['rows']} x" for one in of[kind]) for kind, name in kinds
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
    with Reporter().stage("Checking shards") as progress:
        found = list(damages(folder, progress))
    for line in found:
        typer.echo(line)
    if found:
        raise InputError(f"{folder}: {len(found)} damages, listed above; restore the files or cache anew")
    typer.echo(f"{folder}: sound")


@app.command("merge", short_help="Join the stores of several runs into a new run.")
def merge(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Runs, in the order of their studies.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The run directory to make; new or empty.")],
    skip_duplicates: Annotated[
        bool,
        typer.Option("--skip-duplicates", help="Of studies with the same id keep the first, instead of refusing."),
    ] = False,
    redo: RedoOption = False,
) -> None:
    """Join the stores of several runs into a new run: the studies of the first, then those of the second, and so on.

    Only what was cached alike can be joined: the same model, sites, number format, roles and mode. Rows are copied bit
    for bit; every shard is compared with its checksum on the way. The new run can be trained on, evaluated and indexed
    like any other; the old ones stay as they are. Stopped, the same command goes on where it was.

    \b
    Examples:
      interp store merge runs/monday runs/tuesday --out runs/both
      interp train-sae --run runs/both
    """
    from activations.merge_plan import plan
    from interp.commands.options import work
    from interp.run import Run
    from interp.stages.merge import merge_runs
    from radiology.errors import InputError

    inputs = [Run.open(path) for path in runs]
    for run in inputs:
        run.require("cache")
        if run.path.resolve() == out.resolve():
            raise InputError(f"--out {out}: it is one of the runs to be merged; choose a new folder")
    planned = plan([run.activations_dir for run in inputs], skip_duplicates=skip_duplicates)
    made = Run.create(out)
    with made.writing("interp store merge"):
        summary = merge_runs(inputs, made, planned, work(redo)).summary
    typer.echo(f"{summary['rows']} tokens of {summary['studies']} studies of {len(inputs)} runs in {out}/activations")
    if lost := sum(len(part.left_out) for part in planned.parts):
        typer.echo(f"left out: {lost} studies whose id was there before; they are listed in {out}/left-out.csv")


@app.command("export", short_help="Write a store as safetensors or npy.")
def export(
    run: StoreOption,
    to: Annotated[Form, typer.Option("--to", help="safetensors: one file a shard; npy: one file an array.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write; new or empty.")],
    site: Annotated[
        list[str] | None, typer.Option("--site", metavar="S", help="Only this site; may be given several times.")
    ] = None,
    roles: Annotated[
        str | None, typer.Option("--roles", metavar="ROLES", help="Only tokens of these roles or presets.")
    ] = None,
    float32: Annotated[
        bool, typer.Option("--float32", help="Widen the rows to float32, without loss; npy knows no bfloat16.")
    ] = False,
    with_credentialed_data: Annotated[
        bool,
        typer.Option("--with-credentialed-data", help="Write studies of credentialed sources; keep to their terms."),
    ] = False,
) -> None:
    """Write the rows of a store with their token columns and studies for tools that read plain files.

    Bit for bit what is stored; what lies where is in docs/activation-store.md. Stopped, the same command goes on after
    the last finished shard.

    \b
    Examples:
      interp store export --run runs/mine --to safetensors --out exported
      interp store export --run runs/mine --to npy --float32 --site language.2 --roles report --out exported-npy
    """
    from activations.export import export, plan
    from activations.room import size
    from interp.progress import Reporter

    planned = plan(
        store_folder(run),
        to.value,
        sites=site or (),
        roles=roles,
        float32=float32,
        with_credentialed_data=with_credentialed_data,
    )
    reporter = Reporter()
    with reporter.stage(f"Exporting {planned.rows:,} rows, {size(planned.bytes)}") as progress:
        written = export(planned, out, progress)
    typer.echo(
        f"{planned.rows} tokens of {planned.settings['studies']} studies in {out}{'' if written else ', as before'}"
    )
