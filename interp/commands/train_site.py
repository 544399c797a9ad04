"""Which site ``interp train-sae`` reads, and what the causal map of the run says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from interp.run import Run


def training_site(run: Run, asked: str | None, speaks: bool) -> tuple[str, dict[str, str]]:
    """The site to train at, and what the causal map says of it, which is shown and kept in ``run.json``."""
    from interp.causal_defaults import default_site, site_warning

    sites = run.require("cache").config["sites"]
    said: dict[str, str] = {}
    site = asked or (sites[0] if len(sites) == 1 else "")
    if not site:
        found = default_site(run, sites)
        if found is None:
            raise typer.BadParameter(
                f"several sites are cached: choose one of {', '.join(sites)}, or run interp trace first and let its "
                "causal map choose",
                param_hint="--site",
            )
        site, said["site_chosen"] = found
    warning = site_warning(run, site)
    if warning is not None:
        said["warning"] = warning
    for kind, text in said.items() if speaks else ():
        typer.echo(f"Warning: {text}" if kind == "warning" else text, err=True)
    return site, said
