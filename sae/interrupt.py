"""Ending a long loop between two steps instead of in the middle of one."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class DeferredSignals:
    """Inside the context, Ctrl-C and SIGTERM only leave a note; the loop asks for it when its state is whole.

    A second signal acts at once, as it would without this. Outside the main thread, where Python delivers no signals,
    nothing changes.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> DeferredSignals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def act(self) -> None:
        """Do what the signal asked for; nothing if none came."""
        if self.received is not None:
            act_on(self.received)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            # None stands for a handler that was not set from Python and cannot be put back by it.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._previous = {}


def act_on(number: signal.Signals) -> None:
    """What a signal asks for: KeyboardInterrupt for Ctrl-C, exit with status 143 for SIGTERM."""
    if number is signal.SIGINT:
        raise KeyboardInterrupt
    if number is signal.SIGTERM:
        raise SystemExit(128 + signal.SIGTERM)
