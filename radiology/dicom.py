"""DICOM radiographs: the file, its fields, and from both the grey values that a viewer would show.

The decoding of pixels is in :mod:`radiology.dicom_codecs`, the way from stored values to grey in
:mod:`radiology.dicom_grey`. Messages name files and fields and never a value: it may be a patient's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from radiology.dicom_codecs import CodecError, decode
from radiology.dicom_grey import grey_of_colour, grey_of_stored
from radiology.dicom_privacy import silent_pydicom
from radiology.errors import InputError
from radiology.images import check_size, readable
from radiology.paths import shown

_CELLS = (1, 8, 16)
_GREY = ("MONOCHROME1", "MONOCHROME2")
_COLOUR = ("PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")


@dataclass(frozen=True)
class PixelFormat:
    """How the pixels of a file are laid out: PS3.3 C.7.6.3 (Image Pixel Module) and the transfer syntax.

    Attributes:
        bits_stored, high_bit: of the ``bits_allocated`` of a sample, those that count, and the highest of them.
        signed: two's complement.
        photometric: what the numbers mean: MONOCHROME1 (small = white), MONOCHROME2, PALETTE COLOR, RGB, YBR …
    """

    rows: int
    columns: int
    samples: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    photometric: str
    syntax: UID


def read_dicom(path: Path, file: BinaryIO) -> np.ndarray:
    """Grey values (rows, columns) of a radiograph, uint8 or uint16, bright = dense tissue.

    Raises:
        InputError: not DICOM, cut off, without pixels or a field that they need, several frames, or a compression
            that cannot be read; the message says which, and which package reads it if one does.
    """
    where = f"image {shown(path)}"
    with silent_pydicom():
        dataset = _open(where, file)
        try:
            pixels = _pixel_format(where, dataset)
            check_size(path, pixels.columns, pixels.rows)
            stored = decode(dataset, pixels)
            if pixels.photometric in _GREY:
                return grey_of_stored(stored, dataset, pixels)
            return grey_of_colour(stored, dataset)
        except InputError:
            raise
        except CodecError as error:
            raise InputError(f"{where}: {error}") from None
        except Exception as error:  # a damaged header can raise anything, and its message may quote the patient
            raise InputError(f"{where}: the DICOM header is damaged ({type(error).__name__})") from None


def _open(where: str, file: BinaryIO) -> Dataset:
    try:
        try:
            dataset: Dataset = pydicom.dcmread(file)
        except InvalidDicomError:  # no preamble: allowed before there were files in DICOM, and seen since
            file.seek(0)
            dataset = pydicom.dcmread(file, force=True)
            if not ("Rows" in dataset or "SOPClassUID" in dataset):
                raise InputError(f"{where}: is not a DICOM file; {readable()}") from None
    except InputError:
        raise
    except EOFError:
        raise InputError(f"{where}: the DICOM file is truncated; copy it again") from None
    except Exception as error:
        raise InputError(f"{where}: the DICOM header cannot be read ({type(error).__name__})") from None
    if "PixelData" not in dataset:
        raise InputError(f"{where}: the DICOM file holds no pixels: it is cut off, or not an image")
    return dataset


def _pixel_format(where: str, dataset: Dataset) -> PixelFormat:
    frames = _whole(where, dataset, "NumberOfFrames", 0, 2**31, default=1)
    if frames > 1:
        raise InputError(f"{where}: the DICOM file holds {frames} frames; give one radiograph a file")
    dataset.NumberOfFrames = 1  # 0 and an empty value are seen, and mean one
    allocated = _whole(where, dataset, "BitsAllocated", 1, 64)
    if allocated not in _CELLS:
        raise InputError(f"{where}: DICOM field 'BitsAllocated' is not 1, 8 or 16, as a radiograph has them")
    stored = _whole(where, dataset, "BitsStored", 1, allocated, default=allocated)
    samples = _whole(where, dataset, "SamplesPerPixel", 1, 4, default=1)
    if samples > 1:
        _whole(where, dataset, "PlanarConfiguration", 0, 1, default=0)
    photometric = str(dataset.get("PhotometricInterpretation") or "").strip().upper()
    if photometric not in (*_GREY, *_COLOUR):
        what = "is not one of the standard" if photometric else "is missing"
        raise InputError(
            f"{where}: DICOM field 'PhotometricInterpretation' {what}, so it is not known whether bright is dense"
        )
    return PixelFormat(
        rows=_whole(where, dataset, "Rows", 1, 65535),
        columns=_whole(where, dataset, "Columns", 1, 65535),
        samples=samples,
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=_whole(where, dataset, "HighBit", stored - 1, allocated - 1, default=stored - 1),
        signed=bool(_whole(where, dataset, "PixelRepresentation", 0, 1, default=0)),
        photometric=photometric,
        syntax=_syntax(where, dataset),
    )


def _whole(where: str, dataset: Dataset, field: str, low: int, high: int, default: int | None = None) -> int:
    """A whole number of the header, put back as such; ``default`` where the field is missing or empty."""
    value: Any = dataset.get(field)
    if value is None or value == "":
        if default is None:
            raise InputError(f"{where}: DICOM field {field!r} is missing")
        value = default
    if not isinstance(value, int) or not low <= value <= high:
        raise InputError(f"{where}: DICOM field {field!r} is not a whole number from {low} to {high}")
    setattr(dataset, field, int(value))
    return int(value)


def _syntax(where: str, dataset: Dataset) -> UID:
    """The transfer syntax; where the file does not tell, what its bytes were read as."""
    meta = getattr(dataset, "file_meta", None)
    told = meta.get("TransferSyntaxUID") if meta is not None else None
    if told:
        return UID(told)
    if dataset["PixelData"].is_undefined_length:
        raise InputError(f"{where}: DICOM field 'TransferSyntaxUID' is missing, and the pixels are compressed")
    implicit, little = dataset.original_encoding
    found = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = found
    return found
