"""One writer at a time in a run directory."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from radiology.errors import InputError

LOCK_NAME = ".lock"


@contextmanager
def writing(directory: Path, what: str) -> Iterator[None]:
    """Hold the run directory for writing while the block runs.

    The operating system gives the lock back when the process ends, however it ends: there are no stale locks, and the
    file ``.lock`` that stays behind means nothing by itself.

    Raises:
        InputError: somebody else is writing; the message says who and since when.
    """
    descriptor = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{directory} is being written by {_owner(descriptor)}. Wait until it ends, stop it, "
                "or choose another --run."
            ) from None
        note = {"pid": os.getpid(), "what": what, "since": datetime.now(UTC).isoformat(timespec="seconds")}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(note).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _owner(descriptor: int) -> str:
    try:
        note = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {note['pid']} ({note['what']}, since {note['since']})"
    except (ValueError, KeyError, TypeError):  # caught between lock and note: all we know is that there is one
        return "another process"
