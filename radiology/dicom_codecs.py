"""From the encoded pixels of a DICOM file to its stored values.

| transfer syntax | read by |
|---|---|
| uncompressed, deflated, RLE | pydicom |
| JPEG Baseline, JPEG Extended of 8 bits, JPEG 2000 | Pillow |
| JPEG Lossless, JPEG Extended of 12 bits, JPEG-LS, High-Throughput JPEG 2000 | imagecodecs, if it is installed |

One reader a syntax, never whichever pydicom finds: the same file gives the same values on every machine. GDCM is not
used even where it is installed: it ends the whole process on some damaged files.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels import pixel_array
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

if TYPE_CHECKING:
    from radiology.dicom import PixelFormat

#: Transfer syntax → pydicom's name of the reader.
_OF_PYDICOM: dict[UID, str] = {
    RLELossless: "pydicom",
    JPEGBaseline8Bit: "pillow",
    JPEGExtended12Bit: "pillow",
    JPEG2000Lossless: "pillow",
    JPEG2000: "pillow",
}
#: Transfer syntax → function of imagecodecs.
_OF_IMAGECODECS: dict[UID, str] = {
    JPEGExtended12Bit: "jpeg8_decode",
    JPEGLossless: "jpeg8_decode",
    JPEGLosslessSV1: "jpeg8_decode",
    JPEGLSLossless: "jpegls_decode",
    JPEGLSNearLossless: "jpegls_decode",
    HTJ2KLossless: "jpeg2k_decode",
    HTJ2KLosslessRPCL: "jpeg2k_decode",
    HTJ2K: "jpeg2k_decode",
}
_PACKAGE = "imagecodecs"
_JPEG_END = b"\xff\xd9"
#: Where the end of a JPEG is looked for: encoders pad behind it, with zeros or ones.
_TAIL = 64
#: Start-of-frame markers of JPEG, and that of JPEG-LS.
_FRAME_MARKERS = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
_J2K_START = b"\xff\x4f\xff\x51"


class CodecError(Exception):
    """Pixels that cannot be decoded; the message says why without naming the file."""


def decode(dataset: Dataset, pixels: PixelFormat) -> np.ndarray:
    """Stored values: (rows, columns) whole numbers, or (rows, columns, 3) RGB.

    Of each sample only the bits that count are kept (PS3.5 8.1.1: the others may hold anything), and the sign is
    carried over from the highest of them.

    Raises:
        CodecError: a transfer syntax that is not read, or whose package is missing; damaged or truncated pixels.
    """
    syntax = pixels.syntax
    if syntax.type != "Transfer Syntax":
        raise CodecError("the transfer syntax is not one of the DICOM standard; export the file again, uncompressed")
    name = f"compressed as {syntax.name} ({syntax})"
    if syntax not in _OF_PYDICOM and syntax not in _OF_IMAGECODECS and syntax.is_encapsulated:
        raise CodecError(f"{name}, which is not read; convert it, e.g. to uncompressed DICOM or to PNG")
    extra = syntax in _OF_IMAGECODECS and not (syntax == JPEGExtended12Bit and pixels.bits_allocated == 8)
    try:
        if _has_codestream(syntax):
            _check_frame(_frame(dataset), pixels)
        raw = _of_imagecodecs(dataset, pixels, name) if extra else _of_pydicom(dataset, syntax)
        if raw.shape != (pixels.rows, pixels.columns, pixels.samples)[: 3 if pixels.samples > 1 else 2]:
            raise ValueError("another shape than the header says")
    except CodecError:
        raise
    except Exception as error:  # whatever a decoder makes of damaged bytes
        how = name if syntax.is_encapsulated else "uncompressed"
        raise CodecError(
            f"the DICOM pixels ({how}) are truncated or damaged ({type(error).__name__}); copy the file again"
        ) from None
    decoded = _has_codestream(syntax) and raw.dtype.kind == ("i" if pixels.signed else "u")
    # codestreams have no unused bits; but some know no signs, and hold the bits of the two's complement
    return raw if decoded or raw.ndim == 3 else counting_bits(raw, pixels)


def counting_bits(raw: np.ndarray, pixels: PixelFormat) -> np.ndarray:
    """The stored value in each cell of ``bits_allocated`` bits, as int32."""
    cells = raw.astype(np.int64) & ((1 << pixels.bits_allocated) - 1)
    values = (cells >> (pixels.high_bit + 1 - pixels.bits_stored)) & ((1 << pixels.bits_stored) - 1)
    if pixels.signed:
        sign = 1 << (pixels.bits_stored - 1)
        values = (values ^ sign) - sign
    return values.astype(np.int32)


def _has_codestream(syntax: UID) -> bool:
    return syntax.is_encapsulated and syntax != RLELossless


def _of_pydicom(dataset: Dataset, syntax: UID) -> np.ndarray:
    plugin = _OF_PYDICOM.get(syntax, "")
    if _has_codestream(syntax):
        return pixel_array(dataset, decoding_plugin=plugin)
    # pydicom's own treatment of unused bits knows no high bit other than the highest stored one
    return pixel_array(dataset, decoding_plugin=plugin, correct_unused_bits=False)


def _frame(dataset: Dataset) -> bytes:
    return get_frame(dataset.PixelData, 0, number_of_frames=1)


def _of_imagecodecs(dataset: Dataset, pixels: PixelFormat, name: str) -> np.ndarray:
    try:
        import imagecodecs
    except ImportError:
        raise CodecError(
            f"{name}, which needs the package {_PACKAGE}: pip install {_PACKAGE}, or pip install 'interp[dicom]'"
        ) from None
    if pixels.samples > 1:
        raise CodecError(f"{name} and in colour, which is not read; convert it, e.g. to uncompressed DICOM or to PNG")
    raw: np.ndarray = getattr(imagecodecs, _OF_IMAGECODECS[pixels.syntax])(_frame(dataset))
    return raw


def _check_frame(frame: bytes, pixels: PixelFormat) -> None:
    """ValueError for a compressed image that is cut off, or of another size than the header says.

    Some decoders fill what is missing with grey and say nothing; some take minutes over a size that is damaged.
    """
    is_jpeg = frame.startswith(b"\xff\xd8")
    if is_jpeg and _JPEG_END not in frame[-_TAIL:]:
        raise ValueError("no end")
    size = _jpeg_size(frame) if is_jpeg else _j2k_size(frame)
    if size != (pixels.rows, pixels.columns):
        raise ValueError("other size")


def _jpeg_size(frame: bytes) -> tuple[int, int]:
    """(rows, columns) from the start-of-frame segment: marker, length, precision, rows, columns."""
    place = 2
    while frame[place] == 0xFF:
        marker = frame[place + 1]
        if marker in _FRAME_MARKERS:
            rows, columns = struct.unpack_from(">HH", frame, place + 5)
            return rows, columns
        if marker == 0xFF:  # fill byte
            place += 1
        else:
            place += 2 + struct.unpack_from(">H", frame, place + 2)[0]
    raise ValueError("no frame")


def _j2k_size(frame: bytes) -> tuple[int, int]:
    """(rows, columns) from the SIZ segment: marker, length, capabilities, right, bottom, left, top."""
    place = frame.index(_J2K_START)
    right, bottom, left, top = struct.unpack_from(">4I", frame, place + 8)
    return bottom - top, right - left
