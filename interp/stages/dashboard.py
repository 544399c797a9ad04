"""Stage ``dashboard``: one HTML file that holds everything there is to see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from interp.progress import Progress
from interp.run import Run, StageResult
from interp.stages.base import Work

NAME = "dashboard"


def dashboard(run: Run, work: Work, sae: str = "main") -> StageResult:
    """Write ``RUN/dashboard.html``; anew whenever a stage whose results it shows was done again."""
    shown = sorted(name for name in run.record.stages if name != NAME and run.is_done(name))
    return replace(work, redo=True).do(
        run,
        NAME,
        "Writing the dashboard",
        {"sae": sae},
        [run.dashboard_path],
        lambda progress: _export(run, sae, progress),
        after=shown,
    )


def _export(run: Run, sae: str, progress: Progress) -> Mapping[str, Any]:
    from dashboards.export import export_html

    summary = export_html(run.path, run.dashboard_path, sae_name=sae, progress=progress)
    return {**asdict(summary), "path": run.dashboard_path.name}
