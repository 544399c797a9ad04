"""Asking through the OpenAI Batch API: half the price, answers within a day, and a job that may be stopped and resumed.

Prompts go up as a file, the server works through them, answers come down as a file. Each batch is noted beside the
record of calls, so that the same command later polls the batches that are on their way and sends nothing twice.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from radiology.errors import InputError
from radiology.llm.budget import Budget, BudgetSpentError, estimate
from radiology.llm.calls import Call, CallLog, Messages, prompt_hash
from radiology.llm.client import arguments
from radiology.llm.dialect import Dialect
from radiology.llm.endpoint import KEY_VARIABLE, Endpoint, require_terms
from radiology.llm.questions import Outcome, Question
from radiology.paths import shown

if TYPE_CHECKING:
    import openai

T = TypeVar("T")
#: The server's limits of one batch, with room to spare.
MOST_REQUESTS, MOST_BYTES = 50_000, 150_000_000
#: Batches cost this share of the price of a call.
PRICE_SHARE = 0.5
_ON_THE_WAY = frozenset({"validating", "in_progress", "finalizing", "cancelling"})
_MARK = "interp_prompts"


@dataclass(frozen=True)
class _Asked:
    """A prompt that has no answer yet."""

    key: str
    messages: Messages
    form: dict[str, Any]
    purpose: str


class BatchClient:
    """As :class:`radiology.llm.client.LLMClient`, through batches.

    Args:
        endpoint: where to ask; a server with the endpoints ``files`` and ``batches``.
        log: the record of calls; it must have a file.
        allow_remote, budget: as there.
        poll_s: seconds between two looks at the batches.
        told: called with a line about what is going on.
        sleep: for tests.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        log: CallLog,
        *,
        allow_remote: bool = False,
        budget: Budget | None = None,
        poll_s: float = 30.0,
        told: Callable[[str], None] = lambda line: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if log.path is None:
            raise InputError("batches need a record of calls in a file, or nothing could be resumed")
        if endpoint.api != "chat":
            raise InputError("batches are for chat models; leave --completion out")
        self.endpoint, self.log, self.allow_remote = endpoint, log, allow_remote
        self._budget = budget or Budget()
        self._budget.check(endpoint)
        self._poll_s, self._told, self._sleep = poll_s, told, sleep
        self._notes = BatchNotes(log.path.with_name("llm-batches.jsonl"))
        self._errors: dict[str, str] = {}
        self._client = _open(endpoint)

    def __enter__(self) -> BatchClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()
        self.log.close()

    def ask(self, question: Question[T]) -> Outcome[T]:
        """A batch of one."""
        return next(iter(self.answers([question])))

    def answers(self, questions: Iterable[Question[T]]) -> Iterator[Outcome[T]]:
        """Ask all, wait for the batches, repair bad answers in a second round.

        Raises:
            InputError: terms forbid it, or the server refuses.
            BudgetSpentError: not all fits the budget; outcomes of what fits come first.
        """
        import openai

        asked = list(questions)
        for question in asked:
            require_terms(self.endpoint, question.terms, self.allow_remote)
        try:
            yield from self._rounds(asked)
        except openai.APIStatusError as error:
            why = f"look at {KEY_VARIABLE}" if error.status_code in (401, 403) else "does it offer /batches?"
            raise InputError(
                f"{self.endpoint.address} refuses the batch with HTTP {error.status_code}; {why}"
            ) from None
        except openai.APIConnectionError as error:
            raise InputError(
                f"{self.endpoint.address} does not answer ({type(error).__name__}); batches go on there without us, "
                "the same command collects them later"
            ) from None

    def _rounds(self, questions: Sequence[Question[T]]) -> Iterator[Outcome[T]]:
        left = [(question, question.messages, question.purpose, ()) for question in questions]
        for turn in range(2):
            keys = [prompt_hash(self.endpoint.asks_as, messages, q.form) for q, messages, _, _ in left]
            spent = self._collect([_Asked(key, m, q.form, why) for key, (q, m, why, _) in zip(keys, left, strict=True)])
            again: list[Any] = []
            for key, (question, _, _, before) in zip(keys, left, strict=True):
                call = self.log.answered(key)
                if call is None:
                    if key in self._errors:
                        failed = Call(key, self.endpoint.model, question.purpose, None, self._errors[key])
                        yield Outcome(question, None, f"the call failed: {failed.error}", (*before, failed))
                    continue
                try:
                    yield Outcome(question, question.understood(call.answer or ""), "", (*before, call))
                except ValueError as error:
                    if turn:
                        yield Outcome(question, None, str(error), (*before, call))
                    else:
                        mended = question.repair(call.answer or "", str(error))
                        again.append((question, mended, f"repair {question.purpose}", (call,)))
            if spent is not None:
                raise spent
            left = again

    # Batches

    def _collect(self, asked: Sequence[_Asked]) -> BudgetSpentError | None:
        """Bring answers to all prompts that can be asked into the log; gives what the budget left out."""
        purposes = {one.key: one.purpose for one in asked}
        self._wait(purposes)  # those that an earlier run sent
        self._errors = {}
        todo = {one.key: one for one in asked if self.log.answered(one.key) is None}
        fitting, spent = self._within_budget(list(todo.values()))
        for chunk in _chunks([(one.key, self._line(one)) for one in fitting]):
            self._send(chunk)
        self._wait(purposes)
        return spent

    def _within_budget(self, asked: list[_Asked]) -> tuple[list[_Asked], BudgetSpentError | None]:
        cost, tokens = self.log.spent_cost, self.log.spent_tokens
        for number, one in enumerate(asked):
            most = estimate(self.endpoint, one.messages, one.form, PRICE_SHARE)
            cost, tokens = cost + most.cost, tokens + most.tokens
            if cost > (self._budget.max_cost or float("inf")) or tokens > (self._budget.max_tokens or float("inf")):
                return asked[:number], BudgetSpentError(
                    f"budget: {len(asked) - number} prompts may not fit into it and were not sent. All answers are "
                    "kept; the same command with a larger budget goes on from here"
                )
        return asked, None

    def _line(self, one: _Asked) -> str:
        body = Dialect().request(self.endpoint, one.messages, one.form, one.purpose)
        line = {"custom_id": one.key, "method": "POST", "url": "/v1/chat/completions", "body": body}
        return json.dumps(line, ensure_ascii=False)

    def _send(self, chunk: list[tuple[str, str]]) -> None:
        keys = [key for key, _ in chunk]
        mark = hashlib.sha256("".join(keys).encode()).hexdigest()[:32]
        # A job that was killed after the server took the batch and before it was noted finds it again by its mark.
        known = self._notes.ids
        for batch in self._client.batches.list(limit=100):
            if (
                (batch.metadata or {}).get(_MARK) == mark
                and batch.id not in known
                and batch.status in _ON_THE_WAY | {"completed"}
            ):
                self._notes.sent(batch.id, keys)
                return
        data = ("\n".join(line for _, line in chunk) + "\n").encode()
        file = self._client.files.create(file=("prompts.jsonl", data), purpose="batch")
        batch = self._client.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={_MARK: mark}
        )
        self._notes.sent(batch.id, keys)
        self._told(f"batch {batch.id}: {len(keys)} prompts sent; it may take up to a day, Ctrl-C and come back is fine")

    def _wait(self, purposes: dict[str, str]) -> None:
        """Poll until every noted batch has ended, and take in what it brought."""
        while open_ids := self._notes.open:
            for batch_id in open_ids:
                batch = self._client.batches.retrieve(batch_id)
                if batch.status in _ON_THE_WAY:
                    continue
                for file_id in (batch.output_file_id, batch.error_file_id):
                    if file_id:
                        self._take_in(self._client.files.content(file_id).text, purposes)
                self._notes.ended(batch_id, batch.status)
                if batch.status == "failed":
                    raise InputError(
                        f"{self.endpoint.address}: batch {batch_id} failed; its errors stand in the provider's console"
                    )
            if self._notes.open:
                self._sleep(self._poll_s)

    def _take_in(self, text: str, purposes: dict[str, str]) -> None:
        for line in text.splitlines():
            if not line.strip():
                continue
            found = json.loads(line)
            key = str(found["custom_id"])
            if self.log.answered(key) is not None:
                continue
            call = self.log.append(_call(found, key, self.endpoint, purposes.get(key, "batch")))
            if call.answer is None:
                self._errors[key] = str(call.error)


class BatchNotes:
    """``llm-batches.jsonl``: which batches were sent, with the hashes of their prompts, and which have ended."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open: dict[str, list[str]] = {}
        self._ended: set[str] = set()
        for number, line in enumerate(path.read_text().splitlines() if path.is_file() else [], start=1):
            try:
                note = json.loads(line)
            except ValueError:
                if line.rstrip().endswith("}"):
                    raise InputError(f"{shown(path)}, line {number}: damaged; remove that line") from None
                continue  # a line without its end, left by a killed process
            self._apply(note)

    @property
    def open(self) -> list[str]:
        """Ids of batches that have not ended."""
        return list(self._open)

    @property
    def ids(self) -> set[str]:
        return set(self._open) | self._ended

    def sent(self, batch_id: str, keys: Sequence[str]) -> None:
        self._note({"batch": batch_id, "status": "sent", "prompts": list(keys)})

    def ended(self, batch_id: str, status: str) -> None:
        self._note({"batch": batch_id, "status": status})

    def _note(self, note: dict[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        torn = self.path.is_file() and not self.path.read_bytes().endswith(b"\n") and self.path.stat().st_size > 0
        with self.path.open("a") as file:
            file.write(("\n" if torn else "") + json.dumps(note) + "\n")
        self._apply(note)

    def _apply(self, note: dict[str, Any]) -> None:
        if note["status"] == "sent":
            self._open[note["batch"]] = note["prompts"]
        else:
            self._open.pop(note["batch"], None)
            self._ended.add(note["batch"])


def _call(found: dict[str, Any], key: str, endpoint: Endpoint, purpose: str) -> Call:
    """The record of one line of a result file."""
    blank = Call(key, endpoint.model, purpose, None, None)
    response = found.get("response") or {}
    body = response.get("body") or {}
    if found.get("error") or response.get("status_code") != 200 or not body.get("choices"):
        status = response.get("status_code")
        return replace(blank, error=f"HTTP {status}" if status else "not answered in the batch")
    choice, usage = body["choices"][0], body.get("usage") or {}
    used = int(usage.get("prompt_tokens", 0)), int(usage.get("completion_tokens", 0))
    price = endpoint.cost(*used)
    return replace(
        blank,
        answer=choice["message"].get("content") or "",
        error=f"cut at {endpoint.max_tokens} tokens" if choice.get("finish_reason") == "length" else None,
        prompt_tokens=used[0],
        completion_tokens=used[1],
        cost=None if price is None else price * PRICE_SHARE,
    )


def _chunks(lines: Sequence[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    chunk: list[tuple[str, str]] = []
    size = 0
    for key, line in lines:
        if chunk and (len(chunk) == MOST_REQUESTS or size + len(line) > MOST_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append((key, line))
        size += len(line.encode()) + 1
    if chunk:
        yield chunk


def _open(endpoint: Endpoint) -> openai.OpenAI:
    import openai

    transport = openai.DefaultHttpxClient(
        trust_env=not endpoint.is_local, follow_redirects=False, timeout=endpoint.timeout_s
    )
    # Reading and polling may be repeated; the library waits as the server asks. Sending is not: see the mark.
    return openai.OpenAI(http_client=transport, **(arguments(endpoint, endpoint.key()) | {"max_retries": 4}))
