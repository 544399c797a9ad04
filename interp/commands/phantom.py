"""``interp phantom``: the phantom model and the phantom studies themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Make and measure the phantom model; look at phantom studies.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("train")
def train(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Work folder; the weights end up in it.")],
    studies: Annotated[int | None, typer.Option("--studies", metavar="N", min=100, help="Training phantoms.")] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", min=0, help="Series of the training phantoms.")
    ] = None,
    short: Annotated[
        bool, typer.Option("--short", help="A minute instead of hours: to try the recipe, not to get a good model.")
    ] = False,
) -> None:
    """Train the phantom model from scratch, as the shipped weights were trained.

    Encoder first (per-patch masks), then the whole model, then fine-tuned so that text reads the image from the middle
    block on. Takes an hour or more on two cores; stopped, it goes on where it was.

    \b
    Examples:
      interp phantom train --out work/phantom
      interp phantom train --out work/try --short
      interp cache --run runs/own --model work/phantom/phantom-late --studies phantom:n=200,seed=1 --site language.2
    """
    from dataclasses import replace

    from activations.models.phantom_training.recipe import Recipe, train_phantom
    from interp.progress import Reporter

    recipe = Recipe()
    if short:
        recipe = replace(recipe, studies=400, encoder_steps=20, free_steps=20, late_steps=20)
    recipe = replace(recipe, studies=studies or recipe.studies, seed=recipe.seed if seed is None else seed)
    with Reporter().stage("Training the phantom model") as progress:
        folders = train_phantom(out, recipe, progress)
    for name, folder in folders.items():
        typer.echo(f"{name}: {folder}")


@app.command("evaluate")
def evaluate(
    model: Annotated[str, typer.Option("--model", metavar="M", help="phantom, phantom:free, or a folder.")] = "phantom",
    studies: Annotated[int, typer.Option("--studies", metavar="N", min=10, help="Held-out phantoms.")] = 500,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", min=0, help="Their series; must differ from the training's.")
    ] = 9,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Also write the figures as JSON.")] = None,
) -> None:
    """Measure a phantom model on held-out phantoms: findings, change words, boxes, parse failures.

    \b
    Example:
      interp phantom evaluate --studies 1000
    """
    import json

    from activations import open_model
    from activations.models.phantom import PhantomReportModel
    from activations.models.phantom_training.evaluate import evaluate_phantom
    from interp.files import write_text
    from interp.plain import plain
    from interp.progress import Reporter
    from radiology.errors import InputError
    from radiology.phantom.cases import phantom_studies

    opened = open_model(model)
    if not isinstance(opened, PhantomReportModel):
        raise InputError(f"model {model!r} is no phantom model; only these can be held against the truth")
    with Reporter().stage(f"Reports of {studies} held-out phantoms") as progress:
        scores = evaluate_phantom(opened, list(phantom_studies(studies, seed)), progress=progress)
    figures = plain(scores.as_dict())
    for name, value in figures.items():
        typer.echo(f"{name}: {value}")
    if out is not None:
        write_text(out, json.dumps(figures, indent=1) + "\n")


@app.command("sheet")
def sheet(
    out: Annotated[Path, typer.Argument(metavar="FILE", help="PNG to write.")],
    pictures: Annotated[int, typer.Option("--pictures", metavar="N", min=1, help="How many pictures.")] = 24,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Phantom series.")] = 0,
) -> None:
    """Draw a contact sheet of phantom studies, to look at.

    \b
    Example:
      interp phantom sheet phantoms.png
    """
    from radiology.phantom.sheet import contact_sheet

    typer.echo(str(contact_sheet(out, pictures, seed)))
