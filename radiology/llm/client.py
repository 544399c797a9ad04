"""Asking now: any number of questions, a bounded number at a time."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Coroutine, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from radiology.errors import InputError
from radiology.llm.budget import Budget, BudgetSpentError, Purse, estimate
from radiology.llm.calls import Call, CallLog, Messages, prompt_hash
from radiology.llm.dialect import REFUSED_FIELDS, Dialect
from radiology.llm.endpoint import KEY_VARIABLE, Endpoint, require_terms
from radiology.llm.pacing import LONGEST_WAIT_S, Pace, Sleep
from radiology.llm.questions import Outcome, Question

if TYPE_CHECKING:
    import openai

T = TypeVar("T")
_R = TypeVar("_R")
#: Refusals that another try may better; others end the job.
_WORTH_RETRYING = frozenset({408, 409, 425, 429})
#: So many questions in a row without any answer end the job: the server is gone.
MOST_FAILURES_IN_A_ROW = 10
_TOO_LONG = frozenset({"context_length_exceeded", "exceed_context_size_error"})
_NO_MONEY = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
TOO_LONG = "the prompt is too long for the model"


class LLMClient:
    """Asks for JSON of a form, repairs a bad answer once, and asks nothing twice. Threads may share it.

    Calls run on an event loop in a thread of the client's own, at most ``endpoint.concurrency`` at a time. Faults that
    may pass (no connection, time-out, 408, 409, 425, 429, 5xx) are tried again, after the pause that the server asks
    for and with exponential back-off; all others end the job with one message.

    Args:
        endpoint: where to ask.
        log: where calls are written down and earlier answers are found; in memory unless given.
        allow_remote: let texts of bound terms (:func:`radiology.llm.endpoint.require_terms`) leave this machine.
        budget: what the log may come to; no limit unless given.
        sleep: for tests.

    Raises:
        InputError: a server elsewhere wants a key and there is none, or a budget cannot be counted.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        log: CallLog | None = None,
        *,
        allow_remote: bool = False,
        budget: Budget | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.endpoint, self.log = endpoint, log or CallLog()
        self.allow_remote = allow_remote
        self._budget = budget or Budget()
        self._budget.check(endpoint)
        self._key = endpoint.key()
        self._sleep = sleep
        self._dialect = Dialect()
        self._answered_once, self._failures_in_a_row = False, 0
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def __enter__(self) -> LLMClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Asking

    def ask(self, question: Question[T]) -> Outcome[T]:
        """Ask one question and wait.

        Raises:
            InputError: its terms forbid it, the server refuses the request itself (wrong key, model or address), or
                nothing answers there.
            BudgetSpentError: it could cost more than is left.
        """
        return self._submit(self._ask(question)).result()

    def answers(self, questions: Iterable[Question[T]]) -> Iterator[Outcome[T]]:
        """Ask many; outcomes come in the order of the answers. Questions are taken as places get free.

        Raises:
            InputError, BudgetSpentError: as :meth:`ask`, after all that was on its way has come.
        """
        left, done = iter(questions), queue.SimpleQueue[Future[Outcome[T]]]()
        running: set[Future[Outcome[T]]] = set()
        failed: Exception | None = None

        def fill() -> None:
            while failed is None and len(running) < self.endpoint.concurrency:
                question = next(left, None)
                if question is None:
                    return
                future = self._submit(self._ask(question))
                running.add(future)
                future.add_done_callback(done.put)

        try:
            fill()
            while running:
                future = done.get()
                running.discard(future)
                try:
                    outcome = future.result()
                except InputError as error:
                    failed = failed or error
                    continue
                yield outcome
                fill()
        finally:
            for future in running:
                future.cancel()
        if failed is not None:
            raise failed

    def close(self) -> None:
        """Stop the event loop and bring the log to the disk. A later question starts it again."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None:
            asyncio.run_coroutine_threadsafe(self._client.close(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join()
            loop.close()
        self.log.close()

    # One question

    async def _ask(self, question: Question[T]) -> Outcome[T]:
        require_terms(self.endpoint, question.terms, self.allow_remote)
        messages, calls, problem = question.messages, [], ""
        for turn in range(2):
            purpose = question.purpose if turn == 0 else f"repair {question.purpose}"
            call = await self._call(messages, question.form, purpose)
            calls.append(call)
            if call.answer is None:
                problem = f"the call failed: {call.error}"
                break
            try:
                return Outcome(question, question.understood(call.answer), "", tuple(calls))
            except ValueError as error:
                problem = str(error)
                messages = question.repair(call.answer, problem)
        return Outcome(question, None, problem, tuple(calls))

    async def _call(self, messages: Messages, form: dict[str, Any], purpose: str) -> Call:
        """One answer, from the log or by asking; equal prompts that are on their way are asked once."""
        key = prompt_hash(self.endpoint.asks_as, messages, form)
        while (other := self._on_the_way.get(key)) is not None:
            await other.wait()
        kept = self.log.answered(key)
        if kept is not None and kept.error in (None, self._cut):  # one that was cut may go on with more room
            return kept
        mine = self._on_the_way[key] = asyncio.Event()
        try:
            call = await self._attempts(key, messages, form, purpose)
        finally:
            mine.set()
            del self._on_the_way[key]
        self._watch(call)
        return call

    async def _attempts(self, key: str, messages: Messages, form: dict[str, Any], purpose: str) -> Call:
        most = estimate(self.endpoint, messages, form)
        blank = Call(key, self.endpoint.model, purpose, None, None)
        call = blank
        for attempt in range(self.endpoint.attempts):
            if attempt:
                await self._pace.back_off(attempt, self.endpoint.backoff_s)
            async with self._places:
                await self._pace.wait()
                await self._purse.take(most)
                try:
                    call = self.log.append(await self._try(blank, messages, form))
                finally:
                    await self._purse.give_back(most)
            if call.answer is not None or call.error == TOO_LONG:
                break
        return call

    async def _try(self, blank: Call, messages: Messages, form: dict[str, Any]) -> Call:
        import openai

        while True:
            dialect = self._dialect
            try:
                return await self._send(blank, dialect.request(self.endpoint, messages, form, blank.purpose))
            except openai.APIStatusError as error:
                if _code(error) & _TOO_LONG:
                    return replace(blank, error=TOO_LONG)
                if error.status_code not in REFUSED_FIELDS:
                    return self._refused(blank, error)
                simpler = dialect.without(error.param)
                if simpler is None:
                    return self._refused(blank, error)
                if self._dialect == dialect:
                    self._dialect = simpler
            except (openai.APIError, ValueError) as error:  # no connection, time-out, or an answer in another format
                return replace(blank, error=type(error).__name__)

    async def _send(self, blank: Call, body: dict[str, Any]) -> Call:
        completion = self.endpoint.api == "completion"
        room = self._client.completions if completion else self._client.chat.completions
        raw = await room.with_raw_response.create(**body)
        self._pace.note(raw.headers)
        reply: Any = raw.parse()
        choice = reply.choices[0] if reply.choices else None
        text = "" if choice is None else (choice.text if completion else choice.message.content) or ""
        cut = choice is not None and choice.finish_reason == "length"
        used = (reply.usage.prompt_tokens, reply.usage.completion_tokens) if reply.usage else (0, 0)
        return replace(
            blank,
            answer=text,
            error=self._cut if cut else None,
            prompt_tokens=used[0],
            completion_tokens=used[1],
            cost=self.endpoint.cost(*used),
        )

    def _refused(self, blank: Call, error: openai.APIStatusError) -> Call:
        """A call to try again, or the end. What the server wrote is not shown: it may hold the key or the prompt."""
        status, pause = error.status_code, self._pace.note(error.response.headers)
        call = replace(blank, error=f"HTTP {status}")
        where = self.endpoint.address
        if _code(error) & _NO_MONEY:
            message = f"{where} says that the account has no money left (HTTP {status}); all answers so far are kept"
        elif pause is not None and pause > LONGEST_WAIT_S:
            message = f"{where} asks to wait {pause:.0f} s (HTTP {status}); run the same command again then"
        elif status >= 500 or status in _WORTH_RETRYING:
            return call
        elif status in (401, 403):
            message = f"{where} refuses the key in {KEY_VARIABLE} (HTTP {status}); set one that this server accepts"
        else:
            message = (
                f"{where} refuses model {self.endpoint.model!r} with HTTP {status}; "
                f"look at --base-url, --llm and {KEY_VARIABLE}"
            )
        self.log.append(call)
        raise InputError(message) from None

    def _watch(self, call: Call) -> None:
        """End the job if nothing answers (any more)."""
        if call.answer is not None or call.error == TOO_LONG:
            self._answered_once, self._failures_in_a_row = True, 0
            return
        self._failures_in_a_row += 1
        unreachable = call.error in ("APIConnectionError", "APITimeoutError") and not self._answered_once
        if unreachable or self._failures_in_a_row >= MOST_FAILURES_IN_A_ROW:
            raise InputError(
                f"{self.endpoint.address} does not answer ({call.error}, {self.endpoint.attempts} tries); see that the "
                "server runs and look at --base-url. All answers so far are kept, the same command goes on from here"
            )

    # The event loop

    @property
    def _cut(self) -> str:
        return f"cut at {self.endpoint.max_tokens} tokens"

    def _submit(self, coroutine: Coroutine[Any, Any, _R]) -> Future[_R]:
        with self._lock:
            if self._loop is None:
                self._start()
            assert self._loop is not None
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def _start(self) -> None:
        loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=loop.run_forever, name="llm-client", daemon=True)
        self._thread.start()
        self._loop = loop

        async def prepare() -> None:
            self._client = open_async(self.endpoint, self._key)
            self._pace = Pace(self._sleep)
            self._places = asyncio.Semaphore(self.endpoint.concurrency)
            self._purse = Purse(self._budget, self.endpoint, self.log)
            self._on_the_way: dict[str, asyncio.Event] = {}

        asyncio.run_coroutine_threadsafe(prepare(), loop).result()


def open_async(endpoint: Endpoint, key: str) -> openai.AsyncOpenAI:
    """The library's client, with our own rules for retries, proxies and redirects."""
    import openai

    # A local server is reached directly: a proxy of the environment would carry the text off this machine. And no
    # server may send the text on to another one.
    transport = openai.DefaultAsyncHttpxClient(
        trust_env=not endpoint.is_local,
        follow_redirects=False,
        timeout=endpoint.timeout_s,
    )
    return openai.AsyncOpenAI(http_client=transport, **arguments(endpoint, key))


def arguments(endpoint: Endpoint, key: str) -> dict[str, Any]:
    """What both clients of the library are opened with."""
    found: dict[str, Any] = {"base_url": endpoint.address, "api_key": key, "max_retries": 0}
    found |= {"organization": None, "project": None, "timeout": endpoint.timeout_s}
    if endpoint.query:
        found["default_query"] = endpoint.query
    if endpoint.host.endswith(".azure.com"):  # Azure reads the key from a header of its own
        found["default_headers"] = {"api-key": key}
    return found


def _code(error: openai.APIStatusError) -> set[str]:
    """How the server names the fault."""
    return {str(error.code), str(error.type)}


__all__ = ["BudgetSpentError", "LLMClient", "MOST_FAILURES_IN_A_ROW", "open_async"]
