"""Several processes that do one command together, as ``torchrun`` starts them, and what they tell each other.

They exchange a few lists and signs of life, for which the key-value store that every ``torchrun`` keeps for its
processes is enough: JSON goes through it. Only those that exchange tensors set up a :meth:`~Ranks.process_group`.
Waiting is never blind: a process that failed, or gave no sign of life for :data:`PATIENCE` seconds, ends the waiting of
the others.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from interp import failures
from interp.progress import Progress
from radiology.errors import InputError

if TYPE_CHECKING:
    from torch.distributed import Store

#: Seconds without a sign of life after which a process is given up; the longest step is one batch, or reading weights.
PATIENCE = 1800.0
#: Seconds between two signs of life, and between two looks at a process that is waited for.
BEAT, POLL = 1.0, 0.05
#: Seconds that a failed process waits for process 0 to note the failure in ``run.json``.
GRACE = 5.0
_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_ALIVE, _FAILURE, _NOTED, _LEFT = "alive", "failure", "noted", "left"


class PeerError(Exception):
    """Another process has failed and says so itself; ``status`` is what it ends with."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Ranks:
    """This process among those that do the same command; one that is alone waits for nobody.

    Attributes:
        rank, world: number of this process, from 0, and how many there are.
        local: its number among those on the same machine.
    """

    def __init__(
        self, rank: int = 0, world: int = 1, local: int = 0, store: Store | None = None, patience: float = PATIENCE
    ) -> None:
        if world > 1 and store is None:
            raise ValueError("several processes need a store to meet in")
        self.rank, self.world, self.local, self._patience = rank, world, local, patience
        self._kept = store
        self._steps = self._beats = 0
        self._last_beat = float("-inf")

    @staticmethod
    def here(environment: Mapping[str, str] = os.environ) -> Ranks:
        """The place that the environment gives this process; alone unless ``torchrun`` or its like started several.

        Raises:
            InputError: the environment is not that of ``torchrun``, or nobody answers at the address that it names.
        """
        if not all(name in environment for name in _VARIABLES):
            return Ranks()
        try:
            rank, world = int(environment["RANK"]), int(environment["WORLD_SIZE"])
            local = int(environment.get("LOCAL_RANK", rank))
        except ValueError:
            raise InputError(
                "RANK, WORLD_SIZE, LOCAL_RANK in the environment: not numbers; start with torchrun"
            ) from None
        return Ranks(rank, world, local, _meet(environment)) if world > 1 else Ranks()

    @property
    def alone(self) -> bool:
        return self.world == 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that holds the lock, writes the run directory's own files and speaks."""
        return self.rank == 0

    def device(self, name: str) -> str:
        """``cuda`` is a GPU of its own for each process on a machine; other names stay as they are."""
        return f"cuda:{self.local}" if name == "cuda" and not self.alone else name

    def gather(self, value: Any) -> list[Any]:
        """What each process gave, by rank, once all have come here; values must have a JSON form."""
        if self.alone:
            return [value]
        self._steps += 1
        keys = [f"step-{self._steps}/{rank}" for rank in range(self.world)]
        self._set(keys[self.rank], value)
        self._wait(keys)
        return [self._get(key) for key in keys]

    def from_first(self, value: Any = None) -> Any:
        """What process 0 gave; the others give nothing and wait for it."""
        if self.alone:
            return value
        self._steps += 1
        key = f"step-{self._steps}"
        if self.leads:
            self._set(key, value)
        self._wait([key])
        return self._get(key)

    def leave(self) -> None:
        """Say that this process has done its part; see :meth:`wait_for_others`."""
        if not self.alone:
            self._set(f"{_LEFT}/{self.rank}", True)

    def wait_for_others(self) -> None:
        """Wait until all processes but this one have done their part."""
        if not self.alone:
            ranks = [rank for rank in range(self.world) if rank != self.rank]
            self._wait([f"{_LEFT}/{rank}" for rank in ranks])

    def beat(self) -> None:
        """Give a sign of life, and end here if another process has failed; cheap, to be called often.

        Raises:
            PeerError: another process has failed.
            KeyboardInterrupt: another process was stopped.
        """
        if self.alone or time.monotonic() - self._last_beat < BEAT:
            return
        self._last_beat = time.monotonic()
        self._beats += 1
        self._set(f"{_ALIVE}/{self.rank}", self._beats)
        if self._has(_FAILURE):
            failure = self._get(_FAILURE)
            if failure["status"] == failures.STOPPED:
                raise KeyboardInterrupt
            raise PeerError(f"process {failure['rank']}: {failure['message']}", failure["status"])

    def watched(self, progress: Progress) -> Progress:
        """The same progress, each call of which is a sign of life."""

        def beating(done: int, total: int, note: str = "") -> None:
            self.beat()
            progress(done, total, note)

        return progress if self.alone else beating

    @contextmanager
    def process_group(self, device: str) -> Iterator[None]:
        """The default group of ``torch.distributed`` while the block runs: gloo, and NCCL for tensors on a GPU."""
        import torch.distributed as dist

        backend = "cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo"
        if device.startswith("cuda"):
            import torch

            torch.cuda.set_device(device)
        dist.init_process_group(
            backend, store=dist.PrefixStore("tensors", self._store), rank=self.rank, world_size=self.world
        )
        try:
            yield
        finally:
            dist.destroy_process_group()

    @contextmanager
    def one_voice(self) -> Iterator[None]:
        """Of all processes that fail in the block, let the first raise its error; the others end with its status.

        Raises:
            SystemExit: another process has failed before and says why.
        """
        try:
            yield
        except (Exception, KeyboardInterrupt) as error:
            if self.alone or (not isinstance(error, PeerError) and self._fails_first(error)):
                raise
            if self.leads:
                self._set_if_reached(_NOTED, True)
            status = error.status if isinstance(error, PeerError) else failures.describe(error)[1]
            raise SystemExit(status) from None

    def _fails_first(self, error: BaseException) -> bool:
        message, status = failures.describe(error)
        try:
            if self._store.add(f"{_FAILURE}s", 1) > 1:
                return False
            self._set(_FAILURE, {"rank": self.rank, "status": status, "message": message})
            start = time.monotonic()
            while not self.leads and time.monotonic() - start < GRACE and not self._has(_NOTED):
                time.sleep(POLL)
        except (RuntimeError, InputError):  # the store is gone, and with it the other processes
            return self.leads
        return True

    def _wait(self, keys: Sequence[str]) -> None:
        """Until all keys are there. A key ends in the rank that sets it; one that does not is set by process 0."""
        pulses: list[int] = []
        since = time.monotonic()
        while not self._has(*keys):
            self.beat()
            late = [_setter(key) for key in keys if not self._has(key)]
            now = [self._get(f"{_ALIVE}/{rank}") if self._has(f"{_ALIVE}/{rank}") else 0 for rank in late]
            if now != pulses:
                pulses, since = now, time.monotonic()
            elif time.monotonic() - since > self._patience:
                raise InputError(
                    f"process {late[0]} of {self.world} has given no sign of life for {self._patience:.0f} s. "
                    "End all of them and run the same command: it goes on."
                )
            time.sleep(POLL)

    @property
    def _store(self) -> Store:
        if self._kept is None:
            raise RuntimeError("one process alone has no store")
        return self._kept

    def _has(self, *keys: str) -> bool:
        return bool(_reached(lambda: self._store.check(list(keys))))

    def _get(self, key: str) -> Any:
        return json.loads(_reached(lambda: self._store.get(key)))

    def _set(self, key: str, value: Any) -> None:
        text = json.dumps(value)
        _reached(lambda: self._store.set(key, text))

    def _set_if_reached(self, key: str, value: Any) -> None:
        try:
            self._set(key, value)
        except InputError:
            return  # nobody is left to be told


def _setter(key: str) -> int:
    number = key.rpartition("/")[2]
    return int(number) if number.isdigit() else 0


def _meet(environment: Mapping[str, str]) -> Store:
    from torch.distributed import PrefixStore, rendezvous

    try:
        store, _, _ = next(iter(rendezvous("env://")))
    except (RuntimeError, ValueError) as error:
        place = f"{environment['MASTER_ADDR']}:{environment['MASTER_PORT']}"
        first_line = (str(error).splitlines() or [""])[0]
        raise InputError(f"the processes cannot meet at {place}: {first_line}. Start them with torchrun.") from None
    return PrefixStore("interp", store)


def _reached(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except RuntimeError:
        raise InputError(
            "the processes have lost each other: the one that started them has ended. Run the same command: it goes on."
        ) from None
