"""Options of ``interp train-sae --live``: what the model reads while the autoencoder learns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from interp.stages.train_live import LiveConfig

PANEL = "From the model instead of the disk"

LiveOption = Annotated[
    bool,
    typer.Option(
        "--live", help="Feed the trainer from the model, with nothing of it on the disk.", rich_help_panel=PANEL
    ),
]
StudiesOption = Annotated[
    list[str] | None,
    typer.Option("--studies", metavar="SPEC", help="What the model reads; may be repeated.", rich_help_panel=PANEL),
]
PassSizeOption = Annotated[
    int,
    typer.Option("--pass-size", metavar="N", min=1, help="Studies in one pass of the model.", rich_help_panel=PANEL),
]
PoolRowsOption = Annotated[
    int,
    typer.Option("--pool-rows", metavar="N", min=1, help="Tokens that are mixed in memory.", rich_help_panel=PANEL),
]


def live_config(live: bool, studies: list[str] | None, pass_size: int, pool_rows: int) -> LiveConfig | None:
    """What the options ask for; None without ``--live``.

    Raises:
        typer.BadParameter: ``--studies`` and ``--live`` need each other.
    """
    from interp.stages.train_live import LiveConfig

    if not live:
        if studies:
            raise typer.BadParameter(
                "belongs to --live; a training from the disk reads what is cached", param_hint="--studies"
            )
        return None
    if not studies:
        raise typer.BadParameter("--live needs to know what the model shall read", param_hint="--studies")
    return LiveConfig(tuple(studies), pass_size, pool_rows)
