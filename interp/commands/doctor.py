"""``interp doctor``."""

from __future__ import annotations

import typer


def doctor() -> None:
    """Say what is installed, what would fail, and why.

    Nothing is changed and nothing is downloaded. Ends with status 2 if something that the demo needs is missing.

    \b
    Example:
      interp doctor
    """
    from interp.doctor import examine

    findings = examine()
    width = max(len(finding.what) for finding in findings)
    for finding in findings:
        typer.echo(f"{finding.state:<5} {finding.what:<{width}}  {finding.detail}")
    failed = sum(finding.state == "fail" for finding in findings)
    if failed:
        typer.echo(f"{failed} would fail: mend what the lines with 'fail' say.", err=True)
        raise typer.Exit(2)
