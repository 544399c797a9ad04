"""A chat server on this machine, for the tests of what asks a language model."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: What is asked (the JSON of the last message of the user) and the purpose → an HTTP status or the text of an answer.
Answer = Callable[[dict[str, Any], str], int | str]


@dataclass
class ChatServerState:
    """Its address, how it answers, and the requests that came."""

    answer: Answer
    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def serving(answer: Answer) -> Iterator[ChatServerState]:
    """A server at a free port that answers until the end of the block."""
    state = ChatServerState(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.requests.append(request)
            asked = [message["content"] for message in request["messages"] if message["role"] == "user"]
            purpose = "phrases" if '"report"' in asked[0] else "entailment"
            reply = state.answer(json.loads(asked[0]), purpose)
            status, text = (reply, "{}") if isinstance(reply, int) else (200, _chat(reply, request.get("max_tokens")))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{http.server_address[1]}/v1"
    try:
        yield state
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def by_words(asked: dict[str, Any], purpose: str) -> str:
    """A model that copies: phrases are sentences, and a statement follows from the phrase that has its words."""
    if purpose == "phrases":
        return json.dumps({"phrases": [part.strip() + "." for part in asked["report"].split(".") if part.strip()]})
    found = [phrase for phrase in asked["reference"] if phrase.lower() == asked["statement"].lower()]
    return json.dumps({"entailed": bool(found), "evidence": found})


def _chat(text: str, max_tokens: int | None) -> str:
    """A reply in the OpenAI form; a token is a word here, and an answer that is longer than allowed is cut."""
    words = text.split(" ")
    cut = max_tokens is not None and len(words) > max_tokens
    message = {"role": "assistant", "content": " ".join(words[:max_tokens])}
    choice = {"index": 0, "finish_reason": "length" if cut else "stop", "message": message}
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    return json.dumps(
        {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}
    )
