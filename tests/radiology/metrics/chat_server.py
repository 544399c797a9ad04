"""A chat server on this machine, for the tests of RadFact's language model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.radiology.llm import fake_server
from tests.radiology.llm.fake_server import FakeLLM as ChatServerState

#: What is asked (the JSON of the last message of the user) and the purpose → an HTTP status or the text of an answer.
Answer = Callable[[dict[str, Any], str], int | str]


@contextmanager
def serving(answer: Answer) -> Iterator[ChatServerState]:
    """A server at a free port that answers until the end of the block."""

    def reply(request: dict[str, Any]) -> int | str:
        asked = [message["content"] for message in request["messages"] if message["role"] == "user"]
        return answer(json.loads(asked[0]), "phrases" if '"report"' in asked[0] else "entailment")

    with fake_server.serving(reply) as state:
        yield state


def by_words(asked: dict[str, Any], purpose: str) -> str:
    """A model that copies: phrases are sentences, and a statement follows from the phrase that has its words."""
    if purpose == "phrases":
        return json.dumps({"phrases": [part.strip() + "." for part in asked["report"].split(".") if part.strip()]})
    found = [phrase for phrase in asked["reference"] if phrase.lower() == asked["statement"].lower()]
    return json.dumps({"entailed": bool(found), "evidence": found})
