"""``master_table.csv`` of PadChest-GR: a row for every label of every study; here, what they say of the study.

Read are ``StudyID`` (or ``ImageID``), ``PatientID``, ``split``, ``PatientSex_DICOM``, ``PatientAge`` (or
``PatientBirth``), ``StudyDate_DICOM``, ``Projection`` (or ``ViewPosition_DICOM``), ``prior_imageID``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from radiology.sources.csv_rows import CsvRow, read_csv
from radiology.sources.table import RowProblem

_SEX = {"f": "female", "female": "female", "m": "male", "male": "male"}
_NUMBER = re.compile(r"0*(\d+)(?:\.0*)?Y?", re.IGNORECASE)
_DATE = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})(?:\.0|[ T].*)?")


@dataclass
class StudyFacts:
    """What the rows of one study say of it: the first ``line``, the patient, metadata, the name of the prior image."""

    line: int
    patient_id: str
    metadata: dict[str, Any] = field(default_factory=dict)
    prior_image: str | None = None
    conflict: int | None = None  # line of a row that names another patient


@dataclass(frozen=True)
class MasterTable:
    """Facts by the id in ``key_column`` (``StudyID`` or ``ImageID``), and the rows that are no use."""

    path: Path
    key_column: str
    facts: dict[str, StudyFacts]
    problems: list[RowProblem]


def read_master_table(path: Path) -> MasterTable:
    """Read the table; InputError without a column for the patient: splits are by patient, always."""
    rows, problems = read_csv(path, [("StudyID", "ImageID"), ("PatientID",)])
    key_column = "StudyID" if rows and rows[0].header.place("StudyID") is not None else "ImageID"
    facts: dict[str, StudyFacts] = {}
    for row in rows:
        key, patient = row.get(key_column), row.get("PatientID")
        if key is None or patient is None:
            problems.append(RowProblem(row.line, key_column if key is None else "PatientID", "is empty"))
            continue
        known = facts.setdefault(key, StudyFacts(row.line, patient))
        if known.patient_id != patient:
            known.conflict = known.conflict or row.line
        known.metadata = {**_metadata(row), **known.metadata}  # the first row that has something counts
        known.prior_image = known.prior_image or row.get("prior_imageID", "PreviousImageID")
    return MasterTable(path, key_column, facts, problems)


def _metadata(row: CsvRow) -> dict[str, Any]:
    sex, split = row.get("PatientSex_DICOM", "PatientSex", "sex"), row.get("split")
    date, view = row.get("StudyDate_DICOM", "StudyDate"), row.get("Projection", "ViewPosition_DICOM")
    values = {
        "sex": sex and _SEX.get(sex.lower(), sex),
        "age": _age(row),
        "view": view and view.upper(),
        "split": split and split_name(split),
        "study_time": date and _iso_date(date),
    }
    return {name: value for name, value in values.items() if value is not None}


def split_name(split: str) -> str:
    """Name of a split as all sources here have it: train, validate, test."""
    lower = split.strip().lower()
    return "validate" if lower in ("val", "valid", "validation", "dev") else lower


def _iso_date(text: str) -> str:
    match = _DATE.fullmatch(text)
    return "-".join(match.groups()) if match else text


def _age(row: CsvRow) -> int | None:
    """Age in years; from the years of birth and study, so up to one too many, where the table gives no age."""
    age = _whole(row.get("PatientAge", "age"))
    birth, date = _whole(row.get("PatientBirth")), _DATE.fullmatch(row.get("StudyDate_DICOM", "StudyDate") or "")
    if age is None and birth is not None and date is not None and 0 <= int(date[1]) - birth < 130:
        return int(date[1]) - birth
    return age


def _whole(text: str | None) -> int | None:
    match = _NUMBER.fullmatch(text or "")
    return int(match[1]) if match else None
