"""``studies.csv``: one row a study, columns by name in any order.

| column | holds |
|---|---|
| ``file``, ``frontal`` or ``image_id`` | the frontal image: path from folder or table, or name without suffix |
| ``lateral``, ``prior_frontal`` | further images, in the same way |
| ``study_id`` | name of the study; the name of the frontal image where there is no such column |
| ``patient_id`` | studies of one patient share it; without it every study is a patient of its own |
| ``indication``, ``technique``, ``comparison``, ``prior_report``, ``report`` (or ``findings``) | text sections |
| ``sex``, ``age``, ``view`` (or ``projection``), ``split``, ``study_time`` | metadata |

Names of columns may be in upper or lower case. The file is UTF-8, separated by commas, semicolons or tabs. An empty
cell is missing.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from radiology.errors import InputError
from radiology.study import IMAGE_NAMES, TEXT_FIELDS

_FRONTAL_COLUMNS = ("file", "frontal", "image_id")
_ALIASES = {"findings": "report", "projection": "view", **dict.fromkeys(_FRONTAL_COLUMNS, "frontal")}
_METADATA = ("sex", "age", "view", "split", "study_time")
_ID_COLUMNS = ("study_id", "patient_id")
_KNOWN = frozenset((*IMAGE_NAMES, *TEXT_FIELDS, *_METADATA, *_ID_COLUMNS))
_SEX = {"f": "female", "female": "female", "m": "male", "male": "male"}


@dataclass(frozen=True)
class StudyRow:
    """One row: ``line`` of the file, ids, images as written, the column each came from, text sections, metadata."""

    line: int
    study_id: str | None
    patient_id: str | None
    images: dict[str, str]
    image_columns: dict[str, str]
    texts: dict[str, str]
    metadata: dict[str, Any]


@dataclass(frozen=True)
class RowProblem:
    """A row that is no study, and why."""

    row: int
    field: str | None
    reason: str


@dataclass(frozen=True)
class StudyTable:
    """The rows of a ``studies.csv``; what is wrong with others; columns that mean nothing here."""

    path: Path
    rows: list[StudyRow] = field(default_factory=list)
    problems: list[RowProblem] = field(default_factory=list)
    ignored_columns: tuple[str, ...] = ()


def read_table(path: Path) -> StudyTable:
    """Read a ``studies.csv``; InputError if it is not UTF-8, has no rows, or no column that names the image."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=_delimiter(header), strict=True)
            columns = [name.strip().lower() for name in next(reader, [])]
            names = _names(path, columns)
            ignored = (column for column, name in zip(columns, names, strict=True) if name not in _KNOWN)
            table = StudyTable(path, ignored_columns=tuple(ignored))
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    _read_row(table, reader.line_num, columns, names, cells)
    except UnicodeDecodeError:
        raise InputError(f"table {path}: is not UTF-8 text; save it as CSV UTF-8") from None
    except csv.Error:
        raise InputError(f"table {path}, line {reader.line_num}: is not CSV; is a quote left open?") from None
    except OSError as error:
        raise InputError(f"table {path}: cannot be opened ({type(error).__name__})") from None
    if not table.rows and not table.problems:
        raise InputError(f"table {path}: has no rows below its header")
    return table


def _delimiter(header: str) -> str:
    return max(",;\t", key=header.count)


def _names(path: Path, columns: list[str]) -> list[str]:
    """What each column holds; of several columns for one thing the first of its kind counts."""
    frontal = next((column for column in _FRONTAL_COLUMNS if column in columns), None)
    if frontal is None:
        raise InputError(  # without the columns it has: in a table without header they are a patient's data
            f"table {path}: has no column {' or '.join(_FRONTAL_COLUMNS)} that names the image; is there a header?"
        )
    names: list[str] = []
    for column in columns:
        name = _ALIASES.get(column, column)
        taken = name in names or (name == "frontal" and column != frontal)
        names.append("" if taken else name)
    return names


def _read_row(table: StudyTable, line: int, columns: list[str], names: list[str], cells: list[str]) -> None:
    if len(cells) != len(columns):
        table.problems.append(RowProblem(line, None, f"has {len(cells)} cells where the header has {len(columns)}"))
        return
    values = {name: cell.strip() for name, cell in zip(names, cells, strict=True) if name in _KNOWN and cell.strip()}
    column_of = {name: column for column, name in zip(columns, names, strict=True)}
    if "frontal" not in values:
        table.problems.append(RowProblem(line, column_of["frontal"], "is empty; it must name the image"))
        return
    table.rows.append(
        StudyRow(
            line=line,
            study_id=values.get("study_id"),
            patient_id=values.get("patient_id"),
            images={name: values[name] for name in IMAGE_NAMES if name in values},
            image_columns={name: column_of[name] for name in IMAGE_NAMES if name in values},
            texts={name: values[name] for name in TEXT_FIELDS if name in values},
            metadata={name: _metadata(name, values[name]) for name in _METADATA if name in values},
        )
    )


def _metadata(name: str, value: str) -> Any:
    """Metadata in the form that all sources share: sex female / male, view in capitals, age in years."""
    if name == "sex":
        return _SEX.get(value.lower(), value)
    if name == "view":
        return value.upper() if len(value) <= 2 else value.lower()
    if name == "age":
        digits = value.upper().removesuffix("Y")
        return int(digits) if digits.isascii() and digits.isdigit() else value
    return value
