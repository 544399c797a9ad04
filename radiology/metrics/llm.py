"""Asking a language model for JSON through any server that speaks the OpenAI chat format.

Every call is appended to a file of JSON lines (the hash of the prompt, never the prompt), and an answer that stands
there is not asked for again: a stopped job goes on where it was.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from radiology.errors import InputError
from radiology.paths import shown
from radiology.study import Terms

KEY_VARIABLE = "OPENAI_API_KEY"
Messages = Sequence[dict[str, str]]
_T = TypeVar("_T")
#: Answers that another try may better; other refusals end the job.
_WORTH_RETRYING = frozenset({408, 409, 425, 429})
#: How servers refuse a response format that they do not know.
_FORMAT_UNKNOWN = frozenset({400, 422})
#: Characters of a bad answer that are shown to the model again; a runaway answer would fill its context.
_SHOWN_AGAIN = 2000


@dataclass(frozen=True)
class ChatServer:
    """Where a language model answers.

    Attributes:
        base_url: such as ``http://127.0.0.1:8080/v1``.
        model: the server's name for the model.
        attempts: tries of one call before it counts as failed.
        backoff_s: wait before the second try; doubled before each further one.
        timeout_s: of one try.
        max_tokens: of one answer. Without a limit a small model repeats itself within the form asked for until its
            context is full.

    The key comes from the environment variable OPENAI_API_KEY and is never written down.

    Raises:
        InputError: the address is no http(s) URL, no model is named, or nothing could be answered.
    """

    base_url: str
    model: str
    attempts: int = 3
    backoff_s: float = 1.0
    timeout_s: float = 120.0
    max_tokens: int = 2048

    def __post_init__(self) -> None:
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
            raise InputError(
                "base_url: give an address such as http://127.0.0.1:8080/v1, without user and password; "
                f"a key goes into {KEY_VARIABLE}"
            )
        if not self.model.strip():
            raise InputError("model: name the language model as its server does")
        if self.attempts < 1:
            raise InputError(f"attempts: {self.attempts}; there must be at least one")
        if self.max_tokens < 1:
            raise InputError(f"max_tokens: {self.max_tokens}; an answer has at least one")

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine: ``localhost`` or a loopback address."""
        host = urlsplit(self.base_url).hostname or ""
        try:
            return host == "localhost" or ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False


@dataclass(frozen=True)
class Call:
    """One call. ``error`` is ``None`` when a whole answer came, whatever it was worth; one that was cut has both."""

    prompt_hash: str
    model: str
    purpose: str
    answer: str | None
    error: str | None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    time: float = 0.0


class CallRecord:
    """The calls of a job: in memory, and in a file where one is named. Threads may share it.

    Raises:
        InputError: a line of the file is damaged; a last line that a killed process left half written is passed over.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._answers = {call.prompt_hash: call for call in _read(path) if call.answer is not None} if path else {}

    def answered(self, prompt_hash: str) -> Call | None:
        """The answer to a prompt, whole or cut, if there is one."""
        return self._answers.get(prompt_hash)

    def append(self, call: Call) -> Call:
        """Write a call down; it is on the disk when this returns."""
        with self._lock:
            if self.path is not None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("a+b") as file:
                    end = file.seek(0, os.SEEK_END)
                    if end and (file.seek(end - 1), file.read(1))[1] != b"\n":
                        file.write(b"\n")
                    file.write((json.dumps(asdict(call), ensure_ascii=False) + "\n").encode())
                    file.flush()
                    os.fsync(file.fileno())
            if call.answer is not None:
                self._answers[call.prompt_hash] = call
        return call


class ChatClient:
    """Asks for JSON of a schema, repairs a bad answer once, and asks nothing twice.

    Args:
        server: where to ask.
        record: where calls are written down and earlier answers are found.
        terms: of the text that will be asked about.
        allow_remote: let credentialed text go to a server that is not on this machine.
        sleep: for tests.

    Raises:
        InputError: credentialed text would leave the machine, or a server elsewhere wants a key and there is none.
    """

    def __init__(
        self,
        server: ChatServer,
        record: CallRecord,
        *,
        terms: Terms = "credentialed",
        allow_remote: bool = False,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        import openai

        if terms == "credentialed" and not server.is_local and not allow_remote:
            raise InputError(
                f"reports may be of patients and {server.base_url} is not on this machine; use a local server, or give "
                "--allow-remote if the terms of the data and the contract with the server's operator permit it"
            )

        self.server, self._record, self._sleep = server, record, sleep
        self._structured, self._cut = True, f"cut at {server.max_tokens} tokens"
        key = os.environ.get(KEY_VARIABLE, "")
        if not key and not server.is_local:
            raise InputError(f"{server.base_url} is not on this machine and {KEY_VARIABLE} is not set")
        # A local server is reached directly: a proxy of the environment would carry the text off this machine. And no
        # server may send the text on to another one.
        transport = openai.DefaultHttpxClient(
            trust_env=not server.is_local, follow_redirects=False, timeout=server.timeout_s
        )
        self._client = openai.OpenAI(
            base_url=server.base_url, api_key=key or "none", max_retries=0, http_client=transport
        )

    def ask(self, messages: Messages, schema: dict[str, Any], read: Callable[[Any], _T], purpose: str) -> _T | None:
        """What ``read`` makes of the JSON answer; ``None`` if no call got through or two answers could not be read.

        ``read`` raises ValueError, TypeError or KeyError for an answer that is not as it should be.

        Raises:
            InputError: the server refuses the request itself (wrong key, model or address).
        """
        asked = list(messages)
        for _ in range(2):
            call = self._call(asked, schema, purpose)
            if call.answer is None:
                return None
            try:
                return read(_json_in(call.answer))
            except (ValueError, TypeError, KeyError) as error:
                problem = f"That is not valid ({error}). Answer again with the JSON object asked for and nothing else."
                shown_again = {"role": "assistant", "content": call.answer[:_SHOWN_AGAIN]}
                asked = [*asked, shown_again, {"role": "user", "content": problem}]
        return None

    def _call(self, messages: Messages, schema: dict[str, Any], purpose: str) -> Call:
        key = prompt_hash(self.server.model, messages, schema)
        call = self._record.answered(key)
        if call is not None and call.error not in (None, self._cut):  # one that was cut may go on with more room
            call = None
        for attempt in range(self.server.attempts):
            if call is not None and call.answer is not None:
                break
            if attempt:
                self._sleep(self.server.backoff_s * 2 ** (attempt - 1))
            call = self._try(key, messages, schema, purpose)
        assert call is not None  # there is at least one attempt
        return call

    def _try(self, key: str, messages: Messages, schema: dict[str, Any], purpose: str) -> Call:
        import openai

        model = self.server.model
        more: dict[str, Any] = {}
        if self._structured:
            form = {"name": purpose.replace(" ", "_"), "schema": schema, "strict": True}
            more["response_format"] = {"type": "json_schema", "json_schema": form}
        try:
            reply = self._client.chat.completions.create(
                model=model,
                messages=list(messages),  # type: ignore[arg-type]
                temperature=0.0,
                max_tokens=self.server.max_tokens,
                **more,
            )
            choice = reply.choices[0] if reply.choices else None
        except openai.APIStatusError as error:
            status = error.status_code
            call = self._record.append(Call(key, model, purpose, None, f"HTTP {status}", time=_now()))
            if status in _FORMAT_UNKNOWN and self._structured:
                self._structured = False  # the prompt asks for JSON as well
                return self._try(key, messages, schema, purpose)
            if status < 500 and status not in _WORTH_RETRYING:
                raise InputError(
                    f"{self.server.base_url} refuses model {model!r} with HTTP {status}; "
                    f"look at --base-url, --llm and {KEY_VARIABLE}"
                ) from error
            return call
        except (openai.APIError, ValueError) as error:  # no connection, timeout, or an answer in another format
            return self._record.append(Call(key, model, purpose, None, type(error).__name__, time=_now()))
        used = reply.usage
        counts = (used.prompt_tokens, used.completion_tokens) if used else (0, 0)
        text = (choice.message.content if choice else None) or ""
        cut = self._cut if choice and choice.finish_reason == "length" else None
        return self._record.append(Call(key, model, purpose, text, cut, *counts, time=_now()))


def prompt_hash(model: str, messages: Messages, schema: dict[str, Any]) -> str:
    """32 hexadecimal digits that change with the model, the form asked for, and every letter of the prompt."""
    text = json.dumps([model, list(messages), schema], ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _now() -> float:
    return round(time.time(), 3)


def _json_in(text: str) -> Any:
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        raise ValueError("there is no JSON object in the answer")
    return json.loads(text[start : end + 1])


def _read(path: Path) -> list[Call]:
    if not path.is_file():
        return []
    calls = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
            calls.append(Call(**{name: fields[name] for name in Call.__dataclass_fields__}))
        except (ValueError, KeyError, TypeError):
            if line.rstrip().endswith(b"}"):
                raise InputError(f"{shown(path)}, line {number}: damaged call record; remove that line") from None
    return calls
