"""Where the pools of a live stream begin and end, so that it can be entered at any row without running what is before.

How many rows a study gives is known only once the model has read it. A stream therefore notes every pool it has formed:
one JSON line each, behind a header that says which stream it is. A line lost to a crash costs time, nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from radiology.errors import InputError

KIND, VERSION = "interp-live-pools", 1


@dataclass(frozen=True)
class PoolRecord:
    """One pool of a stream.

    Attributes:
        epoch: which it belongs to.
        first, stop: its first pass of that epoch, and the one behind its last.
        rows: rows that it gives.
        rows_by_role: the same by role name.
        left_by_norm: rows that were longer than the limit.
    """

    epoch: int
    first: int
    stop: int
    rows: int
    rows_by_role: Mapping[str, int] = field(default_factory=dict)
    left_by_norm: int = 0

    def following(self, passes: int) -> tuple[int, int]:
        """(epoch, first pass) of the pool behind this one."""
        return (self.epoch, self.stop) if self.stop < passes else (self.epoch + 1, 0)


class PoolLog:
    """The pools of a stream that were formed so far, in their order.

    Args:
        path: file to keep them in; None keeps them in memory.
        stream: what decides the order of the stream, as JSON values.
        passes: passes of an epoch.

    Raises:
        InputError: the file is of another stream.
    """

    def __init__(self, path: Path | None, stream: Mapping[str, Any], passes: int) -> None:
        self._path, self._passes = path, passes
        self.pools: list[PoolRecord] = []
        header = {"kind": KIND, "version": VERSION, "stream": dict(stream)}
        if path is None:
            return
        if path.is_file():
            self._read(path, header)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in [header, *map(asdict, self.pools)]))

    def start_of(self, number: int) -> tuple[int, int]:
        """(epoch, first pass) of a pool, all pools before it being known."""
        return self.pools[number - 1].following(self._passes) if number else (0, 0)

    def note(self, number: int, pool: PoolRecord) -> None:
        """Take down a pool that was formed.

        Raises:
            InputError: it was formed before and is not the same now.
        """
        if number < len(self.pools):
            if pool != self.pools[number]:
                raise InputError(
                    f"studies: epoch {pool.epoch} gave {self.pools[number].rows} rows from here before the training "
                    f"was stopped and now gives {pool.rows}; an image has changed or cannot be read any more. Put it "
                    "back, or start anew (--no-resume)"
                )
            return
        self.pools.append(pool)
        if self._path is not None:
            with self._path.open("a") as file:
                file.write(json.dumps(asdict(pool)) + "\n")

    def _read(self, path: Path, header: Mapping[str, Any]) -> None:
        lines = path.read_text(errors="replace").splitlines()
        if lines and _parsed(lines[0]) != header:
            raise InputError(
                f"{path}: the studies, or how they are read, are not those that this training began with. Give the "
                "same ones, or start anew (--no-resume)"
            )
        for line in lines[1:]:
            pool = _pool(_parsed(line))
            if pool is None or (pool.epoch, pool.first) != self.start_of(len(self.pools)):
                return  # cut off; what follows is formed again
            self.pools.append(pool)


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _pool(values: Any) -> PoolRecord | None:
    try:
        return PoolRecord(**values)
    except TypeError:
        return None
