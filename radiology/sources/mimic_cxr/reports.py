"""The reports of MIMIC-CXR: ``files/p10/p10000032/s50414267.txt``, in folders or in ``mimic-cxr-reports.zip``.

The zip file is read in place: its directory is held (about 150 MB for all 227,835 reports), its texts are not.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from radiology.errors import InputError
from radiology.paths import shown
from radiology.sources.mimic_cxr.entries import StudyEntry
from radiology.sources.mimic_cxr.tree import Tree

ZIP_NAME = "mimic-cxr-reports.zip"
FOLDER_NAME = "mimic-cxr-reports"

_MEMBER = re.compile(r"(?P<before>(?:.*/)?)p[0-9]{2}/p[0-9]+/s[0-9]+\.txt")
_GROUP = re.compile(r"p[0-9]{2}")
_MAX_BYTES = 1_000_000


class Reports(Protocol):
    """Where report texts lie."""

    def place(self, entry: StudyEntry) -> Path:
        """The file of a study's report, for messages."""

    def read(self, entry: StudyEntry) -> str:
        """The text; InputError with the reason alone if there is none or it cannot be read."""


class ReportFolder:
    """Reports below ``files``, which holds p10 … p19."""

    def __init__(self, files: Path) -> None:
        self.files = files

    def place(self, entry: StudyEntry) -> Path:
        return self.files / _inside(entry)

    def read(self, entry: StudyEntry) -> str:
        path = self.place(entry)
        try:
            if path.stat().st_size > _MAX_BYTES:
                raise InputError(f"has more than {_MAX_BYTES:,} bytes, too many for a report")
            return _text(path.read_bytes())
        except FileNotFoundError:
            raise InputError("the report is not there") from None
        except OSError as error:
            raise InputError(f"cannot be opened ({type(error).__name__})") from None


class ReportZip:
    """Reports in a zip file, which stays open."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except OSError as error:
            raise InputError(f"reports {shown(path)}: cannot be opened ({type(error).__name__})") from None
        except Exception:  # what zipfile raises for damaged files is in no list
            raise InputError(f"reports {shown(path)}: is no zip file, or truncated; download it again") from None
        matches = (_MEMBER.fullmatch(name) for name in self._zip.namelist())
        first = next((match for match in matches if match), None)
        if first is None:
            raise InputError(f"reports {shown(path)}: holds no files/p10/p10000032/s50414267.txt")
        self._before = first["before"]  # all members lie below the same folder

    def place(self, entry: StudyEntry) -> Path:
        return self.path / self._member(entry)

    def read(self, entry: StudyEntry) -> str:
        try:
            member = self._zip.getinfo(self._member(entry))
        except KeyError:
            raise InputError("the report is not there") from None
        if member.file_size > _MAX_BYTES:
            raise InputError(f"has more than {_MAX_BYTES:,} bytes, too many for a report")
        try:
            content = self._zip.read(member)
        except Exception as error:  # as above
            raise InputError(f"cannot be read from the zip file ({type(error).__name__})") from None
        return _text(content)

    def _member(self, entry: StudyEntry) -> str:
        return f"{self._before}{_inside(entry)}"


def named_reports(path: Path) -> Reports:
    """The reports at a path that was given: a zip file, or a folder that holds it, ``files/`` or p10 … p19."""
    if path.is_file():
        return ReportZip(path)
    if (path / ZIP_NAME).is_file():
        return ReportZip(path / ZIP_NAME)
    for folder in (path / "files", path / FOLDER_NAME / "files", path):
        if folder.is_dir() and any(_GROUP.fullmatch(child.name) for child in folder.iterdir()):
            return ReportFolder(folder)
    raise InputError(
        f"reports {shown(path)}: there are none; looked for {ZIP_NAME}, files/p10/p10000032/s50414267.txt and "
        "p10/p10000032/s50414267.txt"
    )


def find_reports(tree: Tree, entries: Iterable[StudyEntry]) -> Reports | None:
    """The reports in the root of a tree: zip file, unpacked zip file, or beside the images; None if there are none."""
    if (tree.root / ZIP_NAME).is_file():
        return ReportZip(tree.root / ZIP_NAME)
    if (tree.root / FOLDER_NAME).is_dir():
        return named_reports(tree.root / FOLDER_NAME)
    beside = ReportFolder(tree.files)
    return beside if any(beside.place(entry).is_file() for entry in entries) else None


def _inside(entry: StudyEntry) -> str:
    patient = f"p{entry.patient}"
    return f"{patient[:3]}/{patient}/s{entry.study}.txt"


def _text(content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("is not UTF-8 text") from None
    if not text.strip():
        raise InputError("the report is empty")
    return text
