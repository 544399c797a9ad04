"""``RUN/left-out.csv``: everything that a run left out of its sources, and why.

One row each: the source, the id of the study if its images could not be read, the file, row (line, the header being 1)
and field where the trouble is, the reason, and whether a study was lost by it. No values of fields. The list grows
while the run is made: a study that was left out stays so when a stopped run goes on, whatever has become of its files,
because the numbers of the studies behind it depend on it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from interp.files import write_text
from radiology.errors import InputError
from radiology.paths import shown
from radiology.sources.base import Skipped

if TYPE_CHECKING:
    from radiology.study import Study

FILE_NAME = "left-out.csv"
COLUMNS = ("source", "study_id", "file", "row", "field", "reason", "lost")


@dataclass(frozen=True)
class Entry:
    """Something left out; ``study_id`` only where the images of that study could not be read."""

    source: str
    study_id: str | None
    what: Skipped

    def cells(self) -> tuple[str, ...]:
        row = "" if self.what.row is None else str(self.what.row)
        lost = "yes" if self.what.lost else "no"
        return (
            self.source,
            self.study_id or "",
            shown(self.what.file),
            row,
            self.what.field or "",
            self.what.reason,
            lost,
        )

    @staticmethod
    def of_cells(cells: Sequence[str]) -> Entry:
        source, study_id, file, row, field, reason, lost = cells
        what = Skipped(Path(file), int(row) if row.isdigit() else None, field or None, reason, lost == "yes")
        return Entry(source, study_id or None, what)


class LeftOut:
    """The list of a run; what the file held before is taken over by study."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: list[Entry] = list(_read(path))
        self._studies = {(entry.source, entry.study_id) for entry in self.entries if entry.study_id is not None}

    def has_study(self, source: str, study_id: str) -> bool:
        """Whether the images of a study could not be read, now or before the run was stopped."""
        return (source, study_id) in self._studies

    def begin(self) -> None:
        """Keep the studies; the rest will be found anew while the sources are read."""
        self.entries = [entry for entry in self.entries if entry.study_id is not None]
        self._write()

    def add(self, source: str, study_id: str | None, what: Skipped) -> None:
        """Note something, and have it on disk before any study behind it is."""
        entry = Entry(source, study_id, what)
        self.entries.append(entry)
        if study_id is not None:
            self._studies.add((source, study_id))
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_lines([entry]))

    def finish(self, listed: Mapping[str, Sequence[Skipped]]) -> None:
        """Write the whole list in the order of the sources, with what each of them left out on its own."""
        found = [Entry(source, None, what) for source, whats in listed.items() for what in whats]
        order = {source: number for number, source in enumerate(listed)}
        self.entries = sorted([*self.entries, *found], key=lambda entry: order.get(entry.source, len(order)))
        self._write()

    def _write(self) -> None:
        write_text(self.path, ",".join(COLUMNS) + "\n" + _lines(self.entries))

    def refuse_losses(self) -> None:
        """What ``--strict`` asks of a run that was begun without it.

        Raises:
            InputError: a study was lost; the message is the first of them.
        """
        lost = [entry for entry in self.entries if entry.what.lost]
        if lost:
            raise InputError(
                f"{lost[0].what}. {len(lost)} were left out before --strict was given, see {self.path}. Mend them and "
                "choose another --run, or leave --strict away."
            )


class Readable(Protocol):
    """What is wanted of a source; see :class:`radiology.sources.base.StudySource`."""

    @property
    def strict(self) -> bool: ...
    @property
    def skipped(self) -> list[Skipped]: ...
    def __len__(self) -> int: ...
    def listed(self) -> Iterator[Study]: ...
    def decoded(self, study: Study) -> Study | None: ...


@dataclass(frozen=True)
class _Shared:
    """What the sources of a run have in common."""

    left_out: LeftOut
    stored: Collection[str]
    given: dict[str, str]  # study id → source
    last: str


class ReadSource(Sized):
    """A source as a run reads it: each study with its grey values in memory, what is not usable noted and left out.

    No file is opened a second time, so none can break between here and the model. Studies that are stored already are
    only listed.
    """

    def __init__(self, name: str, source: Readable, shared: _Shared) -> None:
        self._name, self._source, self._shared = name, source, shared

    def __len__(self) -> int:
        return len(self._source)

    def __iter__(self) -> Iterator[Study]:
        for study in self._source.listed():
            usable = self._usable(study)
            if usable is not None:
                self._shared.given[study.study_id] = self._name
                yield usable
        if self._name == self._shared.last and not self._shared.given:
            self._nothing()

    def _usable(self, study: Study) -> Study | None:
        left_out, study_id = self._shared.left_out, study.study_id
        if left_out.has_study(self._name, study_id):
            return None
        if study_id in self._shared.given:
            self._duplicate(study)
            return None
        if study_id in self._shared.stored:
            return study
        decoded = self._source.decoded(study)
        if decoded is None:
            left_out.add(self._name, study_id, self._source.skipped.pop())
        return decoded

    def _duplicate(self, study: Study) -> None:
        file = next((image for image in study.images.values() if isinstance(image, Path)), Path(self._name))
        reason = f"its study has the id of one that {self._shared.given[study.study_id]} gave before"
        what = Skipped(file, None, "study_id", reason, lost=True)
        if self._source.strict:
            raise InputError(str(what))
        self._shared.left_out.add(self._name, None, what)

    def _nothing(self) -> None:
        entries = [entry.what for entry in self._shared.left_out.entries] + self._source.skipped
        if entries:
            first = next((entry for entry in entries if entry.lost), entries[0])
            raise InputError(
                f"studies: none can be used; {len(entries)} were left out, the first is {first}. "
                f"All are in {self._shared.left_out.path}"
            )


def read_sources(sources: Mapping[str, Readable], left_out: LeftOut, stored: Collection[str]) -> dict[str, ReadSource]:
    """The sources of a run, to be iterated once and in order.

    Args:
        left_out: takes note.
        stored: ids of the studies that the run has already.
    """
    shared = _Shared(left_out, stored, {}, next(reversed(list(sources)), ""))
    return {name: ReadSource(name, source, shared) for name, source in sources.items()}


def _read(path: Path) -> Iterator[Entry]:
    """The rows of a list that may end in the middle of a line."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8", newline="") as file:
        for cells in csv.reader(file):
            if len(cells) == len(COLUMNS) and tuple(cells) != COLUMNS:
                yield Entry.of_cells(cells)


def _lines(entries: Sequence[Entry]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(entry.cells() for entry in entries)
    return text.getvalue()
