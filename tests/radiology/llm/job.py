"""A job of many questions, run as a program so that tests can kill it: ``python job.py URL LOG N``."""

from __future__ import annotations

import sys
from pathlib import Path

from radiology.llm.calls import CallLog
from radiology.llm.client import LLMClient
from radiology.llm.endpoint import Endpoint
from tests.radiology.llm.asking import question


def main(url: str, log: str, n: str) -> None:
    endpoint = Endpoint(url, "test-model", concurrency=16)
    with LLMClient(endpoint, CallLog(Path(log))) as client:
        done = sum(outcome.value is not None for outcome in client.answers(question(i) for i in range(int(n))))
    print(done)


if __name__ == "__main__":
    main(*sys.argv[1:])
