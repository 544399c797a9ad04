"""The command ``interp``. Each command lives in its own file of ``interp/commands``; here they are put together.

Nothing heavy is imported before a command runs: ``interp --help`` answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import typer

from interp import __version__, failures
from interp.commands import (
    cache,
    compare_reports,
    dashboard,
    demo,
    doctor,
    eval_sae,
    exchange,
    explain,
    index,
    phantom,
    score,
    screen,
    steer,
    store,
    trace,
    train_sae,
)
from interp.commands.grouped import GroupedCommand

HELP = """Open a radiology report model, learn sparse features from it, name them, and prove what they do.

\b
The whole way on the embedded phantom model, in minutes and without a GPU:
  interp demo

\b
The same way step by step; every step reads what the one before wrote into the run directory:
  interp cache      --run runs/mine --model phantom --studies phantom:n=600,seed=1 --site language.2
  interp train-sae  --run runs/mine
  interp eval-sae   --run runs/mine
  interp index      --run runs/mine
  interp explain    --run runs/mine
  interp score      --run runs/mine
  interp steer      --run runs/mine --feature 12 --strength 2
  interp dashboard  --run runs/mine

\b
Each command can be stopped with Ctrl-C and goes on when run again.
Exit status: 0 done, 2 wrong use or input (one message says what to do), 1 a fault of interp, 130 stopped.
Add --debug to any command to see where an error comes from.
"""

app = typer.Typer(
    name="interp",
    help=HELP,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"interp {__version__}")
        raise typer.Exit()


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", help="Print the version.", is_eager=True, callback=_show_version, show_default=False
    ),
) -> None: ...


_COMMANDS: tuple[tuple[str, Callable[..., None], str], ...] = (
    ("demo", demo.demo, "Go the whole way on the embedded phantom model."),
    ("cache", cache.cache, "Write a model's activations on studies."),
    ("train-sae", train_sae.train_sae, "Train a sparse autoencoder on them."),
    ("eval-sae", eval_sae.eval_sae, "Measure it, against the truth and a control."),
    ("index", index.index, "Make the feature table with contexts."),
    ("explain", explain.explain, "Say in words what each feature means."),
    ("score", score.score, "Score these labels."),
    ("trace", trace.trace, "Find where the report reads what."),
    ("screen", screen.screen, "Find features that change what reports say."),
    ("steer", steer.steer, "Steer reports with features, with controls."),
    ("compare-reports", compare_reports.compare_reports, "Compare reports with reference reports."),
    ("dashboard", dashboard.dashboard, "Look at a run, or write it to one file."),
    ("export", exchange.export, "Write an SAE for another tool."),
    ("import", exchange.import_, "Take in an SAE of another tool."),
    ("doctor", doctor.doctor, "Say what would fail, and why."),
)
for _name, _function, _short_help in _COMMANDS:
    app.command(_name, cls=GroupedCommand, short_help=_short_help)(_function)
app.add_typer(store.app, name="store")
app.add_typer(phantom.app, name="phantom")

#: Whatever is wrong with the command line; where the class lives differs between versions of typer.
_UsageProblem: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and end the process with its exit status."""
    sys.exit(run(list(sys.argv[1:] if arguments is None else arguments)))


def run(arguments: list[str]) -> int:
    """Run a command and return its exit status."""
    debug = "--debug" in arguments
    try:
        status = app([a for a in arguments if a != "--debug"], prog_name="interp", standalone_mode=False)
    except BrokenPipeError:  # the reader of a pipe went away (`interp … | head`): nobody is left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except _UsageProblem as problem:
        problem.show()
        return failures.INPUT_ERROR
    except (Exception, KeyboardInterrupt) as error:
        return failures.report(error, debug=debug)
    except SystemExit as end:
        if end.code == failures.TERMINATED and os.environ.get("RANK", "0") == "0":  # of several, one speaks
            print(failures.describe(KeyboardInterrupt())[0], file=sys.stderr, flush=True)
        raise
    if status == failures.STOPPED:  # typer turns Ctrl-C into this status
        return failures.report(KeyboardInterrupt(), debug=debug)
    return status if isinstance(status, int) else 0
