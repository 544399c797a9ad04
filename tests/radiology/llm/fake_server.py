"""A language model server on this machine that does what a test says: answers, faults, limits, and batches."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Reply:
    """What comes back.

    Attributes:
        text: of the answer, if the status is 200.
        status, headers: of HTTP.
        code: how the server names the fault.
        param: the field that it refuses.
        fault: ``hang`` says nothing, ``close`` breaks off before the headers, ``truncate`` in the middle of the body.
        delay_s: before it.
    """

    text: str = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    code: str | None = None
    param: str | None = None
    fault: str | None = None
    delay_s: float = 0.0


#: The body of a request → a reply; an int is a status, a str the text of an answer.
Answer = Callable[[dict[str, Any]], Reply | int | str]
HANG_S = 3.0


@dataclass
class FakeLLM:
    """Its address, how it answers, and what came.

    Attributes:
        requests: bodies of requests for answers, in order.
        seen: headers of each of them, names in lower case.
        queries: what followed the question mark in each address.
        most_at_once: largest number of requests that were open at the same time.
        batches, files: of the Batch API; a batch is worked through when it has been looked at ``polls`` times.
        kept_from_batch: custom ids that the batch leaves unanswered.
    """

    answer: Answer
    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    seen: list[dict[str, str]] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    polls: int = 1
    files: dict[str, str] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    kept_from_batch: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def reply(self, body: dict[str, Any]) -> Reply:
        reply = self.answer(body)
        if isinstance(reply, int):
            return Reply(status=reply)
        return Reply(reply) if isinstance(reply, str) else reply


def scripted(*replies: Reply | int | str) -> Answer:
    """The replies in turn, the last one for ever."""
    left = list(replies)
    return lambda body: left.pop(0) if len(left) > 1 else left[0]


@contextmanager
def serving(answer: Answer) -> Iterator[FakeLLM]:
    """A server at a free port until the end of the block."""
    state = FakeLLM(answer)
    http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(state))
    http.daemon_threads, http.block_on_close, http.request_queue_size = True, False, 128
    http.socket.listen(128)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{http.server_address[1]}/v1"
    try:
        yield state
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def _handler(state: FakeLLM) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            path, _, query = self.path.partition("?")
            state.queries.append(query)
            if path.endswith("/completions"):
                self._complete(json.loads(data))
            elif path.endswith("/files"):
                self._json(_upload(state, data))
            elif path.endswith("/batches"):
                self._json(_new_batch(state, json.loads(data)))
            else:
                self._json({}, 404)

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            kind, _, rest = path.removeprefix("/v1/").partition("/")
            if kind == "batches" and not rest:
                self._json({"object": "list", "data": list(state.batches.values()), "has_more": False})
            elif kind == "batches":
                self._json(_look_at(state, rest))
            elif kind == "files":
                self._send(200, state.files[rest.partition("/")[0]].encode(), {})
            else:
                self._json({}, 404)

        def _complete(self, body: dict[str, Any]) -> None:
            with state.lock:
                state.requests.append(body)
                state.seen.append({name.lower(): value for name, value in self.headers.items()})
                state.at_once += 1
                state.most_at_once = max(state.most_at_once, state.at_once)
            try:
                self._reply(state.reply(body), body)
            finally:
                with state.lock:
                    state.at_once -= 1

        def _reply(self, reply: Reply, body: dict[str, Any]) -> None:
            time.sleep(reply.delay_s)
            if reply.fault == "hang":
                time.sleep(HANG_S)
            if reply.fault in ("hang", "close"):
                self.close_connection = True
                return
            error = {"error": {"message": "no", "type": "x", "code": reply.code, "param": reply.param}}
            data = json.dumps(completed(reply.text, body) if reply.status == 200 else error).encode()
            headers = dict(reply.headers)
            if reply.status in (301, 302, 307):
                headers["Location"] = "http://203.0.113.7/v1/chat/completions"
            self._send(reply.status, data, headers, cut=reply.fault == "truncate")

        def _json(self, content: Any, status: int = 200) -> None:
            self._send(status, json.dumps(content).encode(), {})

        def _send(self, status: int, data: bytes, headers: Mapping[str, str], cut: bool = False) -> None:
            self.send_response(status)
            for name, value in ({"Content-Type": "application/json"} | dict(headers)).items():
                self.send_header(name, value)
            if cut:  # the end of the connection is the end of the body, and it comes too early
                data = data[: len(data) // 2]
                self.send_header("Connection", "close")
                self.close_connection = True
            else:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    return Handler


def completed(text: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """A reply in the OpenAI form; a token is a word here, and an answer that is longer than allowed is cut."""
    limit = body.get("max_tokens", body.get("max_completion_tokens"))
    words = text.split(" ")
    cut = limit is not None and len(words) > limit
    text = " ".join(words[:limit])
    said = {"text": text} if "prompt" in body else {"message": {"role": "assistant", "content": text}}
    choice = {"index": 0, "finish_reason": "length" if cut else "stop"} | said
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    kind = "text_completion" if "prompt" in body else "chat.completion"
    return {"id": "1", "object": kind, "created": 0, "model": "m", "choices": [choice], "usage": usage}


# Batches


def _upload(state: FakeLLM, data: bytes) -> dict[str, Any]:
    """The part ``file`` of a multipart form."""
    boundary = data.split(b"\r\n", 1)[0]
    part = next(part for part in data.split(boundary) if b'name="file"' in part)
    content = part.split(b"\r\n\r\n", 1)[1].rstrip(b"\r\n")
    return _keep(state, content.decode())


def _keep(state: FakeLLM, content: str) -> dict[str, Any]:
    name = f"file-{len(state.files)}"
    state.files[name] = content
    return {
        "id": name,
        "object": "file",
        "bytes": len(content),
        "created_at": 0,
        "filename": "prompts.jsonl",
        "purpose": "batch",
        "status": "processed",
    }


def _new_batch(state: FakeLLM, body: dict[str, Any]) -> dict[str, Any]:
    name = f"batch-{len(state.batches)}"
    state.batches[name] = body | {
        "id": name,
        "object": "batch",
        "created_at": 0,
        "status": "in_progress",
        "output_file_id": None,
        "error_file_id": None,
        "polled": 0,
    }
    return state.batches[name]


def _look_at(state: FakeLLM, name: str) -> dict[str, Any]:
    batch = state.batches[name]
    batch["polled"] += 1
    if batch["status"] != "in_progress" or batch["polled"] < state.polls:
        return batch
    lines, faults = [], []
    for line in state.files[batch["input_file_id"]].splitlines():
        asked = json.loads(line)
        if asked["custom_id"] in state.kept_from_batch:
            continue
        state.requests.append(asked["body"])
        reply = state.reply(asked["body"])
        response = {"status_code": reply.status, "body": completed(reply.text, asked["body"])}
        row = {"id": "r", "custom_id": asked["custom_id"], "response": response, "error": None}
        (lines if reply.status == 200 else faults).append(json.dumps(row))
    batch["output_file_id"] = _keep(state, "\n".join(lines))["id"]
    if faults:
        batch["error_file_id"] = _keep(state, "\n".join(faults))["id"]
    batch["status"] = "completed"
    return batch
