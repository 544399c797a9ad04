"""The pass over the store: cut into parts that several processes share and that a stopped one need not do again.

Everything lies in a folder beside the tables until they are written: the segments of each part, and states, each of
which says which parts it has counted. Counting does not depend on order, so whoever goes on does the parts that no
state has, and in the end all states are added up. A state is written every :data:`SECONDS_BETWEEN_STATES`; what a
killed process had counted since is done again.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from activations.files import publish, storage_errors, temporary_name, write_atomically
from autointerp.segments import part_files

#: Chunks of the store in one part.
CHUNKS_PER_PART = 4
SECONDS_BETWEEN_STATES = 60.0
_PLAN = "plan.json"


class Peers(Protocol):
    """Processes that do a pass together; ``interp.ranks.Ranks`` is one."""

    rank: int
    world: int

    def gather(self, value: Any) -> list[Any]:
        """What each process gave, by rank, once all have come here; values have a JSON form."""


class Alone:
    """One process that waits for nobody."""

    rank, world = 0, 1

    def gather(self, value: Any) -> list[Any]:
        return [value]


class Countable(Protocol):
    """Something that counts, in any order, and joins with what others have counted."""

    @property
    def state(self) -> Mapping[str, np.ndarray]: ...

    def merge(self, state: Mapping[str, np.ndarray]) -> None: ...


@dataclass(frozen=True)
class Folder:
    """The folder of an unfinished pass."""

    path: Path

    def begin(self, plan: Mapping[str, Any]) -> list[int]:
        """Keep what was done under the same plan, remove what was done under another; gives the parts done."""
        there = self.path / _PLAN
        written = json.dumps(plan, sort_keys=True)
        if there.is_file() and there.read_text() == written:
            done = sorted(part for state in self.states() for part in _parts_of(state))
            if all(file.is_file() for part in done for file in part_files(self.path, part)):
                return done
        self.remove()
        self.path.mkdir(parents=True)
        write_atomically(there, written.encode())
        return []

    def states(self) -> list[Path]:
        return sorted(self.path.glob("state-*.npz"))

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


def stream(
    folder: Folder,
    plan: Mapping[str, Any],
    n_parts: int,
    counted: Mapping[str, Countable],
    do_parts: Callable[[Sequence[int]], Iterator[int]],
    peers: Peers,
) -> None:
    """Do the parts 0 … n_parts − 1 that are left, together with the peers; then process 0 has counted all of them.

    Args:
        plan: what decides the result; what was done under another plan is not used.
        counted: what counts, by name; empty at the beginning.
        do_parts: does the given parts in order and yields each when its files are written and all of it is counted.
    """
    begun: dict[str, Any] = {}
    if peers.rank == 0:
        done = folder.begin(plan)
        begun = {"done": done, "attempt": 1 + max((_attempt_of(state) for state in folder.states()), default=-1)}
    begun = peers.gather(begun)[0]
    left = sorted(set(range(n_parts)) - set(begun["done"]))[peers.rank :: peers.world]
    own = folder.path / f"state-{begun['attempt']:04d}-{peers.rank:04d}.npz"
    mine: list[int] = []
    last = time.monotonic()
    for part in do_parts(left):
        mine.append(part)
        if len(mine) == len(left) or time.monotonic() - last >= SECONDS_BETWEEN_STATES:
            _write_state(own, mine, counted)
            last = time.monotonic()
    peers.gather(True)
    if peers.rank == 0:
        for state in folder.states():
            if state != own:
                _merge(state, counted)


def _write_state(path: Path, parts: Sequence[int], counted: Mapping[str, Countable]) -> None:
    temporary = temporary_name(path)
    arrays: dict[str, Any] = {
        f"{name}.{key}": array for name, one in counted.items() for key, array in one.state.items()
    }
    with storage_errors(path):
        with temporary.open("wb") as file:
            np.savez(file, parts=np.array(parts), **arrays)
        publish(temporary, path)


def _merge(path: Path, counted: Mapping[str, Countable]) -> None:
    with np.load(path) as file:
        for name, one in counted.items():
            one.merge(_Lazily(file, name))


class _Lazily(dict):
    """Arrays of an open state, each read when it is asked for."""

    def __init__(self, file: Any, name: str) -> None:
        super().__init__()
        self._file, self._name = file, name

    def __getitem__(self, key: str) -> np.ndarray:
        return self._file[f"{self._name}.{key}"]


def _parts_of(state: Path) -> list[int]:
    with np.load(state) as file:
        return [int(part) for part in file["parts"]]


def _attempt_of(state: Path) -> int:
    return int(state.stem.split("-")[1])
