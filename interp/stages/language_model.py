"""The language model that a stage asks: where it is, how it is asked, and what it may spend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radiology.errors import InputError

if TYPE_CHECKING:
    from autointerp.explainers.llm import Asker

#: What a first try on this machine can digest in reasonable time.
_LOCAL_EXAMPLES, _LOCAL_ANSWER = 4, 200


@dataclass(frozen=True)
class Asking:
    """How a language model is asked; none of it changes what a good answer is.

    Attributes:
        local: start the small model that comes as a package, on this machine.
        completion: a model that completes text and was not trained to chat.
        batch: through the Batch API.
        examples: contexts shown, firing and quiet each; None is the default of the explainer.
        concurrency, attempts, timeout_s: as in :class:`radiology.llm.endpoint.Endpoint`.
        answer_tokens: limit of one answer.
        price_in, price_out: US dollars per million tokens.
        max_cost, max_tokens: budget of all calls in the record together.
    """

    local: bool = False
    completion: bool = False
    batch: bool = False
    examples: int | None = None
    concurrency: int = 8
    attempts: int = 5
    timeout_s: float = 120.0
    answer_tokens: int = 2048
    price_in: float | None = None
    price_out: float | None = None
    max_cost: float | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        if self.local and self.batch:
            raise InputError("--local, --batch: the model on this machine has no Batch API; leave one out")
        if self.examples is not None and self.examples < 1:
            raise InputError(f"--examples {self.examples}: show at least one")

    @property
    def shown(self) -> int | None:
        """Contexts to show, firing and quiet each."""
        return _LOCAL_EXAMPLES if self.local and self.examples is None else self.examples

    @contextmanager
    def asker(self, base_url: str | None, llm: str | None, allow_remote: bool, calls: Path) -> Iterator[Asker]:
        """A client of the model, whose calls are recorded in ``calls``.

        Raises:
            InputError: no model is named, or it cannot be used so.
        """
        from radiology.llm.batch import BatchClient
        from radiology.llm.budget import Budget
        from radiology.llm.calls import CallLog
        from radiology.llm.client import LLMClient
        from radiology.llm.endpoint import Endpoint
        from radiology.llm.local import local_endpoint

        options: dict[str, Any] = {"attempts": self.attempts, "price_in": self.price_in, "price_out": self.price_out}
        if self.completion:
            options["api"] = "completion"
        with ExitStack() as stack:
            if self.local:
                if base_url or llm:
                    raise InputError("--local starts a model of its own; leave --base-url and --llm out")
                local = {"api": "completion", "max_tokens": min(self.answer_tokens, _LOCAL_ANSWER)}
                endpoint = stack.enter_context(local_endpoint(**(options | local)))
            else:
                options |= {"concurrency": self.concurrency, "timeout_s": self.timeout_s}
                endpoint = Endpoint.from_environment(base_url, llm, max_tokens=self.answer_tokens, **options)
            kind: Any = BatchClient if self.batch else LLMClient
            budget = Budget(self.max_cost, self.max_tokens)
            yield stack.enter_context(kind(endpoint, CallLog(calls), allow_remote=allow_remote, budget=budget))
