"""``interp export`` and ``interp import``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from interp.commands.options import RunOption, SAEOption


class Target(StrEnum):
    """Tools that something of a run can be written for."""

    saelens = "saelens"
    dictionary_learning = "dictionary-learning"
    neuronpedia = "neuronpedia"
    delphi = "delphi"


def export(
    run: RunOption,
    to: Annotated[Target, typer.Option("--to", help="Which tool's form.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write; new or empty.")],
    sae: SAEOption = "main",
    studies: Annotated[
        int,
        typer.Option(
            "--studies",
            metavar="N",
            min=0,
            help="neuronpedia, delphi: also what fires in N studies, with their words; never of credentialed ones.",
        ),
    ] = 0,
) -> None:
    """Write an SAE (saelens, dictionary-learning) or its features and labels (neuronpedia, delphi) for another tool.

    Activations of an exported SAE come out the same there. For neuronpedia, --studies adds the sentences in which each
    feature fires; for delphi, its cache of activations, from which it explains and scores.

    \b
    Examples:
      interp export --run runs/mine --to saelens --out exported/saelens
      interp export --run runs/mine --to neuronpedia --out exported/neuronpedia
      interp export --run runs/mine --to delphi --out exported/delphi --studies 500
    """
    from interp.exchange import export_to
    from interp.run import Run

    typer.echo(export_to(Run.open(run), sae, to.value, out, studies))


def import_(
    run: RunOption,
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="DIR", help="Folder of an SAE (dictionary-learning, SAELens or interp)."),
    ] = None,
    site: Annotated[
        str | None, typer.Option("--site", metavar="S", help="Cached site that the SAE reads; needed with --from.")
    ] = None,
    sae: SAEOption = "imported",
    roles: Annotated[
        str, typer.Option("--roles", metavar="ROLES", help="Token roles that it was trained on.")
    ] = "content",
    labels: Annotated[
        Path | None,
        typer.Option("--labels", metavar="FILE", help="Labels for an SAE of the run: CSV, JSONL or a delphi folder."),
    ] = None,
    explainer: Annotated[
        str, typer.Option("--explainer", metavar="NAME", help="Name under which imported labels stand beside others.")
    ] = "imported",
    column: Annotated[
        list[str] | None,
        typer.Option(
            "--column", metavar="OURS=THEIRS", help="A column of the labels that has another name in the file."
        ),
    ] = None,
) -> None:
    """Take an SAE that another tool trained into a run, to index, explain and steer it; or labels for an SAE.

    Weights are read without executing anything from the file. Imported labels can be scored like any others.

    \b
    Examples:
      interp import --run runs/mine --from downloads/sae --site language.15 --sae theirs
      interp import --run runs/mine --sae theirs --labels labels.csv --explainer published
      interp import --run runs/mine --sae theirs --labels labels.csv --column feature=latent_id --column label=text
    """
    from interp.exchange import column_names, import_labels, import_sae
    from interp.run import Run

    if (source is None) == (labels is None):
        raise typer.BadParameter("give either --from or --labels", param_hint="--from / --labels")
    opened = Run.open(run)
    if source is not None:
        if site is None:
            raise typer.BadParameter("say which cached site the SAE reads", param_hint="--site")
        with opened.writing("interp import"):
            found = import_sae(opened, source, sae, site, roles)
        groups = "/".join(map(str, found.groups))
        k = "unknown k" if found.k is None else f"k {found.k}"
        typer.echo(f"SAE {sae!r}: {found.n_features} features of width {found.d} at {site}; {k}, groups {groups}")
        for note in found.extra.get("notes", ()):
            typer.echo(f"note: {note}")
    elif labels is not None:
        with opened.writing("interp import"):
            count = import_labels(opened, sae, labels, explainer, column_names(column or []))
        typer.echo(f"{count} labels of explainer {explainer!r} for SAE {sae!r}")
