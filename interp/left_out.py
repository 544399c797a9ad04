"""``RUN/left-out.csv``: everything that a run left out of its sources, and why.

One row each: the source, the id of the study if its images could not be read, the file, row (line, the header being 1)
and field where the trouble is, the reason, and whether a study was lost by it. No values of fields. The list grows
while the run is made: a study that was left out stays so when a stopped run goes on, whatever has become of its files,
because the numbers of the studies behind it depend on it.

Several processes number the studies each for itself, so they must agree on what is left out before any is numbered:
:func:`agree`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from interp.files import write_text
from interp.progress import Progress, silent
from interp.ranks import Ranks
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
    """The list of a run; what the file held before is taken over by study.

    Args:
        path: the file.
        entries: what it held, for a process that only knows of the list (``None`` reads it, and writes it later on).
    """

    def __init__(self, path: Path, entries: Iterable[Entry] | None = None) -> None:
        self.path = path
        self._writes = entries is None
        self.entries: list[Entry] = list(_read(path) if entries is None else entries)
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
        if self._writes:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_lines([entry]))

    def finish(self, listed: Mapping[str, Sequence[Skipped]]) -> None:
        """Write the whole list in the order of the sources, with what each of them left out on its own."""
        found = [Entry(source, None, what) for source, whats in listed.items() for what in whats]
        order = {source: number for number, source in enumerate(listed)}
        self.entries = sorted([*self.entries, *found], key=lambda entry: order.get(entry.source, len(order)))
        self._write()

    def _write(self) -> None:
        if self._writes:
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
    last: str
    ranks: Ranks
    given: dict[str, str] = field(default_factory=dict)  # study id → source


class ReadSource(Sized):
    """A source as a run reads it: each study with its grey values in memory, what is not usable noted and left out.

    No file is opened a second time, so none can break between here and the model. Studies that are stored already are
    only listed, and so are those that another process reads.
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
        left_out, study_id, ranks = self._shared.left_out, study.study_id, self._shared.ranks
        if left_out.has_study(self._name, study_id):
            return None
        if study_id in self._shared.given:
            self._duplicate(study)
            return None
        if study_id in self._shared.stored or len(self._shared.given) % ranks.world != ranks.rank:
            return study
        decoded = self._source.decoded(study)
        if decoded is None:
            what = self._source.skipped.pop()
            if not ranks.alone:
                raise InputError(f"{what}. It could be read when the processes looked, and has a number; {_MEND}")
            left_out.add(self._name, study_id, what)
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


def read_sources(
    sources: Mapping[str, Readable], left_out: LeftOut, stored: Collection[str], ranks: Ranks | None = None
) -> dict[str, ReadSource]:
    """The sources of a run, to be iterated once and in order.

    Args:
        left_out: takes note.
        stored: ids of the studies that the run has already.
        ranks: the processes that share the studies; they must :func:`agree` before. What belongs to another process
            is only listed here.
    """
    shared = _Shared(left_out, stored, next(reversed(list(sources)), ""), ranks or Ranks())
    return {name: ReadSource(name, source, shared) for name, source in sources.items()}


#: What helps where the number of a study hangs on a file that is not there any more.
_MEND = "put the file back and run the same command, or choose another --run."


def agree(
    sources: Mapping[str, Readable],
    left_out: LeftOut,
    stored: Collection[str],
    ranks: Ranks,
    progress: Progress = silent,
) -> None:
    """Let each process look at its share of the studies that are not stored, and all leave out what one cannot read.

    On return the list of process 0 is on disk. ``sources`` must be others than those that are read afterwards: what
    they skip is forgotten. Every image is decoded here once, and a second time for the model.

    Raises:
        InputError: a source is strict and an image cannot be read; or it cannot any more, but studies behind it are
            stored under numbers that count it.
    """
    listed: list[tuple[str, str]] = []
    mine: list[tuple[int, tuple[str, ...]]] = []
    total = sum(len(source) for source in sources.values())
    for name, source in sources.items():
        for study in source.listed():
            place, study_id = len(listed), study.study_id
            listed.append((name, study_id))
            progress(place, total, "checking images")
            if place % ranks.world != ranks.rank or study_id in stored or left_out.has_study(name, study_id):
                continue
            if source.decoded(study) is None:
                mine.append((place, Entry(name, study_id, source.skipped.pop()).cells()))
    found = {place: Entry.of_cells(cells) for part in ranks.gather(mine) for place, cells in part}
    last_stored = max((place for place, (_, study_id) in enumerate(listed) if study_id in stored), default=-1)
    given: set[str] = set()
    for place, (name, study_id) in enumerate(listed):
        if left_out.has_study(name, study_id) or study_id in given:
            continue
        if place not in found:
            given.add(study_id)
        elif place < last_stored:
            raise InputError(f"{found[place].what}. Studies behind it are stored already; {_MEND}")
        else:
            left_out.add(name, study_id, found[place].what)
    ranks.gather(None)


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
