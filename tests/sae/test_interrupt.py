from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from sae.interrupt import DeferredSignals


@pytest.fixture(autouse=True)
def interrupts_raise() -> Iterator[None]:
    """Python's own handler, which is not there where a shell started us in the background and had Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_first_signal_waits_and_the_second_acts_at_once() -> None:
    with DeferredSignals() as signals:
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.received is signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_without_a_signal_nothing_happens_and_handlers_come_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with DeferredSignals() as signals:
        signals.act()
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_other_threads_may_use_it_too() -> None:
    seen: list[object] = []

    def work() -> None:
        with DeferredSignals() as signals:
            signals.act()
            seen.append(signals.received)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [None]
