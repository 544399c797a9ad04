"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from interp.opening import Opening
    from interp.stages.base import Work


def _folder_name(value: str) -> str:
    if value in ("", ".", "..") or any(sign in value for sign in "/\\:"):
        raise typer.BadParameter(f"{value!r} must be a plain name of a folder, without slashes and colons")
    return value


RunOption = Annotated[Path, typer.Option("--run", metavar="DIR", help="The run directory.")]
SAEOption = Annotated[str, typer.Option("--sae", metavar="NAME", help="Which SAE of the run.", callback=_folder_name)]
RedoOption = Annotated[bool, typer.Option("--redo", help="Replace what was made with other settings.")]
SeedOption = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Seed of everything that is drawn.")]
PairsFromOption = Annotated[
    str | None,
    typer.Option(
        "--pairs-from",
        metavar="phantom|studies",
        help="Phantom twins, or studies of the run with and without the finding.  [default: by the model]",
    ),
]
DeviceOption = Annotated[str, typer.Option("--device", metavar="NAME", help="cpu, cuda, cuda:1 …")]
DeviceMapOption = Annotated[
    str | None,
    typer.Option("--device-map", metavar="auto", help="Spread a large model over all devices; --device is not used."),
]
TrustOption = Annotated[
    bool,
    typer.Option(
        "--trust-remote-code",
        help="Let code that comes with the checkpoint run (MAIRA-2's processing_maira2.py). Read it first.",
    ),
]


def opening(device: str, device_map: str | None, trust_remote_code: bool) -> Opening:
    """Where and how a command opens the model."""
    from interp.opening import Opening

    return Opening(device, device_map, trust_remote_code)


def work(redo: bool = False) -> Work:
    """How a command does its stages."""
    from interp.progress import Reporter
    from interp.stages.base import Work

    return Work(Reporter(), redo)


def numbers(text: str, option: str, kind: type = float) -> tuple[float, ...]:
    """``"2,4"`` → (2.0, 4.0); a usage error names the option."""
    try:
        return tuple(kind(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise typer.BadParameter(f"{text!r}: give numbers separated by commas, e.g. 2,4", param_hint=option) from None
