"""The tables of MIMIC-CXR and MIMIC-CXR-JPG, read once into compact records.

Any of them may be gzipped. Names of columns count in any case; other columns than those named here are not looked at,
the ``path`` columns neither: paths are built from ids. What is wrong with a row goes to ``problems`` and the row is
left out; what is wrong with a whole table (a column missing, not UTF-8, not CSV, gzip cut off) raises InputError.
"""

from __future__ import annotations

import csv
import gzip
import sys
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO

from radiology.errors import InputError
from radiology.paths import shown
from radiology.sources.base import Skipped
from radiology.sources.mimic_cxr.entries import (
    ImageEntry,
    Moment,
    StudyEntry,
    date_of,
    is_before,
    is_dicom_id,
    number_id,
    time_of,
    view_of,
)
from radiology.vocabulary import CHEXPERT_CONCEPTS, find_concept

SPLITS = ("train", "validate", "test")

_LABEL_COLUMNS = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Enlarged Cardiomediastinum",
    "Fracture",
    "Lung Lesion",
    "Lung Opacity",
    "No Finding",
    "Pleural Effusion",
    "Pleural Other",
    "Pneumonia",
    "Pneumothorax",
    "Support Devices",
)
_STATUS = {"1": "present", "0": "absent", "-1": "uncertain"}
_SEX = {"F": "female", "M": "male"}


def read_metadata(path: Path, problems: list[Skipped]) -> list[StudyEntry]:
    """Studies of ``mimic-cxr-*-metadata.csv``, by patient and time; a study begins with its first image."""
    wanted = ("dicom_id", "subject_id", "study_id", "ViewPosition", "StudyDate", "StudyTime")
    studies = _Studies(path, problems)
    moments: dict[int, Moment] = {}
    for row, cells in _rows(path, wanted, ("ViewCodeSequence_CodeMeaning",), problems):
        study = studies.add(row, cells[0], cells[1], cells[2], view_of(cells[3], cells[6]))
        if study is not None:
            moment = _moment(path, row, cells[4], cells[5], problems)
            if study not in moments or is_before(moment, moments[study]):
                moments[study] = moment
    return studies.entries(moments)


def read_records(records: Path, studies_list: Path | None, problems: list[Skipped]) -> list[StudyEntry]:
    """Studies of ``cxr-record-list.csv``, by patient and number: without views, dates and times.

    A study that ``cxr-study-list.csv`` names and the record list does not goes to ``problems``.
    """
    studies = _Studies(records, problems)
    for row, (dicom_id, subject, study_id) in _rows(records, ("dicom_id", "subject_id", "study_id"), (), problems):
        studies.add(row, dicom_id, subject, study_id, None)
    if studies_list is not None:
        for row, (study,) in _rows(studies_list, ("study_id",), (), problems):
            if number_id(study, "s") not in studies.patients:
                problems.append(
                    Skipped(studies_list, row, "study_id", f"{records.name} has no image of this study", lost=True)
                )
    return studies.entries({})


class _Studies:
    """Collects the images of a table by study."""

    def __init__(self, path: Path, problems: list[Skipped]) -> None:
        self.path, self.problems = path, problems
        self.patients: dict[int, int] = {}
        self.images: dict[int, list[ImageEntry]] = {}
        self._seen: set[str] = set()

    def add(self, row: int, dicom_id: str, subject: str, study_id: str, view: str | None) -> int | None:
        """Take an image in; returns its study, or None where the row cannot be used."""
        patient, study = number_id(subject, "p"), number_id(study_id, "s")
        if not is_dicom_id(dicom_id):
            return self._refuse(row, "dicom_id", "is not the name of an image (letters, digits, dots and dashes)")
        if patient is None:
            return self._refuse(row, "subject_id", "is not the number of a patient")
        if study is None:
            return self._refuse(row, "study_id", "is not the number of a study")
        if dicom_id in self._seen:
            return self._refuse(row, "dicom_id", "the same image stands in an earlier line", lost=False)
        if self.patients.setdefault(study, patient) != patient:
            return self._refuse(row, "study_id", "an earlier line has this study under another patient")
        self._seen.add(dicom_id)
        self.images.setdefault(study, []).append(ImageEntry(dicom_id, view, row))
        return study

    def entries(self, moments: Mapping[int, Moment]) -> list[StudyEntry]:
        unknown: Moment = (None, None)
        found = (
            StudyEntry(self.patients[study], study, tuple(images), *moments.get(study, unknown))
            for study, images in self.images.items()
        )
        return sorted(found, key=lambda entry: entry.order)

    def _refuse(self, row: int, field: str, reason: str, lost: bool = True) -> int | None:
        self.problems.append(Skipped(self.path, row, field, reason, lost))
        return None


def read_splits(path: Path, problems: list[Skipped]) -> dict[int, str]:
    """Patient → split, of ``mimic-cxr-*-split.csv``; a patient in two splits is in none, and in ``problems``."""
    splits: dict[int, str] = {}
    torn: set[int] = set()
    for row, (subject, split) in _rows(path, ("subject_id", "split"), (), problems):
        patient, name = number_id(subject, "p"), sys.intern(split.lower())
        if patient is None or name not in SPLITS:
            field, what = ("subject_id", "a patient") if patient is None else ("split", f"one of {', '.join(SPLITS)}")
            problems.append(Skipped(path, row, field, f"is not {what}"))
        elif splits.setdefault(patient, name) != name and patient not in torn:
            torn.add(patient)
            problems.append(Skipped(path, row, "split", "the patient is in another split as well; left out of both"))
    return {patient: split for patient, split in splits.items() if patient not in torn}


def read_labels(path: Path, problems: list[Skipped]) -> dict[int, bytes]:
    """Study → fourteen labels (see :func:`labels_of`), of ``mimic-cxr-*-chexpert.csv`` or ``…-negbio.csv``."""
    labels: dict[int, bytes] = {}
    codes = {status: code for code, status in enumerate(("", *_STATUS.values()))}
    for row, (study_id, *cells) in _rows(path, ("study_id", *_LABEL_COLUMNS), (), problems):
        study = number_id(study_id, "s")
        if study is None or study in labels:
            reason = "is not a study" if study is None else "the same study stands in an earlier line"
            problems.append(Skipped(path, row, "study_id", reason))
            continue
        values = bytearray(len(cells))
        for place, cell in enumerate(cells):
            status = _STATUS.get(cell.removesuffix(".0"), "")
            if cell and not status:
                problems.append(Skipped(path, row, _LABEL_COLUMNS[place], "is not 1, 0, -1 or empty; taken as empty"))
            values[place] = codes[status]
        labels[study] = bytes(values)
    return labels


def labels_of(values: bytes) -> dict[str, str]:
    """Finding → present, absent or uncertain, in the words of ``radiology.vocabulary``; missing ones are not there."""
    statuses = ("", *_STATUS.values())
    return {key: statuses[value] for key, value in zip(label_keys(), values, strict=True) if value}


@cache
def label_keys() -> tuple[str, ...]:
    """Our key for each label column, in the order of the table."""
    found = [find_concept(column) for column in _LABEL_COLUMNS]
    keys = tuple(concept.key for concept in found if concept is not None)
    if set(keys) != set(CHEXPERT_CONCEPTS):
        raise AssertionError("the label columns are not the observations of CheXpert")
    return keys


def read_patients(path: Path, wanted: Collection[int], problems: list[Skipped]) -> dict[int, tuple[str | None, int]]:
    """Patient → (sex, year of birth on the shifted calendar), of MIMIC-IV's ``patients.csv``.

    Age over 89 is 91 there, whatever it was.
    """
    patients: dict[int, tuple[str | None, int]] = {}
    for row, (subject, gender, age, year) in _rows(
        path, ("subject_id", "gender", "anchor_age", "anchor_year"), (), problems
    ):
        patient = number_id(subject, "p")
        if patient not in wanted or patient is None:
            continue
        if not (age.isascii() and age.isdigit() and year.isascii() and year.isdigit()):
            problems.append(Skipped(path, row, "anchor_age", "this or anchor_year is not a whole number"))
            continue
        patients[patient] = _SEX.get(gender.upper()), int(year) - int(age)
    return patients


def _rows(
    path: Path, required: Sequence[str], optional: Sequence[str], problems: list[Skipped]
) -> Iterator[tuple[int, list[str]]]:
    """Line and cells (in the order of ``required`` and ``optional``, an absent optional one empty) of each row."""
    reader = None
    try:
        with _open(path) as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip().lower() for name in next(reader, [])]
            if missing := [name for name in required if name.lower() not in header]:
                needs = f"its first line must name {', '.join(required)}"
                raise InputError(f"table {shown(path)}: has no column {', '.join(missing)}; {needs}")
            places = [header.index(name.lower()) if name.lower() in header else -1 for name in (*required, *optional)]
            for cells in reader:
                if len(cells) != len(header):
                    if cells:
                        reason = f"has {len(cells)} cells where the header has {len(header)}"
                        problems.append(Skipped(path, reader.line_num, None, reason))
                    continue
                yield reader.line_num, [cells[place].strip() if place >= 0 else "" for place in places]
    except UnicodeDecodeError:
        raise InputError(f"table {shown(path)}: is not UTF-8 text; download it again") from None
    except csv.Error:
        line = f", line {reader.line_num}" if reader is not None else ""
        raise InputError(f"table {shown(path)}{line}: is not CSV; is a quote left open?") from None
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise InputError(f"table {shown(path)}: the gzip file is truncated or damaged; download it again") from None
    except OSError as error:
        raise InputError(f"table {shown(path)}: cannot be opened ({type(error).__name__})") from None


def _open(path: Path) -> IO[str]:
    """Text of a plain or gzipped file, told by its first bytes: browsers unpack and keep the name."""
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    if zipped:
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _moment(path: Path, row: int, date_text: str, time_text: str, problems: list[Skipped]) -> Moment:
    date, time = date_of(date_text), time_of(time_text)
    for field, text, value in (("StudyDate", date_text, date), ("StudyTime", time_text, time)):
        if text and value is None:
            problems.append(Skipped(path, row, field, "cannot be read; it is taken as unknown"))
    return date, time
