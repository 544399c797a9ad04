"""Reading radiographs: PNG, JPEG, TIFF, BMP and DICOM files to grey values.

Errors name the file and what is wrong with it, and nothing of what is written inside of it.
"""

from __future__ import annotations

import struct
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from radiology.errors import InputError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

DICOM_SUFFIXES: tuple[str, ...] = (".dcm", ".dicom")
IMAGE_SUFFIXES: tuple[str, ...] = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", *DICOM_SUFFIXES)

_MAX_UINT16 = np.iinfo(np.uint16).max
_LUMINANCE = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as Pillow has it


def read_image(path: str | Path) -> np.ndarray:
    """Grey values (height, width), uint8 or uint16, bright = dense tissue.

    Colour becomes luminance, an alpha channel is dropped, values that fit neither type are stretched to 16 bits. DICOM:
    the modality and display (VOI) transforms of the file are applied and MONOCHROME1 is inverted. A constant image is
    allowed.

    Raises InputError if the file is missing, empty, truncated, or not an image that can be read.
    """
    path = Path(path)
    _check_file(path)
    if path.suffix.lower() in DICOM_SUFFIXES or _has_dicom_magic(path):
        return _read_dicom(path)
    return _read_picture(path)


def image_name(path: str | Path) -> str:
    """The last part of a path without the suffix of an image; dots in a bare name (a DICOM UID) stay."""
    path = Path(path)
    return path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name


def find_images(folder: str | Path) -> list[Path]:
    """Every image below ``folder``, at any depth, sorted; hidden files and folders are left out.

    Raises InputError if ``folder`` is not a folder.
    """
    folder = Path(folder)
    if not folder.exists():
        raise InputError(f"folder {folder}: does not exist")
    if not folder.is_dir():
        raise InputError(f"folder {folder}: is a file; give the folder that holds the images")
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def _check_file(path: Path) -> None:
    if not path.exists():
        raise InputError(f"image {path}: does not exist")
    if not path.is_file():
        raise InputError(f"image {path}: is not a file")
    if path.stat().st_size == 0:
        raise InputError(f"image {path}: the file is empty (0 bytes)")


def _has_dicom_magic(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError as error:
        raise InputError(f"image {path}: cannot be opened ({type(error).__name__})") from None


def _read_picture(path: Path) -> np.ndarray:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about metadata, which nobody looks at here
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                image.load()
                return _grey_of_picture(ImageOps.exif_transpose(image))
    except UnidentifiedImageError:
        raise InputError(f"image {path}: is not an image, or its beginning is damaged; {_readable()}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InputError(f"image {path}: has more than {Image.MAX_IMAGE_PIXELS} pixels, too many to read") from None
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        struct.error,
    ):  # what Pillow raises for files cut off or damaged in the middle
        raise InputError(f"image {path}: is truncated or damaged; copy the file again") from None


def _grey_of_picture(image: Image.Image) -> np.ndarray:
    if image.mode in ("L", "1"):
        return np.asarray(image.convert("L"))
    if image.mode.startswith("I") or image.mode == "F":
        return _fit_integers(np.asarray(image))
    if image.mode in ("LA", "La"):
        return np.asarray(image.getchannel(0))
    return np.asarray(image.convert("RGB").convert("L"))


def _read_dicom(path: Path) -> np.ndarray:
    import pydicom  # slow to import, and most folders hold no DICOM
    from pydicom.errors import InvalidDicomError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom quotes the value that it finds unusual: a patient's data
            dataset = pydicom.dcmread(path)
    except InvalidDicomError:
        raise InputError(f"image {path}: is not a DICOM file; {_readable()}") from None
    except Exception as error:  # a damaged header can raise anything, and its message may quote the patient
        raise InputError(f"image {path}: the DICOM header cannot be read ({type(error).__name__})") from None
    if "PixelData" not in dataset:
        raise InputError(f"image {path}: the DICOM file holds no pixels")
    try:
        return _grey_of_dicom(path, dataset)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"image {path}: the DICOM pixels cannot be decoded ({type(error).__name__}): truncated, or a compression "
            "that is not installed; copy the file again or convert it to an uncompressed one"
        ) from None


def _grey_of_dicom(path: Path, dataset: Dataset) -> np.ndarray:
    from pydicom.pixels import apply_modality_lut, apply_voi_lut, pixel_array

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        raw: Any = pixel_array(dataset)
        frames = int(dataset.get("NumberOfFrames", 1) or 1)
        if frames > 1:
            raise InputError(f"image {path}: the DICOM file holds {frames} frames; give one radiograph a file")
        if raw.ndim == 3:
            return _fit_integers((raw[..., :3] @ _LUMINANCE).round().astype(raw.dtype))
        values = apply_voi_lut(apply_modality_lut(raw, dataset), dataset)
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
        values = (float(values.max()) + float(values.min()) - values).astype(values.dtype)
    return _fit_integers(values)


def _fit_integers(values: np.ndarray) -> np.ndarray:
    """Values as uint8 or uint16: rounded where they fit, else stretched over 16 bits."""
    if values.dtype in (np.uint8, np.uint16):
        return values
    finite = np.nan_to_num(values.astype(np.float64))
    low, high = float(finite.min()), float(finite.max())
    share_of_one = values.dtype.kind == "f" and high <= 1
    if low >= 0 and high <= _MAX_UINT16 and not share_of_one:
        return np.round(finite).astype(np.uint16)
    if high == low:
        return np.zeros(values.shape, dtype=np.uint16)
    return np.round((finite - low) / (high - low) * _MAX_UINT16).astype(np.uint16)


def _readable() -> str:
    return f"readable are {', '.join(IMAGE_SUFFIXES)}"
