"""Laws of progress: plain lines are rare, rates count only what was done now."""

from __future__ import annotations

import io

import pytest

from interp.progress import Pace, Reporter, seconds


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_plain_lines_come_at_most_every_few_seconds() -> None:
    clock, stream = Clock(), io.StringIO()
    with Reporter(stream, every=5, clock=clock).stage("cache") as progress:
        for done in range(1, 101):
            clock.now += 0.2
            progress(done, 100, "phantom")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "cache ..."
    assert lines[-1] == "cache: done in 20 s"
    assert len(lines) <= 2 + 20 / 5
    assert "25/100 (25 %), 5/s, 15 s left, phantom" in lines[1]


def test_no_line_says_done_when_a_stage_fails() -> None:
    stream = io.StringIO()
    with pytest.raises(RuntimeError), Reporter(stream).stage("cache"):
        raise RuntimeError
    assert "done" not in stream.getvalue()


def test_the_rate_does_not_count_what_a_resumed_run_already_had() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.update(900, 1000)
    assert pace.rate is None
    clock.now += 10
    pace.update(910, 1000)
    assert pace.rate == pytest.approx(1.0)
    assert pace.left == pytest.approx(90.0)


def test_a_terminal_gets_a_bar() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    with Reporter(stream).stage("train") as progress:
        progress(1, 2)
        progress(2, 2)
    assert "train" in stream.getvalue()
    assert "train: done in" in stream.getvalue()


@pytest.mark.parametrize(
    ("value", "text"), [(0.34, "0.3 s"), (42, "42 s"), (95, "1 min 35 s"), (3599, "59 min 59 s"), (7260, "2 h 01 min")]
)
def test_spans_of_time(value: float, text: str) -> None:
    assert seconds(value) == text


def test_on_a_terminal_of_80_columns_rate_time_left_and_note_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "80")
    clock, stream = Clock(), Terminal()
    note = "loss 0.2123, variance explained 0.914, l0 8.5, dead 0.1%"
    with Reporter(stream, clock=clock).stage("Training the SAE 'main' at language.2") as progress:
        for done in range(0, 600_000, 150_000):
            progress(done, 600_000, note)
            clock.now += 5
    text = stream.getvalue()
    assert note in text
    assert "30000/s" in text
    assert "450000/600000" in text
