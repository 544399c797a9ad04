"""Where a language model answers, what it costs, and whether texts of patients may go there."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, get_args
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from radiology.errors import InputError

KEY_VARIABLE = "OPENAI_API_KEY"
BASE_URL_VARIABLE = "OPENAI_BASE_URL"
MODEL_VARIABLE = "INTERP_LLM"
Api = Literal["chat", "completion"]
#: Terms under which texts and images may go to any server; all others stay on this machine unless a person says so.
FREE_TERMS = frozenset({"open", "phantom"})


@dataclass(frozen=True)
class Endpoint:
    """Where a language model answers.

    Attributes:
        base_url: such as ``http://127.0.0.1:8080/v1``; a query (Azure's ``?api-version=…``) goes with every request.
        model: the server's name for the model.
        api: ``chat``, or ``completion`` for models that were not trained to chat.
        attempts: tries of one call before it counts as failed.
        backoff_s: wait before the second try; doubled before each further one, with jitter.
        timeout_s: of one try.
        concurrency: calls at the same time.
        max_tokens: of one answer. Without a limit a small model repeats itself within the form asked for until its
            context is full.
        price_in, price_out: US dollars per million tokens, if costs are to be counted.

    The key comes from the environment variable OPENAI_API_KEY and from nowhere else; it is never written down.

    Raises:
        InputError: the address is no http(s) URL, no model is named, or a number is out of range.
    """

    base_url: str
    model: str
    api: Api = "chat"
    attempts: int = 5
    backoff_s: float = 1.0
    timeout_s: float = 120.0
    concurrency: int = 8
    max_tokens: int = 2048
    price_in: float | None = None
    price_out: float | None = None

    def __post_init__(self) -> None:
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
            raise InputError(
                "base_url: give an address such as http://127.0.0.1:8080/v1, without user and password; "
                f"a key goes into {KEY_VARIABLE}"
            )
        if not self.model.strip():
            raise InputError("model: name the language model as its server does")
        if self.api not in get_args(Api):
            raise InputError(f"api: {self.api!r} is not one of {list(get_args(Api))}")
        for name in ("attempts", "concurrency", "max_tokens"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: {getattr(self, name)}; there must be at least one")
        if (self.price_in is None) != (self.price_out is None):
            raise InputError("price_in, price_out: give both, in US dollars per million tokens, or neither")
        if min(self.price_in or 0.0, self.price_out or 0.0) < 0:
            raise InputError("price_in, price_out: a price is not negative")

    @staticmethod
    def from_environment(base_url: str | None = None, model: str | None = None, **more: object) -> Endpoint:
        """The one that is given, or else named by OPENAI_BASE_URL and INTERP_LLM; ``more`` are other attributes."""
        base_url = base_url or os.environ.get(BASE_URL_VARIABLE)
        model = model or os.environ.get(MODEL_VARIABLE)
        if not base_url or not model:
            raise InputError(
                "a language model needs a server and a name: give --base-url and --llm, e.g. --base-url "
                f"http://127.0.0.1:8080/v1 --llm my-model, or set {BASE_URL_VARIABLE} and {MODEL_VARIABLE}"
            )
        return Endpoint(base_url, model, **more)  # type: ignore[arg-type]

    @property
    def address(self) -> str:
        """The base URL without its query."""
        return urlunsplit(urlsplit(self.base_url)._replace(query="", fragment=""))

    @property
    def query(self) -> dict[str, str]:
        """The query of the base URL."""
        return dict(parse_qsl(urlsplit(self.base_url).query))

    @property
    def asks_as(self) -> str:
        """Model and way of asking, as it goes into the hashes of prompts."""
        return self.model if self.api == "chat" else f"{self.model} ({self.api})"

    @property
    def host(self) -> str:
        return urlsplit(self.base_url).hostname or ""

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine: ``localhost`` or a loopback address. Other names are not looked up."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        """US dollars, None without prices."""
        if self.price_in is None or self.price_out is None:
            return None
        return (prompt_tokens * self.price_in + completion_tokens * self.price_out) / 1e6

    def key(self) -> str:
        """The key of the environment; a server on this machine needs none.

        Raises:
            InputError: the server is elsewhere and there is no key.
        """
        key = os.environ.get(KEY_VARIABLE, "")
        if not key and not self.is_local:
            raise InputError(f"{self.address} is not on this machine and {KEY_VARIABLE} is not set")
        return key or "none"


def require_terms(endpoint: Endpoint, terms: Collection[str], allow_remote: bool) -> None:
    """Refuse to send texts or images off this machine if the terms of some study forbid it.

    Args:
        terms: of all studies that the texts are from, as :attr:`radiology.study.Study.terms`.
        allow_remote: a person has said that they may go there.

    Raises:
        InputError: some terms are not free, the server is elsewhere, and nobody has allowed it.
    """
    bound = sorted(set(terms) - FREE_TERMS)
    if endpoint.is_local or allow_remote or not bound:
        return
    raise InputError(
        f"the studies are {' and '.join(bound)} and {endpoint.address} is not on this machine; use a local server, or "
        "give --allow-remote if the data use agreement and the contract with the server's operator permit it"
    )
