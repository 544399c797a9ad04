"""What every source of studies has in common."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from radiology.errors import InputError
from radiology.study import Study, Terms

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_MAX_ID = 100


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that a source left out: the file, its row (line number, the header being 1) and field, and why.

    The reason never holds the value of a field: it may be a patient's.
    """

    file: Path
    row: int | None
    field: str | None
    reason: str

    def __str__(self) -> str:
        row = f", line {self.row}" if self.row is not None else ""
        field = f", field {self.field!r}" if self.field is not None else ""
        return f"{self.file}{row}{field}: {self.reason}"


class StudySource(ABC):
    """A series of studies that can be iterated again and again, each time in the same order.

    ``len()`` is the number of studies that are there before unreadable ones are left out. ``skipped`` tells what the
    latest iteration left out so far.
    """

    def __init__(self, spec: str, terms: Terms, strict: bool) -> None:
        self.spec = spec
        self.terms: Terms = terms
        self.strict = strict
        self.skipped: list[Skipped] = []

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def _studies(self) -> Iterator[Study]:
        """The studies, reporting what is left out through :meth:`_skip`."""

    def __iter__(self) -> Iterator[Study]:
        self.skipped.clear()
        yield from self._studies()

    def _skip(self, file: Path, row: int | None, field: str | None, reason: str) -> None:
        skipped = Skipped(file, row, field, reason)
        if self.strict:
            raise InputError(str(skipped))
        self.skipped.append(skipped)


def safe_id(text: str) -> str:
    """``text`` as an id that can be a file name on any system: ASCII letters, digits, dot, dash and underscore.

    Ids that had to be altered end in a short hash of the original, so that different ones stay different.
    """
    safe = re.sub(r"\.{2,}", ".", _UNSAFE.sub("_", text)).strip("._")[:_MAX_ID]
    if safe and safe == text:
        return safe
    return f"{safe or 'id'}-{sha256(text.encode()).hexdigest()[:8]}"
