"""The form of a request, and what this server and model turn out not to know of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from radiology.llm.calls import Messages
from radiology.llm.endpoint import Endpoint

#: How servers refuse a field of the request that they do not know.
REFUSED_FIELDS = frozenset({400, 422})


@dataclass(frozen=True)
class Dialect:
    """What may stand in a request.

    Attributes:
        structured: the schema goes along as ``response_format``; the prompt asks for JSON in any case.
        temperature: 0 is asked for; reasoning models refuse it.
        new_limit: the limit is called ``max_completion_tokens``, as reasoning models want it.
    """

    structured: bool = True
    temperature: bool = True
    new_limit: bool = False

    def request(self, endpoint: Endpoint, messages: Messages, form: dict[str, Any], purpose: str) -> dict[str, Any]:
        """The body of a request."""
        body: dict[str, Any] = {"model": endpoint.model}
        if self.temperature:
            body["temperature"] = 0.0
        if endpoint.api == "completion":
            return body | {"prompt": as_text(messages), "max_tokens": endpoint.max_tokens} | self._grammar(form)
        body["messages"] = list(messages)
        body["max_completion_tokens" if self.new_limit else "max_tokens"] = endpoint.max_tokens
        if self.structured:
            name = "_".join(purpose.split())[:60]
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": name, "schema": form, "strict": True},
            }
        return body

    def without(self, parameter: str | None) -> Dialect | None:
        """The dialect to go on with after a refusal of a field (if the server names it); ``None`` if none is left."""
        if parameter == "max_tokens" and not self.new_limit:
            return replace(self, new_limit=True)
        if parameter == "temperature" and self.temperature:
            return replace(self, temperature=False)
        return replace(self, structured=False) if self.structured else None

    def _grammar(self, form: dict[str, Any]) -> dict[str, Any]:
        """What llama.cpp and vLLM understand beside a plain prompt."""
        return {"extra_body": {"json_schema": form, "guided_json": form}} if self.structured else {}


def as_text(messages: Messages) -> str:
    """A conversation as one text that ends where the answer begins, for models that complete.

    Raises:
        ValueError: there are images in it.
    """
    parts = []
    for message in messages:
        if not isinstance(message["content"], str):
            raise ValueError("a completion model cannot be shown images; use a chat model that sees")
        lead = "Answer: " if message["role"] == "assistant" else ""
        parts.append(lead + message["content"])
    return "\n\n".join([*parts, "Answer:"])
