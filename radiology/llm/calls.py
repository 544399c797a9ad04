"""The record of calls: one JSON line a call, appended and never changed.

A line holds the hash of the prompt, not the prompt: the texts of patients stay where they are. An answer that is
written down is never asked for again.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO

from radiology.errors import InputError
from radiology.paths import shown

#: ``role`` and ``content``; the content is text, or parts (text, image_url) for models that see.
Messages = Sequence[dict[str, Any]]
#: The file reaches the disk itself at least this often; a killed process loses nothing, a power cut this much.
_SYNC_EVERY_S = 1.0


@dataclass(frozen=True)
class Call:
    """One call. ``error`` is ``None`` when a whole answer came, whatever it was worth; one that was cut has both.

    ``cost`` is in US dollars, ``None`` without prices; ``time`` in seconds since 1970.
    """

    prompt_hash: str
    model: str
    purpose: str
    answer: str | None
    error: str | None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    time: float = 0.0
    cost: float | None = None


class CallLog:
    """The calls of a job: in memory, and in a file where one is named. Threads may share it.

    Args:
        path: the file; it and its folder are made by the first call. A line that a killed process left half written is
            passed over, its call counts as never made.

    Raises:
        InputError: another line is damaged.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.spent_cost, self.spent_tokens = 0.0, 0
        self._answers: dict[str, Call] = {}
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self._synced = 0.0
        for call in _read(path) if path else ():
            self._keep(call)

    def answered(self, prompt_hash: str) -> Call | None:
        """The answer to a prompt, whole or cut, if there is one."""
        return self._answers.get(prompt_hash)

    def append(self, call: Call) -> Call:
        """Write a call down, stamped with the time; it survives the death of this process when this returns."""
        call = Call(**(asdict(call) | {"time": round(time.time(), 3)}))
        line = json.dumps(asdict(call), ensure_ascii=False) + "\n"
        with self._lock:
            if self.path is not None:
                self._write(self.path, line.encode("utf-8", "backslashreplace"))
            self._keep(call)
        return call

    def close(self) -> None:
        """Bring the file to the disk. A later call opens it again."""
        with self._lock:
            if self._file is not None:
                os.fsync(self._file.fileno())
                self._file.close()
                self._file = None

    def _keep(self, call: Call) -> None:
        self.spent_cost += call.cost or 0.0
        self.spent_tokens += call.prompt_tokens + call.completion_tokens
        if call.answer is not None:
            self._answers[call.prompt_hash] = call

    def _write(self, path: Path, line: bytes) -> None:
        try:
            if self._file is None:
                self._file = _open_at_line_start(path)
            self._file.write(line)
            self._file.flush()
            if time.monotonic() - self._synced >= _SYNC_EVERY_S:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()
        except OSError as error:
            raise OSError(
                error.errno, f"cannot write {shown(path)}: {error.strerror}. What is written stays; run it again"
            ) from error


def prompt_hash(model: str, messages: Messages, form: Any) -> str:
    """32 hexadecimal digits that change with the model, the form asked for, and every letter of the prompt."""
    text = json.dumps([model, list(messages), form], ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:32]


def _open_at_line_start(path: Path) -> BinaryIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a+b")
    end = file.seek(0, os.SEEK_END)
    if end:
        file.seek(end - 1)
        if file.read(1) != b"\n":
            file.write(b"\n")
    return file


def _read(path: Path) -> list[Call]:
    if not path.is_file():
        return []
    calls = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            calls.append(_parse(json.loads(line)))
        except (ValueError, KeyError, TypeError):
            # A line without its end: the last of the file, or one that a later process closed before going on.
            if line.rstrip().endswith(b"}"):
                raise InputError(f"{shown(path)}, line {number}: damaged call record; remove that line") from None
    return calls


def _parse(found: dict[str, Any]) -> Call:
    """Columns that came later may be missing."""
    needed = [field.name for field in fields(Call) if field.default is MISSING]
    optional = [field.name for field in fields(Call) if field.default is not MISSING and field.name in found]
    return Call(**{name: found[name] for name in (*needed, *optional)})
