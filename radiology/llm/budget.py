"""How much a job may spend: nothing is asked that could go beyond it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from radiology.errors import InputError
from radiology.llm.calls import CallLog, Messages
from radiology.llm.endpoint import Endpoint

#: Letters per token, on the safe side: English text has about four, JSON and numbers fewer.
_LETTERS_PER_TOKEN = 2.5
#: What an image of a few hundred pixels costs at the large providers, on the safe side.
_TOKENS_PER_IMAGE = 1600


class BudgetSpentError(InputError):
    """The next call could cost more than is left. What was answered is written down; a larger budget goes on."""


@dataclass(frozen=True)
class Budget:
    """Limits of a record of calls; what earlier runs of the job wrote into it counts.

    Attributes:
        max_cost: US dollars; the endpoint must have prices.
        max_tokens: sent and received.
    """

    max_cost: float | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_cost", "max_tokens"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"{name}: {value}; a budget is more than nothing")

    def check(self, endpoint: Endpoint) -> None:
        """InputError if costs are limited but cannot be counted."""
        if self.max_cost is not None and endpoint.price_in is None:
            raise InputError(
                "max_cost: prices are not known; give --price-in and --price-out in US dollars per million tokens "
                "(0 for a server of your own)"
            )


@dataclass(frozen=True)
class Estimate:
    """An upper bound of what a call may use."""

    tokens: int
    cost: float


class Purse:
    """Lets calls go only if what is spent, what is on its way, and they themselves fit the budget. One event loop's."""

    def __init__(self, budget: Budget, endpoint: Endpoint, log: CallLog) -> None:
        budget.check(endpoint)
        self._budget, self._log = budget, log
        self._tokens, self._cost, self._n = 0, 0.0, 0
        self._changed = asyncio.Condition()

    async def take(self, estimate: Estimate) -> None:
        """Reserve; waits while calls on their way may leave something over.

        Raises:
            BudgetSpentError: it does not fit, and nothing is on its way.
        """
        async with self._changed:
            while not self.fits(estimate):
                if self._n == 0:
                    raise BudgetSpentError(self.message(estimate))
                await self._changed.wait()
            self._add(estimate, 1)

    async def give_back(self, estimate: Estimate) -> None:
        """After the call: what it really used stands in the log."""
        async with self._changed:
            self._add(estimate, -1)
            self._changed.notify_all()

    def _add(self, estimate: Estimate, sign: int) -> None:
        self._n += sign
        self._tokens += sign * estimate.tokens
        self._cost += sign * estimate.cost

    def fits(self, estimate: Estimate) -> bool:
        """Whether a call may go beside those on their way."""
        most_cost, most_tokens = self._budget.max_cost, self._budget.max_tokens
        cost = self._log.spent_cost + self._cost + estimate.cost
        tokens = self._log.spent_tokens + self._tokens + estimate.tokens
        return (most_cost is None or cost <= most_cost) and (most_tokens is None or tokens <= most_tokens)

    def message(self, estimate: Estimate) -> str:
        """What was spent of what, and how to go on."""
        if self._budget.max_cost is not None:
            spent = f"${self._log.spent_cost:.4f} of --max-cost ${self._budget.max_cost:.4f}"
            next_one = f"${estimate.cost:.4f}"
        else:
            spent = f"{self._log.spent_tokens} of --max-tokens {self._budget.max_tokens}"
            next_one = f"{estimate.tokens} tokens"
        return (
            f"budget: {spent} are spent and the next call may take up to {next_one}. All answers are kept; the same "
            "command with a larger budget goes on from here"
        )


def estimate(endpoint: Endpoint, messages: Messages, form: dict[str, Any], share: float = 1.0) -> Estimate:
    """The most that a call may use; ``share`` of the price is paid (a half in batches)."""
    letters, images = len(json.dumps(form)), 0
    for message in messages:
        content = message["content"]
        for part in content if isinstance(content, list) else [{"type": "text", "text": content}]:
            if part["type"] == "text":
                letters += len(part["text"])
            else:
                images += 1
    prompt = round(letters / _LETTERS_PER_TOKEN) + images * _TOKENS_PER_IMAGE
    cost = endpoint.cost(prompt, endpoint.max_tokens) or 0.0
    return Estimate(prompt + endpoint.max_tokens, cost * share)
