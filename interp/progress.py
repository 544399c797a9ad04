"""Progress of long work: a bar with rate and time left on a terminal, plain lines when not on one.

Rooms know none of this; they call ``progress(done, total, note)`` with whatever a :meth:`Reporter.stage` gave them.
All of it goes to stderr, so that stdout stays clean for results.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO


class Progress(Protocol):
    """What a room calls while it works: ``done`` of ``total`` units, and optionally a word about it."""

    def __call__(self, done: int, total: int, note: str = "") -> None: ...


def silent(done: int, total: int, note: str = "") -> None:
    """A progress that nobody watches."""


class Reporter:
    """Shows stages one after the other.

    Args:
        stream: where to write; stderr unless given.
        every: seconds between plain lines.
        clock: monotonic seconds, for tests.
    """

    def __init__(
        self, stream: TextIO | None = None, *, every: float = 5.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.stream = stream if stream is not None else sys.stderr
        self.every = every
        self.clock = clock

    @property
    def on_terminal(self) -> bool:
        return bool(self.stream.isatty())

    def say(self, text: str) -> None:
        """One line of news."""
        print(text, file=self.stream, flush=True)

    @contextmanager
    def stage(self, title: str) -> Iterator[Progress]:
        """Announce a stage, show its progress, and say how long it took (nothing if it fails: the error speaks)."""
        start = self.clock()
        if self.on_terminal:
            with self._bar(title) as progress:
                yield progress
        else:
            self.say(f"{title} ...")
            yield _PlainLines(title, self)
        self.say(f"{title}: done in {seconds(self.clock() - start)}")

    @contextmanager
    def _bar(self, title: str) -> Iterator[Progress]:
        from rich.console import Console, RenderableType
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.text import Text

        class Bar(Progress):
            """With the note in a line of its own: beside the bar it would push the time left out of the terminal."""

            def get_renderables(self) -> Iterator[RenderableType]:
                yield self.make_tasks_table(self.tasks)
                for shown in self.tasks:
                    if shown.fields["note"]:
                        note = f"  {shown.fields['note']}"
                        yield Text(note, style="dim", no_wrap=True, overflow="ellipsis")

        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(compact=True),
        )
        bar = Bar(*columns, console=Console(file=self.stream), transient=True)
        task = bar.add_task(title, total=None, rate="", note="")
        pace = Pace(self.clock)

        def update(done: int, total: int, note: str = "") -> None:
            pace.update(done, total)
            bar.update(task, completed=done, total=total, rate=pace.rate_text, note=note)

        with bar:
            yield update


class Pace:
    """Rate and time left, counted from the first call on: what a resumed run already had is nobody's speed."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._first: tuple[float, int] | None = None
        self.rate: float | None = None  # units a second
        self.left: float | None = None  # seconds

    def update(self, done: int, total: int) -> None:
        now = self._clock()
        if self._first is None or done < self._first[1]:
            self._first = (now, done)
        start, had = self._first
        if done > had and now > start:
            self.rate = (done - had) / (now - start)
            self.left = max(total - done, 0) / self.rate

    @property
    def rate_text(self) -> str:
        if self.rate is None:
            return ""
        return f"{self.rate:.0f}/s" if self.rate >= 10 else f"{self.rate:.2g}/s"


class _PlainLines:
    """At most one line every few seconds."""

    def __init__(self, title: str, reporter: Reporter) -> None:
        self._title = title
        self._reporter = reporter
        self._pace = Pace(reporter.clock)
        self._last = reporter.clock()

    def __call__(self, done: int, total: int, note: str = "") -> None:
        self._pace.update(done, total)
        now = self._reporter.clock()
        if now - self._last < self._reporter.every:
            return
        self._last = now
        percent = f" ({100 * done // total} %)" if total else ""
        parts = [f"  {self._title}: {done}/{total}{percent}"]
        if self._pace.rate is not None and self._pace.left is not None:
            parts.append(f"{self._pace.rate_text}, {seconds(self._pace.left)} left")
        if note:
            parts.append(note)
        self._reporter.say(", ".join(parts))


def seconds(value: float) -> str:
    """A span of time as a person says it."""
    if value < 90:
        return f"{value:.0f} s" if value >= 10 else f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 90:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
