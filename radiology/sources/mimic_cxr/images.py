"""Image files of MIMIC-CXR looked at without decoding their pixels: are they whole, and what does a header tell."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from radiology.dicom_privacy import silent_pydicom
from radiology.errors import InputError
from radiology.images import read_image
from radiology.paths import shown
from radiology.sources.mimic_cxr.entries import date_of, time_of, view_of
from radiology.sources.mimic_cxr.tree import table_name

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

_HEADER_TAGS = ["ViewPosition", "StudyDate", "StudyTime", "ViewCodeSequence"]
_TAIL = 64  # bytes at the end of a file among which its end mark must be
_END_OF_JPEG, _END_OF_PNG, _END_OF_FRAGMENTS = b"\xff\xd9", b"IEND\xaeB\x60\x82", b"\xfe\xff\xdd\xe0"


def read_header(path: Path) -> tuple[str | None, int | None, float | None]:
    """View, date and time in the header of a DICOM file, without its pixels."""
    if path.suffix.lower() != ".dcm":
        raise InputError(f"is no DICOM, so only {table_name('metadata')} could tell its view and date")
    header, end = _dicom_header(path, _HEADER_TAGS)
    if end >= path.stat().st_size:
        raise InputError("the DICOM file holds no pixels: it is truncated, copy it again")
    try:
        with silent_pydicom():
            codes = header.get("ViewCodeSequence") or []
            meaning = str(codes[0].get("CodeMeaning", "")) if len(codes) else ""
            view = view_of(str(header.get("ViewPosition") or ""), meaning)
            return view, date_of(str(header.get("StudyDate") or "")), time_of(str(header.get("StudyTime") or ""))
    except Exception as error:  # values are parsed now, and as above
        raise InputError(f"the DICOM header cannot be read ({type(error).__name__})") from None


def check_image(path: Path) -> None:
    """A cheap look at an image file: its header, and whether its end is there. Pixels are decoded only in doubt.

    Raises InputError with the reason alone.
    """
    try:
        if not path.is_file():
            raise InputError("is not a file" if path.exists() else "does not exist")
        if not (size := path.stat().st_size):
            raise InputError("the file is empty (0 bytes)")
        with path.open("rb") as file:
            head = file.read(132)
            file.seek(max(0, size - _TAIL))
            tail = file.read()
    except OSError as error:
        raise InputError(f"cannot be opened ({type(error).__name__})") from None
    if head[128:] == b"DICM":
        whole = _dicom_is_whole(path, size, tail)
    else:
        whole = (head.startswith(b"\xff\xd8\xff") and _END_OF_JPEG in tail) or (
            head.startswith(b"\x89PNG") and _END_OF_PNG in tail
        )
        whole = whole and _picture_opens(path)
    if not whole:
        _decode(path)


def _dicom_is_whole(path: Path, size: int, tail: bytes) -> bool:
    header, pixels_at = _dicom_header(path, None)
    try:
        with silent_pydicom():
            syntax = header.file_meta.TransferSyntaxUID
            if syntax.is_deflated:
                return False
            if syntax.is_encapsulated:
                return _END_OF_FRAGMENTS in tail
            frames = int(header.get("NumberOfFrames", 1) or 1)
            bits = int(header.Rows) * int(header.Columns) * int(header.SamplesPerPixel) * int(header.BitsAllocated)
    except Exception:  # _decode finds the words for it
        return False
    tag_and_length = 8 if syntax.is_implicit_VR else 12
    return frames == 1 and size >= pixels_at + tag_and_length + bits // 8


def _dicom_header(path: Path, tags: list[str] | None) -> tuple[FileDataset, int]:
    """The header and where in the file it ends."""
    import pydicom  # slow to import, and a tree of JPG has no need of it
    from pydicom.errors import InvalidDicomError

    try:
        with silent_pydicom(), path.open("rb") as file:
            return pydicom.dcmread(file, stop_before_pixels=True, specific_tags=tags), file.tell()
    except InvalidDicomError:
        raise InputError("is not a DICOM file") from None
    except Exception as error:  # a damaged header can raise anything, and its message may quote the patient
        raise InputError(f"the DICOM header cannot be read ({type(error).__name__})") from None


def _picture_opens(path: Path) -> bool:
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                return image.width > 0 and image.height > 0
    except Exception:  # _decode finds the words for it
        return False


def _decode(path: Path) -> None:
    try:
        with silent_pydicom():
            read_image(path)
    except InputError as error:
        raise InputError(str(error).removeprefix(f"image {shown(path)}: ")) from None
