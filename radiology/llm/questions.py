"""A question with the form its answer must have, and what came of asking it."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from radiology.llm.calls import Call, Messages

T = TypeVar("T")
#: Characters of a bad answer that are shown to the model again; a runaway answer would fill its context.
_SHOWN_AGAIN = 2000
_MOST_PROBLEM = 500


@dataclass(frozen=True)
class Question(Generic[T]):
    """What to ask.

    Attributes:
        messages: of the conversation.
        form: JSON schema of the answer.
        read: makes the value of the parsed JSON; ValueError, TypeError or KeyError say what is wrong with it.
        purpose: a few words for the record of calls; they must not hold texts of studies.
        key: for the caller, to know the answer by.
        terms: of the studies that texts and images in the messages are from; the strictest unless told.
    """

    messages: Messages
    form: dict[str, Any]
    read: Callable[[Any], T]
    purpose: str
    key: Hashable = None
    terms: Collection[str] = ("credentialed",)

    @staticmethod
    def of_model(model: type[BaseModel], messages: Messages, purpose: str, **more: Any) -> Question[Any]:
        """A question whose answer is an object of a pydantic model."""
        return Question(messages, strict_schema(model), model.model_validate, purpose, **more)

    def understood(self, answer: str) -> T:
        """The value of an answer; ValueError says in one line what is wrong with it."""
        try:
            return self.read(json_in(answer))
        except ValidationError as error:
            # Without the input: it is shown to the model anyway, and a table should not hold it twice.
            problems = [f"{'.'.join(map(str, one['loc'])) or 'answer'}: {one['msg']}" for one in error.errors()]
            raise ValueError("; ".join(problems)[:_MOST_PROBLEM]) from error
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(" ".join(str(error).split())[:_MOST_PROBLEM]) from error

    def repair(self, answer: str, problem: str) -> Messages:
        """The conversation going on with what was wrong with the answer."""
        request = f"That is not valid ({problem}). Answer again with the JSON object asked for and nothing else."
        again = {"role": "assistant", "content": answer[:_SHOWN_AGAIN]}
        return [*self.messages, again, {"role": "user", "content": request}]


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """The value of an answer, or ``None`` with the problem; and the one or two calls behind it."""

    question: Question[T]
    value: T | None
    problem: str = ""
    calls: tuple[Call, ...] = field(default=())

    @property
    def prompt_tokens(self) -> int:
        return sum(call.prompt_tokens for call in self.calls)

    @property
    def completion_tokens(self) -> int:
        return sum(call.completion_tokens for call in self.calls)

    @property
    def cost(self) -> float | None:
        """US dollars; ``None`` where prices were not known."""
        costs = [call.cost for call in self.calls]
        return None if not costs or any(cost is None for cost in costs) else sum(cost or 0.0 for cost in costs)


def json_in(text: str) -> Any:
    """The JSON object in an answer, whatever stands around it."""
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        raise ValueError("there is no JSON object in the answer")
    return json.loads(text[start : end + 1])


@cache
def strict_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of a pydantic model for structured output: all fields required, no others, no references.

    It is made once a model; do not change it.
    """
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})
    strict: dict[str, Any] = _strict(schema, definitions)
    return strict


#: Servers with strict forms refuse these; pydantic checks them afterwards.
_LEFT_OUT = frozenset({"title", "default", "minLength", "maxLength", "description"})


def _strict(node: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(node, list):
        return [_strict(one, definitions) for one in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _strict(definitions[node["$ref"].rpartition("/")[2]], definitions)
    found = {
        key: {name: _strict(one, definitions) for name, one in value.items()} if key == "properties" else value
        for key, value in node.items()
        if key not in _LEFT_OUT
    }
    found = {key: value if key == "properties" else _strict(value, definitions) for key, value in found.items()}
    if found.get("type") == "object":
        found |= {"required": list(found.get("properties", {})), "additionalProperties": False}
    return found
