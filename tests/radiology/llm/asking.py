"""Questions and clients that the tests of the client share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from radiology.llm.budget import Budget
from radiology.llm.calls import CallLog
from radiology.llm.client import LLMClient
from radiology.llm.endpoint import Endpoint
from radiology.llm.questions import Question


class Verdict(BaseModel):
    finding: Literal["effusion", "edema"] | None
    sure: bool


GOOD = json.dumps({"finding": "effusion", "sure": True})


def question(number: int = 0, **more: Any) -> Question[Verdict]:
    messages = [{"role": "user", "content": f"Sentence {number}: what is found?"}]
    return Question.of_model(Verdict, messages, f"question {number}", **({"key": number, "terms": ["open"]} | more))


class Sleeps:
    """In place of waiting: notes how long."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def client_of(
    url: str, log: Path | None = None, budget: Budget | None = None, sleep: Sleeps | None = None, **options: Any
) -> LLMClient:
    endpoint = Endpoint(url, "test-model", **options)
    return LLMClient(endpoint, CallLog(log), budget=budget, sleep=sleep or Sleeps())
