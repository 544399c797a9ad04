"""When to ask (again): what the server says in its headers, and exponential back-off with jitter."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

Sleep = Callable[[float], Awaitable[None]]
#: A server that wants a longer pause than this is not waited for.
LONGEST_WAIT_S = 600.0
#: No wait between two tries of one call is longer than this unless the server asks for it.
_BACKOFF_CAP_S = 60.0
_PARTS = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Pace:
    """Holds back all calls of a client while the server asks for it.

    Args:
        sleep, clock: for tests.
    """

    def __init__(self, sleep: Sleep = asyncio.sleep, clock: Callable[[], float] = time.monotonic) -> None:
        self._sleep, self._clock = sleep, clock
        self._open_at = 0.0
        self._random = random.Random()

    async def wait(self) -> None:
        """Until the server takes calls again."""
        waited_for = None
        while self._open_at != waited_for and (left := self._open_at - self._clock()) > 0:
            waited_for = self._open_at  # another reply may move it meanwhile
            await self._sleep(left)

    def note(self, headers: Mapping[str, str]) -> float | None:
        """Read the headers of a reply, good or bad; gives the pause in seconds that it asks for, if any.

        Known are ``retry-after-ms``, ``retry-after`` (seconds or a date) and OpenAI's
        ``x-ratelimit-remaining-requests`` / ``-tokens`` with ``x-ratelimit-reset-…``: when nothing remains, calls wait
        for the reset instead of running into a refusal.
        """
        pauses = [pause for pause in (asked_pause(headers), *_spent_limits(headers)) if pause is not None]
        if not pauses:
            return None
        pause = max(pauses)
        self._open_at = max(self._open_at, self._clock() + min(pause, LONGEST_WAIT_S))
        return pause

    async def back_off(self, attempt: int, base_s: float) -> None:
        """Before try ``attempt`` (1 is the second): between half and all of base · 2^(attempt − 1)."""
        longest = min(_BACKOFF_CAP_S, base_s * 2 ** (attempt - 1))
        await self._sleep(longest * self._random.uniform(0.5, 1.0))


def asked_pause(headers: Mapping[str, str]) -> float | None:
    """Seconds that ``retry-after-ms`` or ``retry-after`` asks for."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name)
        if text is None:
            continue
        try:
            return max(0.0, float(text) * unit)
        except ValueError:
            pass
        try:
            return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
        except (ValueError, TypeError):
            continue
    return None


def duration_s(text: str) -> float | None:
    """``"6m0s"``, ``"20ms"``, ``"1.5"`` → seconds; None for anything else."""
    parts = _PARTS.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text.strip():
        return sum(float(number) * _SECONDS[unit] for number, unit in parts)
    try:
        return float(text)
    except ValueError:
        return None


def _spent_limits(headers: Mapping[str, str]) -> list[float | None]:
    return [
        duration_s(headers.get(f"x-ratelimit-reset-{what}", ""))
        for what in ("requests", "tokens")
        if headers.get(f"x-ratelimit-remaining-{what}", "").strip() == "0"
    ]
