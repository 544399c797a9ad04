"""``interp doctor``."""

from __future__ import annotations

from typing import Annotated

import typer


def doctor(
    model: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="M", help="Also look at a model: are its files whole, do they fit, is there room?"
        ),
    ] = None,
    studies: Annotated[
        list[str] | None,
        typer.Option("--studies", metavar="SPEC", help="Also open a source of studies and read the first of them."),
    ] = None,
) -> None:
    """Say what is installed, what would fail, and why.

    Nothing is changed, nothing is downloaded, no code of a checkpoint runs. Ends with status 2 if something would fail.

    \b
    Examples:
      interp doctor
      interp doctor --model /data/maira-2 --studies mimic-cxr:/data/mimic-cxr-jpg,split=test
    """
    from interp.doctor import examine
    from interp.doctor_inputs import examine_model, examine_studies

    findings = examine()
    if model is not None:
        findings += examine_model(model)
    for spec in studies or ():
        findings += examine_studies(spec)
    width = max(len(finding.what) for finding in findings)
    for finding in findings:
        typer.echo(f"{finding.state:<5} {finding.what:<{width}}  {finding.detail}")
    failed = sum(finding.state == "fail" for finding in findings)
    if failed:
        typer.echo(f"{failed} would fail: mend what the lines with 'fail' say.", err=True)
        raise typer.Exit(2)
