"""The folders of MIMIC-CXR, ``files/p10/p10000032/s50414267/DICOM_ID.jpg``, and the tables beside them.

The same tree holds JPG (MIMIC-CXR-JPG), DICOM (MIMIC-CXR) or both; images that somebody converted to PNG are taken too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from radiology.errors import InputError
from radiology.paths import shown
from radiology.sources.base import Skipped
from radiology.sources.mimic_cxr.entries import (
    ImageEntry,
    StudyEntry,
    is_dicom_id,
    number_id,
)

SUFFIXES = (".jpg", ".jpeg", ".png", ".dcm")

#: Kind of table → pattern of its name (without ``.gz``) and how a person would look for it.
_TABLES = {
    "metadata": (r"mimic-cxr-([0-9.]+)-metadata\.csv", "mimic-cxr-2.0.0-metadata.csv[.gz]"),
    "split": (r"mimic-cxr-([0-9.]+)-split\.csv", "mimic-cxr-2.0.0-split.csv[.gz]"),
    "chexpert": (r"mimic-cxr-([0-9.]+)-chexpert\.csv", "mimic-cxr-2.0.0-chexpert.csv[.gz]"),
    "negbio": (r"mimic-cxr-([0-9.]+)-negbio\.csv", "mimic-cxr-2.0.0-negbio.csv[.gz]"),
    "records": (r"cxr-record-list()\.csv", "cxr-record-list.csv[.gz]"),
    "studies": (r"cxr-study-list()\.csv", "cxr-study-list.csv[.gz]"),
}
_GROUP = re.compile(r"p[0-9]{2}")


@dataclass(frozen=True)
class Tree:
    """``root`` as named, ``files`` with the groups p10 … p19, and the tables by kind."""

    root: Path
    files: Path
    tables: Mapping[str, Path]

    def group(self, patient: int) -> Path:
        return self.files / f"p{patient}"[:3]

    def study(self, patient: int, study: int) -> Path:
        return self.group(patient) / f"p{patient}" / f"s{study}"


def table_name(kind: str) -> str:
    """How a table of this kind is called, for messages."""
    return _TABLES[kind][1]


def open_tree(root: Path) -> Tree:
    """Find tables and images; InputError says what was looked for."""
    if not root.is_dir():
        raise InputError(f"MIMIC-CXR {shown(root)}: is a file; give the folder that holds files/ and the tables")
    try:
        return _open_folder(root)
    except OSError as error:
        raise InputError(f"MIMIC-CXR {shown(root)}: cannot be opened ({type(error).__name__})") from None


def _open_folder(root: Path) -> Tree:
    if root.name == "files" and not (root / "files").is_dir() and _groups(root):
        root = root.resolve().parent
    tables = _find_tables(root)
    files = next((folder for folder in (root / "files", root) if _groups(folder)), None)
    if files is None:
        found = f"; there are {', '.join(path.name for path in tables.values())}" if tables else ""
        empty = "is empty" if not any(root.iterdir()) else "holds no images of MIMIC-CXR"
        raise InputError(
            f"MIMIC-CXR {shown(root)}: {empty}{found}; looked for files/p10/p10000032/s50414267/*.jpg or *.dcm "
            f"(p10 to p19) and the tables {', '.join(name for _, name in _TABLES.values())}"
        )
    return Tree(root, files, tables)


def _groups(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _GROUP.fullmatch(path.name) and path.is_dir())


def _find_tables(root: Path) -> dict[str, Path]:
    """Per kind the table of the highest version; where it is there twice, the one that is not gzipped."""
    tables: dict[str, tuple[tuple[list[int], bool], Path]] = {}
    for path in sorted(root.iterdir()):
        name = path.name.lower().removesuffix(".gz")
        for kind, (pattern, _) in _TABLES.items():
            if (match := re.fullmatch(pattern, name)) and path.is_file():
                version = [int(part) for part in match[1].split(".") if part]
                rank = (version, not path.name.lower().endswith(".gz"))
                if kind not in tables or tables[kind][0] < rank:
                    tables[kind] = rank, path
    return {kind: path for kind, (_, path) in tables.items()}


def walk_studies(tree: Tree, problems: list[Skipped]) -> list[StudyEntry]:
    """Studies of a tree without tables, by patient and number; one without an image goes to ``problems``."""
    entries: list[StudyEntry] = []
    for folder, patient in _patients(tree):
        studies = {number_id(name.removesuffix(".txt"), "s") for name in _names(folder, "s", folders_only=False)}
        for study in sorted(number for number in studies if number is not None):
            images = sorted(name for name in image_files(folder / f"s{study}") if is_dicom_id(name))
            if images:
                entries.append(StudyEntry(patient, study, tuple(ImageEntry(name) for name in images)))
            else:
                problems.append(Skipped(folder / f"s{study}", None, None, "there is no image of this study", lost=True))
    return sorted(entries, key=lambda entry: entry.order)


def patients_in(tree: Tree) -> list[int]:
    """Numbers of the patients that have a folder."""
    return [patient for _, patient in _patients(tree)]


def _patients(tree: Tree) -> Iterator[tuple[Path, int]]:
    for group in _groups(tree.files):
        for name in _names(group, "p", folders_only=True):
            patient = number_id(name, "p")
            if patient is not None and tree.group(patient) == group:
                yield group / name, patient


def _names(folder: Path, letter: str, *, folders_only: bool) -> list[str]:
    try:
        with os.scandir(folder) as found:  # knows what is a folder without a look at each of 6,500
            chosen = (one for one in found if one.name.startswith(letter))
            return sorted(one.name for one in chosen if not folders_only or one.is_dir())
    except OSError as error:
        raise InputError(f"MIMIC-CXR {shown(folder)}: cannot be opened ({type(error).__name__})") from None


def image_files(folder: Path) -> dict[str, Path]:
    """Image id → file, of the folder of a study; JPG before PNG before DICOM. Empty if it cannot be opened."""
    try:
        paths = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES]
    except OSError:
        return {}
    best_last = sorted(paths, key=lambda path: (-SUFFIXES.index(path.suffix.lower()), path.name))
    return {path.stem: path for path in best_last}
