"""Writing a store in a thread of its own, while the model runs the next batch."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from types import TracebackType
from typing import Any, Self

import torch

from activations.writer import StoreWriter, StudyRows

DEPTH = 4


class WriteBehind:
    """Hands studies to a :class:`StoreWriter` in one thread, in the order in which they are added.

    Number format, norms and HDF5 are that thread's work; for checksum and fsync the writer has a thread of its own.
    :meth:`add` only copies the rows into memory of their own (from a GPU without waiting for it), so the model may
    overwrite its buffers afterwards. It waits if ``depth`` batches are not yet written, and :attr:`waited` says how
    long in all.

    It holds at most ``depth + 2`` batches of kept rows in the model's number format: one being copied, ``depth``
    waiting, one being written. To that comes what the writer holds: two studies as stored, and less than one chunk
    (about 1 MiB) of every site. Rows from a GPU lie in pinned memory, of which PyTorch takes powers of two.

    An error of the writer is raised, as it is, by the next :meth:`add`, :meth:`drain` or :meth:`finish`, and on leaving
    the block. Shards finished before stay, as they do when the block is left by an error or Ctrl-C: what was added is
    then still written, which a second Ctrl-C cuts short after the batch in hand.

    Args:
        writer: an entered writer; it is this object's alone until the block is left or :meth:`drain` has returned.
        depth: batches that may wait.
    """

    def __init__(self, writer: StoreWriter, depth: int = DEPTH) -> None:
        if depth < 1:
            raise ValueError(f"depth: {depth}; at least one batch must be able to wait")
        self.writer, self.depth = writer, depth
        #: Seconds in which :meth:`add` had to wait since the disk did not keep up.
        self.waited = 0.0
        self._waiting: deque[_Batch] = deque()
        self._changed = threading.Condition()
        self._busy = self._closed = self._ended = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._write_all, name="store-writer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        interrupted = self._end()
        if error is None:
            self._raise_error()
            if interrupted is not None:
                raise interrupted

    def add(self, studies: Sequence[StudyRows]) -> None:
        """Have studies written, in ascending order of their numbers; waits only if the queue is full."""
        batch = _Batch.of(studies)
        with self._changed:
            began = perf_counter()
            if len(self._waiting) >= self.depth:
                self._changed.wait_for(lambda: len(self._waiting) < self.depth or self._ended)
                self.waited += perf_counter() - began
            self._raise_error()
            if self._closed:
                raise RuntimeError("studies were added after the writing had ended")
            self._waiting.append(batch)
            self._changed.notify_all()

    def drain(self) -> None:
        """Wait until everything that was added has been handed to the writer; the writer may then be looked at."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or not (self._waiting or self._busy))
            self._raise_error()

    def finish(self) -> bool:
        """Write what waits and close the last shard; see :meth:`StoreWriter.finish`. Nothing can be added after it."""
        self.drain()
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        return self.writer.finish()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _write_all(self) -> None:
        try:
            while (batch := self._next()) is not None:
                self.writer.add(batch.arrived())
                del batch  # its memory goes before the next one is waited for
        except BaseException as error:  # whatever it is, it is the caller's to know
            self._error = error
        finally:
            with self._changed:
                self._waiting.clear()
                self._busy, self._ended = False, True
                self._changed.notify_all()

    def _next(self) -> _Batch | None:
        """The next batch; None when there will be none."""
        with self._changed:
            self._busy = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if not self._waiting:
                return None
            self._busy = True
            batch = self._waiting.popleft()
            self._changed.notify_all()
            return batch

    def _end(self) -> KeyboardInterrupt | None:
        """Let the thread write what waits and end, whatever happens: the writer must not be closed under its hands."""
        interrupted: KeyboardInterrupt | None = None
        while True:
            try:
                with self._changed:
                    self._closed = True
                    if interrupted is not None:
                        self._waiting.clear()
                    self._changed.notify_all()
                    # not Thread.join: interrupted, it takes the thread for ended (Python 3.11) while it still writes
                    self._changed.wait_for(lambda: self._ended)
                return interrupted
            except KeyboardInterrupt as error:
                interrupted = error


@dataclass(frozen=True)
class _Batch:
    """Studies whose rows are on their way to memory of their own on the CPU."""

    studies: tuple[StudyRows, ...]
    events: tuple[Any, ...]

    @staticmethod
    def of(studies: Sequence[StudyRows]) -> _Batch:
        owned = tuple(replace(study, rows=_owned(study.rows)) for study in studies)
        devices = {tensor.device for study in studies for tensor in study.rows.values() if tensor.is_cuda}
        return _Batch(owned, tuple(_recorded(device) for device in devices))

    def arrived(self) -> tuple[StudyRows, ...]:
        """The studies, once their rows are there."""
        for event in self.events:
            event.synchronize()
        return self.studies


def _owned(rows: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copies on the CPU. From a GPU they go into pinned memory, behind the work that is queued there already."""
    return {site: tensor.detach().to("cpu", copy=True, non_blocking=tensor.is_cuda) for site, tensor in rows.items()}


def _recorded(device: torch.device) -> Any:
    """An event behind the copies that were just asked for."""
    event = torch.cuda.Event()
    event.record(torch.cuda.current_stream(device))
    return event
