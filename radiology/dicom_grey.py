"""From the stored values of a DICOM radiograph to the grey that a viewer shows at first, bright = dense tissue.

The grayscale pipeline of PS3.4 N.2: modality transform, VOI transform, presentation. It is a function of the stored
value alone, so it is worked out once for every value that occurs, not for every pixel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from radiology.dicom_codecs import counting_bits
from radiology.images import fit_integers

if TYPE_CHECKING:
    from radiology.dicom import PixelFormat

#: The display range of windows.
WHITE = 65535
_LUMINANCE = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as Pillow has it


def grey_of_stored(stored_hw: np.ndarray, dataset: Dataset, pixels: PixelFormat) -> np.ndarray:
    """Stored values (whole numbers) → grey (height, width), uint8 where 8 bits suffice, else uint16.

    Pixels of the padding value (PS3.3 C.7.5.1.1.2) are no part of the picture: they become as black as the darkest of
    the others, and have no say in the stretching of values that fit neither type.
    """
    low = int(stored_hw.min())
    index_hw = np.subtract(stored_hw, low, dtype=np.int32)
    levels = np.flatnonzero(np.bincount(index_hw.ravel()))
    padding = _is_padding(levels + low, dataset, pixels)
    if padding.all():
        padding[:] = False
    picture = levels[~padding]
    shown = fit_integers(
        _displayed((picture + low).astype(np.float64), dataset, pixels.photometric),
        np.uint8 if pixels.bits_stored <= 8 else np.uint16,
    )
    table = np.full(int(levels[-1]) + 1, shown.min(), shown.dtype)
    table[picture] = shown
    grey: np.ndarray = table[index_hw]
    return grey


def grey_of_colour(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Luminance of RGB (height, width, 3), or of a palette's colours."""
    if stored.ndim == 2:
        from pydicom.pixels import apply_color_lut

        stored = apply_color_lut(stored, dataset)
    luminance: np.ndarray = (stored[..., :3] @ _LUMINANCE).round().astype(stored.dtype)
    return luminance


def _is_padding(levels: np.ndarray, dataset: Dataset, pixels: PixelFormat) -> np.ndarray:
    """Which stored values are padding: one value, or a range where the file gives its other end too."""
    ends = [_number(dataset, field) for field in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    if ends[0] is None:
        return np.zeros(levels.shape, dtype=bool)
    given = np.array([int(end) for end in ends if end is not None])
    # the value may be written without the sign that the pixels have
    values = counting_bits(given, pixels) if pixels.signed else given
    return (levels >= values.min()) & (levels <= values.max())


def _displayed(levels: np.ndarray, dataset: Dataset, photometric: str) -> np.ndarray:
    """Grey of each stored value, not yet of an integer type."""
    values = _modality(levels, dataset)
    shown, white = _voi(values, dataset)
    shape = str(dataset.get("PresentationLUTShape") or "").strip().upper()
    if photometric == "MONOCHROME1" or shape == "INVERSE":
        # Each alone asks for it, and a file that has both (PS3.3 C.8.11.3 wants both of DX) means it once.
        total = white if white is not None else shown.max() + shown.min()
        return total - shown
    return shown


def _modality(levels: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Stored values to those of the modality (PS3.3 C.11.1): a table, or slope · x + intercept."""
    if dataset.get("ModalityLUTSequence"):
        return _looked_up(levels, dataset.ModalityLUTSequence[0], dataset)[0]
    slope, intercept = _number(dataset, "RescaleSlope"), _number(dataset, "RescaleIntercept")
    return levels * (slope or 1.0) + (intercept or 0.0)  # a slope of 0 would leave nothing: it was never filled in


def _voi(values: np.ndarray, dataset: Dataset) -> tuple[np.ndarray, float | None]:
    """What the file wants to be seen (PS3.3 C.11.2), and its white: the first table, else the first window.

    What is not valid, or leaves nothing of the picture, is not applied; white is None then.
    """
    for apply in (_voi_table, _voi_window):
        found = apply(values, dataset)
        if found is not None and (np.ptp(found[0]) > 0 or np.ptp(values) == 0):
            return found
    return values, None


def _voi_table(values: np.ndarray, dataset: Dataset) -> tuple[np.ndarray, float | None] | None:
    if not dataset.get("VOILUTSequence"):
        return None
    try:
        return _looked_up(values, dataset.VOILUTSequence[0], dataset)
    except (AttributeError, ValueError, TypeError, IndexError):
        return None


def _voi_window(values: np.ndarray, dataset: Dataset) -> tuple[np.ndarray, float | None] | None:
    """The window functions of PS3.3 C.11.2.1.2 and C.11.2.1.3, onto 0 … WHITE."""
    center, width = _number(dataset, "WindowCenter"), _number(dataset, "WindowWidth")
    function = str(dataset.get("VOILUTFunction") or "LINEAR").strip().upper()
    if center is None or width is None or width < (1 if function == "LINEAR" else 1e-9):
        return None
    if function == "SIGMOID":
        with np.errstate(over="ignore"):
            share = 1 / (1 + np.exp(-4 * (values - center) / width))
    elif function == "LINEAR_EXACT":
        share = (values - center) / width + 0.5
    elif function == "LINEAR" and width > 1:
        share = (values - (center - 0.5)) / (width - 1) + 0.5
    elif function == "LINEAR":
        share = (values > center - 0.5).astype(np.float64)
    else:
        return None
    return np.rint(np.clip(share, 0, 1) * WHITE), float(WHITE)


def _looked_up(values: np.ndarray, item: Dataset, dataset: Dataset) -> tuple[np.ndarray, float]:
    """Values through a lookup table (PS3.3 C.11.1.1, C.11.2.1.1), and the largest value it can hold.

    What lies before the first mapped value gets the first entry, what lies behind the last one the last.

    Raises:
        ValueError: the table has fewer entries than it says.
    """
    count, first, bits = (int(number) for number in item.LUTDescriptor)
    count = count % 65536 or 65536  # 65536 is written as 0, and large counts as negative where the VR is signed
    if first > 32767 and values.min() < 0:
        first -= 65536
    entries = _entries(item.LUTData, count, dataset)
    if len(entries) < count:
        raise ValueError("lookup table: fewer entries than it says")
    index = np.clip(np.rint(values).astype(np.int64) - first, 0, count - 1)
    return entries[index].astype(np.float64), float(2 ** (bits % 65536) - 1)


def _entries(data: Any, count: int, dataset: Dataset) -> np.ndarray:
    if isinstance(data, bytes):
        words = len(data) >= 2 * count
        little = dataset.original_encoding[1] is not False
        return np.frombuffer(data[: 2 * count if words else count], ("<u2" if little else ">u2") if words else "u1")
    return np.atleast_1d(np.asarray(data, dtype=np.int64)) % 65536


def _number(dataset: Dataset, field: str) -> float | None:
    """A number of the header, the first where there are several; None where there is none."""
    try:
        value = dataset.get(field)
        number = float(value[0] if isinstance(value, MultiValue) else value)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return number if np.isfinite(number) else None
