"""``llm-calls.jsonl``: one line for every call of a language model, appended and never changed.

A line holds the hash of the prompt, not the prompt: the texts of patients stay in the store. An answer that is written
down is never asked for again.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from activations.files import storage_errors
from radiology.errors import InputError

Messages = Sequence[dict[str, str]]


@dataclass(frozen=True)
class Call:
    """One call. ``error`` is ``None`` when an answer came, whatever it was worth."""

    prompt_hash: str
    model: str
    purpose: str
    answer: str | None
    error: str | None
    prompt_tokens: int
    completion_tokens: int
    time: float


def hash_prompt(model: str, messages: Messages) -> str:
    """32 hexadecimal digits that change with the model and with every letter of the prompt."""
    text = json.dumps([model, list(messages)], ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class CallLog:
    """The calls of a job, on disk and in memory.

    Args:
        path: the file; it and its folder are made by the first call. A last line that a killed process left half
            written is passed over, its call counts as never made.

    Raises:
        InputError: another line is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._answers: dict[str, Call] = {}
        for call in _read(path):
            if call.error is None:
                self._answers[call.prompt_hash] = call

    def answered(self, prompt_hash: str) -> Call | None:
        """The answer to a prompt, if there is one."""
        return self._answers.get(prompt_hash)

    def append(
        self,
        prompt_hash: str,
        model: str,
        purpose: str,
        *,
        answer: str | None = None,
        error: str | None = None,
        prompt_tokens: int = 0,
        completion_tokens: int = 0,
    ) -> Call:
        """Write down a call; it is on the disk when this returns."""
        call = Call(prompt_hash, model, purpose, answer, error, prompt_tokens, completion_tokens, round(time.time(), 3))
        line = json.dumps(asdict(call), ensure_ascii=False) + "\n"
        with storage_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                if file.tell() and not _ends_with_newline(self.path):
                    file.write(b"\n")
                file.write(line.encode())
                file.flush()
                os.fsync(file.fileno())
        if call.error is None:
            self._answers[prompt_hash] = call
        return call


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _read(path: Path) -> list[Call]:
    if not path.is_file():
        return []
    lines = path.read_bytes().split(b"\n")
    calls = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            fields: dict[str, Any] = json.loads(line)
            calls.append(Call(**{name: fields[name] for name in Call.__dataclass_fields__}))
        except (ValueError, KeyError, TypeError) as error:
            if _may_be_torn(lines, number):
                continue
            raise InputError(f"{path}, line {number}: damaged call record ({error}); remove that line") from error
    return calls


def _may_be_torn(lines: list[bytes], number: int) -> bool:
    """A line without its end: the last of the file, or one that a later process closed before going on."""
    return number == len(lines) or not lines[number - 1].rstrip().endswith(b"}")
