"""Talking to a language model through any server that speaks the OpenAI chat format."""

from __future__ import annotations

import ipaddress
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import openai

from autointerp.explainers.llm_calls import Call, CallLog, Messages, hash_prompt
from radiology.errors import InputError

KEY_VARIABLE = "OPENAI_API_KEY"
BASE_URL_VARIABLE = "OPENAI_BASE_URL"
MODEL_VARIABLE = "INTERP_LLM"
#: Answers that another try may better; all other refusals end the job.
_WORTH_RETRYING = frozenset({408, 409, 425, 429})


@dataclass(frozen=True)
class Endpoint:
    """Where a language model answers.

    Attributes:
        base_url: such as ``http://127.0.0.1:8080/v1``.
        model: the server's name for the model.
        attempts: tries of one call before it counts as failed.
        backoff_s: wait before the second try; doubled before each further one.
        timeout_s: of one try.
        price_in, price_out: US dollars per million tokens, if costs are to be counted.

    The key comes from the environment variable OPENAI_API_KEY and from nowhere else; it is never written down.

    Raises:
        InputError: the address is no http(s) URL, or no model is named.
    """

    base_url: str
    model: str
    attempts: int = 3
    backoff_s: float = 1.0
    timeout_s: float = 120.0
    price_in: float | None = None
    price_out: float | None = None

    def __post_init__(self) -> None:
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(f"base_url: {self.base_url!r} is no address such as http://127.0.0.1:8080/v1")
        if parts.username or parts.password:
            raise InputError(f"base_url: leave user and password out of the address; set {KEY_VARIABLE} instead")
        if not self.model.strip():
            raise InputError("model: name the language model as its server does")
        if self.attempts < 1:
            raise InputError(f"attempts: {self.attempts}; there must be at least one")

    @staticmethod
    def from_environment(base_url: str | None = None, model: str | None = None) -> Endpoint:
        """The endpoint that is given, or else named by OPENAI_BASE_URL and INTERP_LLM."""
        base_url = base_url or os.environ.get(BASE_URL_VARIABLE)
        model = model or os.environ.get(MODEL_VARIABLE)
        if not base_url or not model:
            raise InputError(
                "the llm explainer needs a server and a model: give --base-url and --llm, or set "
                f"{BASE_URL_VARIABLE} and {MODEL_VARIABLE}"
            )
        return Endpoint(base_url, model)

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine: ``localhost`` or a loopback address. Other names are not looked up."""
        host = urlsplit(self.base_url).hostname or ""
        if host == "localhost":
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        """US dollars, None without prices."""
        if self.price_in is None or self.price_out is None:
            return None
        return (prompt_tokens * self.price_in + completion_tokens * self.price_out) / 1e6


class LLMClient:
    """Asks a language model, writes every call down, and asks nothing twice.

    Args:
        endpoint: where to ask.
        log: where calls are written down and answers of earlier runs are found.
        sleep: for tests.
    """

    def __init__(self, endpoint: Endpoint, log: CallLog, sleep: Callable[[float], None] = time.sleep) -> None:
        self.endpoint, self._log, self._sleep = endpoint, log, sleep
        key = os.environ.get(KEY_VARIABLE, "")
        if not key and not endpoint.is_local:
            raise InputError(f"{endpoint.base_url} is not on this machine and {KEY_VARIABLE} is not set")
        # A local server is reached directly: a proxy of the environment would carry the text off this machine. And no
        # server may send the text on to another one.
        transport = openai.DefaultHttpxClient(
            trust_env=not endpoint.is_local, follow_redirects=False, timeout=endpoint.timeout_s
        )
        self._client = openai.OpenAI(
            base_url=endpoint.base_url, api_key=key or "none", max_retries=0, http_client=transport
        )

    def ask(self, messages: Messages, purpose: str) -> Call:
        """The answer to a prompt, from the log if it is there.

        Returns:
            A call; after ``attempts`` failures one whose ``error`` says why.

        Raises:
            InputError: the server refuses the request itself (wrong key, model or address), so that no try will do.
        """
        prompt_hash = hash_prompt(self.endpoint.model, messages)
        call = self._log.answered(prompt_hash)
        for attempt in range(self.endpoint.attempts):
            if call is not None and call.error is None:
                break
            if attempt:
                self._sleep(self.endpoint.backoff_s * 2 ** (attempt - 1))
            call = self._try(prompt_hash, messages, purpose)
        assert call is not None  # attempts is at least 1
        return call

    def _try(self, prompt_hash: str, messages: Messages, purpose: str) -> Call:
        model = self.endpoint.model
        try:
            answer = self._client.chat.completions.create(
                model=model,
                messages=list(messages),  # type: ignore[arg-type]
                temperature=0.0,
            )
            text = answer.choices[0].message.content if answer.choices else None
        except openai.APIStatusError as error:
            call = self._log.append(prompt_hash, model, purpose, error=f"HTTP {error.status_code}")
            if error.status_code < 500 and error.status_code not in _WORTH_RETRYING:
                raise InputError(
                    f"{self.endpoint.base_url} refuses model {model!r} with HTTP {error.status_code}; "
                    f"look at --base-url, --llm and {KEY_VARIABLE}"
                ) from error
            return call
        except (openai.APIError, ValueError) as error:  # no connection, timeout, or an answer in another format
            return self._log.append(prompt_hash, model, purpose, error=type(error).__name__)
        used = answer.usage
        return self._log.append(
            prompt_hash,
            model,
            purpose,
            answer=text or "",
            prompt_tokens=used.prompt_tokens if used else 0,
            completion_tokens=used.completion_tokens if used else 0,
        )
