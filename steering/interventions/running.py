"""Telling hooks which batch is running: they follow ``model.generate`` and ``model.forward`` of one model object."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from activations.models.base import Generation, ModelInputs, ReportModel

_FOLLOWED = ("generate", "forward")

Method = Callable[..., Any]


class Follower(Protocol):
    """Is told when a batch starts and ends."""

    def begin(self, inputs: ModelInputs) -> None: ...

    def end(self, written: Sequence[Generation] | None) -> None:
        """The call came back; ``written`` is what ``generate`` returned, ``None`` after ``forward``."""

    def stop(self) -> None:
        """No batch is running any more, whether the call came back or raised."""


@contextmanager
def following(model: ReportModel, follower: Follower) -> Iterator[None]:
    """Let ``follower`` know of every ``generate`` and ``forward`` of ``model`` inside the ``with`` block.

    A ``forward`` that ``generate`` makes by itself belongs to the running batch and is not announced.
    """
    announced = _Announced(follower)
    with wrapped(model, dict.fromkeys(_FOLLOWED, announced.around)):
        yield


@contextmanager
def wrapped(model: ReportModel, around: Mapping[str, Callable[[Method], Method]]) -> Iterator[None]:
    """Inside the block, each named method of ``model`` is what ``around`` makes of it; always put back after."""
    before = {name: model.__dict__.get(name) for name in around}
    for name, wrap in around.items():
        setattr(model, name, wrap(getattr(model, name)))
    try:
        yield
    finally:
        for name, method in before.items():
            if method is None:
                delattr(model, name)
            else:
                setattr(model, name, method)


class _Announced:
    """Wraps the model's methods; the outermost running call is the one that counts."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._running = False

    def around(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(inputs: ModelInputs, *args: Any, **options: Any) -> Any:
            if self._running:
                return method(inputs, *args, **options)
            self._running = True
            try:
                self._follower.begin(inputs)
                result = method(inputs, *args, **options)
                self._follower.end(result if isinstance(result, list) else None)
            finally:
                self._running = False
                self._follower.stop()
            return result

        return call
