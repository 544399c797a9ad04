"""Rows of a CSV file with their line numbers: UTF-8, gzip where the name ends so, columns by name in either case."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from radiology.errors import InputError
from radiology.sources.table import RowProblem


class Header:
    """Names of columns as written, and where each stands."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.columns = tuple(columns)
        self._place: dict[str, int] = {}
        for place, column in enumerate(columns):
            if self._place.setdefault(column.strip().lower(), place) != place:
                raise InputError(f"table {path}: column {column!r} stands twice in the header; rename one of them")

    def place(self, *names: str) -> int | None:
        """Where the first of these columns that exists stands."""
        places = (self._place.get(name.lower()) for name in names)
        return next((place for place in places if place is not None), None)


@dataclass(frozen=True, slots=True)
class CsvRow:
    """A row: the ``line`` of the file that it ends on (the header is 1) and its cells."""

    line: int
    header: Header
    cells: tuple[str, ...]

    def get(self, *names: str) -> str | None:
        """The cell of the first of these columns that exists, without spaces around; ``None`` if empty or not there."""
        place = self.header.place(*names)
        return None if place is None else self.cells[place].strip() or None

    def as_dict(self) -> dict[str, str]:
        """Column as written → cell as written."""
        return dict(zip(self.header.columns, self.cells, strict=True))


def iterate_csv(path: Path, required: Sequence[tuple[str, ...]]) -> Iterator[CsvRow | RowProblem]:
    """Rows one by one; a row with too many or too few cells is a RowProblem.

    Args:
        required: columns that must be there, each by any of a few names.

    Raises:
        InputError: the file cannot be opened, is not UTF-8 or not CSV, or lacks a required column.
    """
    line = 1
    try:
        with _open(path) as file:
            first = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=max(",;\t", key=first.count), strict=True)
            header = Header(path, next(reader, []))
            for names in required:
                if header.place(*names) is None:  # without the columns it has: they may be a patient's data
                    raise InputError(f"table {path}: has no column {' or '.join(names)}; is there a header?")
            for cells in reader:
                line = reader.line_num
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) == len(header.columns):
                    yield CsvRow(line, header, tuple(cells))
                else:
                    reason = f"has {len(cells)} cells where the header has {len(header.columns)}"
                    yield RowProblem(line, None, reason)
    except UnicodeDecodeError:
        raise InputError(f"table {path}, after line {line}: is not UTF-8 text; save it as CSV UTF-8") from None
    except csv.Error:
        raise InputError(f"table {path}, after line {line}: is not CSV; is a quote left open?") from None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"table {path}: cannot be read ({type(error).__name__}); copy the file again") from None


def read_csv(path: Path, required: Sequence[tuple[str, ...]]) -> tuple[list[CsvRow], list[RowProblem]]:
    """All rows and what is wrong with others, as :func:`iterate_csv`; InputError also if there are none.

    Equal cells are kept once: tables that repeat a report in each of its rows stay small in memory.
    """
    rows: list[CsvRow] = []
    problems: list[RowProblem] = []
    seen: dict[str, str] = {}
    for row in iterate_csv(path, required):
        if isinstance(row, RowProblem):
            problems.append(row)
        else:
            rows.append(CsvRow(row.line, row.header, tuple(seen.setdefault(cell, cell) for cell in row.cells)))
    if not rows and not problems:
        raise InputError(f"table {path}: has no rows below its header")
    return rows, problems


def header_of(path: Path) -> Header:
    """The header alone; InputError as :func:`iterate_csv`."""
    try:
        with _open(path) as file:
            first = file.readline()
        return Header(path, next(csv.reader([first], delimiter=max(",;\t", key=first.count)), []))
    except UnicodeDecodeError:
        raise InputError(f"table {path}, line 1: is not UTF-8 text; save it as CSV UTF-8") from None
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise InputError(f"table {path}: cannot be read ({type(error).__name__}); copy the file again") from None


def _open(path: Path) -> io.TextIOWrapper:
    if path.suffix.lower() == ".gz":
        return io.TextIOWrapper(gzip.open(path), encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")
