"""What the headers of a server mean."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from radiology.llm.pacing import LONGEST_WAIT_S, Pace, asked_pause, duration_s


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("6m0s", 360.0), ("20ms", 0.02), ("1h2m3.5s", 3723.5), ("1.5", 1.5), ("soon", None), ("5x", None), ("", None)],
)
def test_durations(text: str, seconds: float | None) -> None:
    assert duration_s(text) == (None if seconds is None else pytest.approx(seconds))


def test_retry_after_is_seconds_or_a_date() -> None:
    assert asked_pause({"retry-after": "3"}) == 3
    assert asked_pause({"retry-after-ms": "250", "retry-after": "9"}) == 0.25
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 28 < (asked_pause({"retry-after": soon}) or 0) <= 30
    assert asked_pause({"retry-after": "whenever"}) is None
    assert asked_pause({}) is None


def test_only_a_limit_that_is_used_up_holds_calls_back() -> None:
    slept: list[float] = []
    clock = [0.0]

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock[0] += seconds

    pace = Pace(sleep, lambda: clock[0])
    assert pace.note({"x-ratelimit-remaining-tokens": "5", "x-ratelimit-reset-tokens": "9s"}) is None
    asyncio.run(pace.wait())
    assert slept == []
    assert pace.note({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "9s"}) == 9
    asyncio.run(pace.wait())
    asyncio.run(pace.wait())
    assert slept == [9]
    assert pace.note({"retry-after": "90000"}) == 90000
    asyncio.run(pace.wait())
    assert slept == [9, LONGEST_WAIT_S]
