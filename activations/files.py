"""Writing files so that a reader sees the old one or the new one, never half of it."""

from __future__ import annotations

import ctypes
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows has no flock; there, two writers on one store are not told apart
    fcntl = None  # type: ignore[assignment]

#: A growing file is sent to the disk whenever so many bytes are new.
SEND_BYTES = 16 << 20
_SYNC_FILE_RANGE_WRITE = 2  # from linux/fs.h

RESUME_HINT = "What is finished stays: mend the cause (free space, write permission) and run the same command again."


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn whatever a writing library raises when the disk refuses into an ``OSError`` that names the file.

    HDF5 reports a failed write as OSError or RuntimeError, often without an errno, depending on where it noticed.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        message = f"cannot write {path}: {error}. {RESUME_HINT}"
        number = getattr(error, "errno", None)
        raise (OSError(number, message) if number else OSError(message)) from error


def flush_to_disk(path: Path) -> None:
    """Block until the contents of a file (or the names in a folder) are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> None:
    """Make a folder with all folders above it; afterwards their names survive a power cut."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    if os.name == "posix":
        for folder in missing:
            flush_to_disk(folder.parent)


def publish(temporary: Path, final: Path) -> None:
    """Give a finished temporary file its name; afterwards both contents and name survive a power cut."""
    flush_to_disk(temporary)
    temporary.replace(final)
    if os.name == "posix":
        flush_to_disk(final.parent)


def temporary_name(path: Path) -> Path:
    """The name under which ``path`` is written, in the same folder so that renaming is atomic."""
    return path.with_name(f".{path.name}.tmp")


def write_atomically(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data`` in one step.

    Raises:
        OSError: the disk refuses; the old file is as it was.
    """
    temporary = temporary_name(path)
    with storage_errors(path):
        try:
            temporary.write_bytes(data)
            publish(temporary, path)
        except BaseException:
            with suppress(OSError):  # the first error is the one to tell
                temporary.unlink(missing_ok=True)
            raise


@contextmanager
def exclusive(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold the lock file ``path``; the operating system lets go of it even if the process is killed.

    Yields:
        Whether the lock is held: always after waiting; without ``wait``, False if another process holds it.
    """
    with storage_errors(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        yield _lock(descriptor, wait)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, wait: bool) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def _send(descriptor: int) -> None:
    """Begin to write a file's new contents to the disk, where the system can be asked for it (Linux)."""
    if sys.platform == "linux" and (send := getattr(ctypes.CDLL(None), "sync_file_range", None)) is not None:
        send(ctypes.c_int(descriptor), ctypes.c_int64(0), ctypes.c_int64(0), ctypes.c_uint(_SYNC_FILE_RANGE_WRITE))


class PatientFile(io.FileIO):
    """A file for a library that cannot stand a failed write: the first failure is kept, later writes are dropped.

    HDF5 crashes the process (segmentation fault) when the disk is full while it holds unwritten metadata. Given this
    file it never sees the failure; whoever owns the file calls :meth:`check` before relying on what was written.

    What was written is sent to the disk every :data:`SEND_BYTES`, without waiting for it, so that little is left to do
    when the file is flushed at its end.
    """

    failure: OSError | None = None

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self._unsent = 0

    def write(self, data: Any) -> int:
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            while len(left) and self.failure is None:
                left = left[super().write(left) or 0 :]
        except OSError as error:
            self.failure = error
        self._unsent += size
        if self._unsent >= SEND_BYTES:
            _send(self.fileno())
            self._unsent = 0
        return size

    def truncate(self, size: int | None = None) -> int:
        try:
            if self.failure is None:
                return super().truncate(size)
        except OSError as error:
            self.failure = error
        return self.tell() if size is None else size

    def check(self) -> None:
        """Raise the first failure, if there was one."""
        if self.failure is not None:
            raise self.failure
