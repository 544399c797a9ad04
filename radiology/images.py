"""Reading radiographs: PNG, JPEG, TIFF, BMP and DICOM files to grey values.

Errors name the file and what is wrong with it, and nothing of what is written inside of it.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from radiology.errors import InputError
from radiology.paths import shown

DICOM_SUFFIXES: tuple[str, ...] = (".dcm", ".dicom")
IMAGE_SUFFIXES: tuple[str, ...] = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", *DICOM_SUFFIXES)
#: The largest radiographs have about 25 million pixels; a small file can claim any number.
MAX_PIXELS = 100_000_000
#: Models bring the shorter side to a fixed length: a strip would become as long as it is thin.
MAX_ASPECT = 20

#: Others of Pillow's formats are no radiographs, and some start other programs.
_PICTURE_FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
_MAX_UINT16 = int(np.iinfo(np.uint16).max)


def read_image(path: str | Path) -> np.ndarray:
    """Grey values (height, width), uint8 or uint16, bright = dense tissue.

    Colour becomes luminance, an alpha channel is dropped. Whole numbers that fit come back as they are; fractions and
    negative numbers are stretched over 16 bits, and what is not a number becomes black. DICOM goes through the file's
    own display transforms, see :mod:`radiology.dicom`. A constant image is allowed.

    Raises:
        InputError: the file is missing, empty, truncated, not an image that can be read, of several frames, larger
            than ``MAX_PIXELS``, or longer than ``MAX_ASPECT`` times its width.
    """
    path = Path(path)
    try:
        _check_file(path)
        with path.open("rb") as file:
            is_dicom = path.suffix.lower() in DICOM_SUFFIXES or _has_dicom_magic(file)
            file.seek(0)
            grey = _read_dicom(path, file) if is_dicom else _read_picture(path, file)
    except InputError:
        raise
    except (OSError, ValueError) as error:  # gone since it was listed, no permission, a name that no file can have
        raise InputError(f"image {shown(path)}: cannot be opened ({type(error).__name__})") from None
    height, width = grey.shape
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise InputError(f"image {shown(path)}: is {width} × {height} pixels; no radiograph is that long and thin")
    return grey


def image_name(path: str | Path) -> str:
    """The last part of a path without the suffix of an image; dots in a bare name (a DICOM UID) stay."""
    path = Path(path)
    return path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name


def find_images(folder: str | Path) -> list[Path]:
    """Every image below ``folder``, at any depth, sorted; hidden files and folders are left out.

    An image is known by its suffix; a file without one, or with the name of a DICOM UID, by the mark of DICOM at its
    beginning. Links are followed, each folder is looked at once. Nothing is opened otherwise: what cannot be read is
    in the list too.

    Raises:
        InputError: ``folder`` is not a folder, or a folder in it cannot be listed.
    """
    folder = Path(folder)
    if not folder.exists():
        raise InputError(f"folder {shown(folder)}: does not exist")
    if not folder.is_dir():
        raise InputError(f"folder {shown(folder)}: is a file; give the folder that holds the images")
    found: list[Path] = []
    seen: set[str] = set()
    for where, folders, files in os.walk(folder, followlinks=True, onerror=_cannot_be_listed):
        real = os.path.realpath(where)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and real not in seen)
        if real not in seen:
            seen.add(real)
            found += (Path(where, name) for name in files if _is_image(Path(where, name)))
    return sorted(found)


def fit_integers(values: np.ndarray, smallest: type[np.unsignedinteger] = np.uint16) -> np.ndarray:
    """Grey values as uint8 or uint16: whole numbers as they are where they fit, everything else stretched over 16 bits.

    What is not a number, or infinitely small, becomes the smallest value; what is infinitely large the largest.

    Args:
        smallest: ``np.uint8`` where values that fit it shall have that type.
    """
    if values.dtype in (np.uint8, np.uint16):
        return values
    numbers = values.astype(np.float64)
    finite = np.isfinite(numbers)
    if not finite.any():
        return np.zeros(values.shape, np.uint16)
    low, high = float(numbers[finite].min()), float(numbers[finite].max())
    if not finite.all():
        numbers = np.nan_to_num(numbers, nan=low, posinf=high, neginf=low)
    if low >= 0 and bool((numbers == np.rint(numbers)).all()):
        for dtype in (smallest, np.uint16):
            if high <= np.iinfo(dtype).max:
                return numbers.astype(dtype)
    if high == low:
        return np.zeros(values.shape, np.uint16)
    return np.rint((numbers - low) / (high - low) * _MAX_UINT16).astype(np.uint16)


def check_size(path: Path, width: int, height: int) -> None:
    """InputError if a file claims more pixels than any radiograph has; asked before they are decoded."""
    if width * height > MAX_PIXELS:
        raise InputError(
            f"image {shown(path)}: claims {width} × {height} pixels, more than the {MAX_PIXELS} that are read"
        )


def readable() -> str:
    return f"readable are {', '.join(IMAGE_SUFFIXES)}"


def _check_file(path: Path) -> None:
    if not path.exists():
        why = "is a link to nothing" if path.is_symlink() else "does not exist"
        raise InputError(f"image {shown(path)}: {why}")
    if not path.is_file():
        raise InputError(f"image {shown(path)}: is not a file")
    if path.stat().st_size == 0:
        raise InputError(f"image {shown(path)}: the file is empty (0 bytes)")


def _has_dicom_magic(file: BinaryIO) -> bool:
    return file.read(132)[128:] == b"DICM"


def _is_image(path: Path) -> bool:
    if path.name.startswith("."):
        return False
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return True
    if (suffix and not suffix[1:].isdigit()) or path.name == "DICOMDIR" or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return _has_dicom_magic(file)
    except OSError:
        return False


def _cannot_be_listed(error: OSError) -> None:
    where = shown(error.filename or "")
    raise InputError(f"folder {where}: cannot be listed ({type(error).__name__}); change its rights or move it away")


def _read_dicom(path: Path, file: BinaryIO) -> np.ndarray:
    from radiology.dicom import read_dicom  # pydicom is slow to import, and most folders hold no DICOM

    return read_dicom(path, file)


def _read_picture(path: Path, file: BinaryIO) -> np.ndarray:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about metadata, which nobody looks at here, and sizes, checked below
            with Image.open(file, formats=_PICTURE_FORMATS) as image:
                check_size(path, *image.size)
                _check_single(path, image)
                inverted = _is_inverted_tiff(image)
                image.load()
                upright = ImageOps.exif_transpose(image)
    except InputError:
        raise
    except UnidentifiedImageError:
        raise InputError(f"image {shown(path)}: is not an image, or its beginning is damaged; {readable()}") from None
    except Image.DecompressionBombError:
        raise InputError(
            f"image {shown(path)}: claims more than the {MAX_PIXELS} pixels that are read, or is damaged"
        ) from None
    except Exception:  # a file that is cut off or damaged in the middle can make Pillow raise anything
        raise InputError(f"image {shown(path)}: is truncated or damaged; copy the file again") from None
    grey = _grey_of_picture(upright)
    return _inverse(grey) if inverted else grey


def _inverse(grey: np.ndarray) -> np.ndarray:
    return (int(grey.max()) + int(grey.min()) - grey.astype(np.int64)).astype(grey.dtype)


def _check_single(path: Path, image: Image.Image) -> None:
    """One picture a file; what an MPO, which is a JPEG, holds besides are its preview and its depth."""
    frames = 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))
    if frames > 1:
        raise InputError(f"image {shown(path)}: holds {frames} pictures; give one radiograph a file")


def _is_inverted_tiff(image: Image.Image) -> bool:
    """Whether 0 means white. Pillow turns such a TIFF of 8 bits round by itself, one of 16 or 32 bits it does not."""
    tags = getattr(image, "tag_v2", {})
    return tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0 and image.mode not in ("1", "L", "P")


def _grey_of_picture(image: Image.Image) -> np.ndarray:
    """Luminance of a decoded picture."""
    if image.mode in ("L", "1"):
        return np.asarray(image.convert("L"))
    if image.mode.startswith("I") or image.mode == "F":
        return fit_integers(np.asarray(image))
    if image.mode in ("LA", "La"):
        return np.asarray(image.getchannel(0))
    return np.asarray(image.convert("RGB").convert("L"))
