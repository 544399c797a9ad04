"""What every stage is given, and how it is announced, skipped and recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from interp.progress import Progress, Reporter
from interp.run import Run, StageResult


@dataclass(frozen=True)
class Work:
    """How stages are run.

    Attributes:
        reporter: where to tell about progress.
        redo: replace what was made with other settings.
        prefix: put before the titles of stages.
    """

    reporter: Reporter = field(default_factory=Reporter)
    redo: bool = False
    prefix: str = ""

    def do(
        self,
        run: Run,
        name: str,
        title: str,
        config: Any,
        outputs: Sequence[Path],
        work: Callable[[Progress], Mapping[str, Any]],
        after: Sequence[str] = (),
        also: Sequence[Path] = (),
        shared: bool = False,
    ) -> StageResult:
        """:meth:`interp.run.Run.do` with a progress bar; a stage that was done before says so in one line."""

        title = self.prefix + title

        def shown() -> Mapping[str, Any]:
            with self.reporter.stage(title) as progress:
                return work(progress)

        result = run.do(name, config, outputs, shown, after=after, also=also, shared=shared, redo=self.redo)
        if result.skipped:
            self.reporter.say(f"{title}: done before")
        return result
