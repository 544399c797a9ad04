"""DICOM radiographs: values by the formulas of the standard, every transfer syntax, broken files."""

from __future__ import annotations

import contextlib
import io
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from radiology.errors import InputError
from radiology.images import read_image

RAMP = np.arange(12 * 10, dtype=np.uint8).reshape(12, 10)
PATIENT = "SECRET^NAME"
WHITE = 65535


def dataset_of(pixels: np.ndarray, **fields: Any) -> Dataset:
    """A small uncompressed data set; ``fields`` overwrite its attributes, None removes one."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.SOPClassUID, dataset.SOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3"
    dataset.PatientName = PATIENT
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    dataset.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
    dataset.BitsAllocated = dataset.BitsStored = 8 * pixels.dtype.itemsize
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    if pixels.ndim == 3:
        dataset.PlanarConfiguration = 0
    for name, value in fields.items():
        setattr(dataset, name, value)
        if value is None:
            delattr(dataset, name)
    if "HighBit" not in fields:
        dataset.HighBit = dataset.get("BitsStored", 1) - 1
    dataset.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    dataset["PixelData"].VR = "OB" if pixels.dtype.itemsize == 1 else "OW"
    return dataset


def write_dicom(path: Path, pixels: np.ndarray, **fields: Any) -> Path:
    pydicom.dcmwrite(path, dataset_of(pixels, **fields), enforce_file_format=True)
    return path


def write_compressed(path: Path, pixels: np.ndarray, syntax: UID, frame: bytes, **fields: Any) -> Path:
    """Pixels that were compressed elsewhere, put into a DICOM file."""
    dataset = dataset_of(pixels, **fields)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    return path


def lookup(entries: Any, first: int, bits: int) -> list[Dataset]:
    item = Dataset()
    item.LUTDescriptor = [len(entries) % 65536, first, bits]
    item.add_new("LUTData", "US", [int(entry) for entry in entries])
    return [item]


def random_pixels(bits: int, signed: bool = False, shape: tuple[int, int] = (19, 23)) -> np.ndarray:
    low = -(1 << bits - 1) if signed else 0
    high = low + (1 << bits)
    dtype = ("int" if signed else "uint") + ("8" if bits <= 8 else "16")
    values = np.random.default_rng(bits).integers(low, high, shape).astype(dtype)
    values[0, :2] = low, high - 1
    return values


def smooth_pixels(bits: int) -> np.ndarray:
    """What lossy compression is made for."""
    y, x = np.mgrid[:64, :80]
    wave = 0.5 + 0.4 * np.sin(x / 17) * np.cos(y / 13)
    return (wave * ((1 << bits) - 1)).astype(np.uint8 if bits <= 8 else np.uint16)


def stretched(values: np.ndarray) -> np.ndarray:
    """Over 16 bits, by definition."""
    numbers = values.astype(np.float64)
    return np.rint((numbers - numbers.min()) / (numbers.max() - numbers.min()) * WHITE).astype(np.uint16)


# Stored values


@pytest.mark.parametrize("bits", [1, 8, 10, 12, 14, 16])
@pytest.mark.parametrize("rubbish", [False, True])
def test_unsigned_values_come_back_as_they_were(tmp_path: Path, bits: int, rubbish: bool) -> None:
    """PS3.5 8.1.1: bits that are not stored may hold anything, overlays for instance."""
    values = random_pixels(bits)
    cells = values | np.array(0xFFFF << bits & 0xFFFF).astype(values.dtype) if rubbish else values
    read = read_image(write_dicom(tmp_path / "a.dcm", cells, BitsStored=bits))
    assert read.dtype == values.dtype
    np.testing.assert_array_equal(read, values)


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_signed_values_are_stretched_over_16_bits(tmp_path: Path, bits: int) -> None:
    values = random_pixels(bits, signed=True)
    cells = values & 0xFFF if bits == 12 else values  # two's complement in the stored bits, zeros above
    read = read_image(write_dicom(tmp_path / "a.dcm", cells.astype(values.dtype), BitsStored=bits))
    np.testing.assert_array_equal(read, stretched(values))


def test_stored_bits_may_lie_high_in_their_cell(tmp_path: Path) -> None:
    values = random_pixels(12)
    path = write_dicom(tmp_path / "a.dcm", (values << 4 | 5).astype(np.uint16), BitsStored=12, HighBit=15)
    np.testing.assert_array_equal(read_image(path), values)


@pytest.mark.parametrize(
    "missing", ["PixelRepresentation", "BitsStored", "SamplesPerPixel", "NumberOfFrames", "HighBit", "PatientName"]
)
def test_what_has_an_obvious_value_may_be_missing(tmp_path: Path, missing: str) -> None:
    dataset = dataset_of(RAMP)
    if missing in dataset:
        delattr(dataset, missing)
    pydicom.dcmwrite(tmp_path / "a.dcm", dataset, enforce_file_format=True)
    np.testing.assert_array_equal(read_image(tmp_path / "a.dcm"), RAMP)


@pytest.mark.parametrize("missing", ["Rows", "Columns", "BitsAllocated", "PhotometricInterpretation"])
def test_what_has_not_is_named_when_it_is_missing(tmp_path: Path, missing: str) -> None:
    with pytest.raises(InputError, match=f"'{missing}' is missing"):
        read_image(write_dicom(tmp_path / "a.dcm", RAMP, **{missing: None}))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("BitsAllocated", 32),
        ("BitsStored", 9),
        ("HighBit", 3),
        ("PixelRepresentation", 2),
        ("Rows", 0),
        ("PhotometricInterpretation", "SECRET"),
    ],
)
def test_what_makes_no_sense_is_named_without_its_value(tmp_path: Path, field: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"'{field}' is not") as error:
        read_image(write_dicom(tmp_path / "a.dcm", RAMP, **{field: value}))
    assert "SECRET" not in str(error.value)


# From stored values to grey


def test_monochrome1_is_inverted_once(tmp_path: Path) -> None:
    """PS3.3 C.7.6.3.1.2: the smallest value is white. C.8.11.3: DX says INVERSE beside it."""
    values = RAMP.astype(np.uint16) * 30 + 7
    for name, fields in {
        "one": {"PhotometricInterpretation": "MONOCHROME1"},
        "both": {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
        "shape": {"PresentationLUTShape": "INVERSE"},
        "fuji": {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "IDENTITY"},
    }.items():
        read = read_image(write_dicom(tmp_path / f"{name}.dcm", values, **fields))
        np.testing.assert_array_equal(read, int(values.max()) + int(values.min()) - values, err_msg=name)
    plain = read_image(write_dicom(tmp_path / "plain.dcm", values, PresentationLUTShape="IDENTITY"))
    np.testing.assert_array_equal(plain, values)
    eight = read_image(write_dicom(tmp_path / "eight.dcm", RAMP, PhotometricInterpretation="MONOCHROME1"))
    assert eight.dtype == np.uint8
    np.testing.assert_array_equal(eight, RAMP.max() - RAMP)


def test_rescaling_follows_its_formula(tmp_path: Path) -> None:
    values = random_pixels(12)
    whole = read_image(write_dicom(tmp_path / "a.dcm", values, BitsStored=12, RescaleSlope=2, RescaleIntercept=10))
    np.testing.assert_array_equal(whole, values * 2 + 10)
    fine = read_image(write_dicom(tmp_path / "b.dcm", values, BitsStored=12, RescaleSlope="0.01", RescaleIntercept=-5))
    np.testing.assert_array_equal(fine, stretched(values))
    turned = read_image(write_dicom(tmp_path / "c.dcm", values, BitsStored=12, RescaleSlope=-1, RescaleIntercept=4095))
    np.testing.assert_array_equal(turned, 4095 - values)
    unset = read_image(write_dicom(tmp_path / "d.dcm", values, BitsStored=12, RescaleSlope=0, RescaleIntercept=0))
    np.testing.assert_array_equal(unset, values)


def linear(x: float, c: float, w: float) -> float:
    """PS3.3 C.11.2.1.2.1, as it is written there."""
    if x <= c - 0.5 - (w - 1) / 2:
        return 0
    if x > c - 0.5 + (w - 1) / 2:
        return WHITE
    return ((x - (c - 0.5)) / (w - 1) + 0.5) * WHITE


def linear_exact(x: float, c: float, w: float) -> float:
    """PS3.3 C.11.2.1.3.2."""
    if x <= c - w / 2:
        return 0
    if x > c + w / 2:
        return WHITE
    return ((x - c) / w + 0.5) * WHITE


def sigmoid(x: float, c: float, w: float) -> float:
    """PS3.3 C.11.2.1.3.1."""
    return 0 if x < c - 150 * w else WHITE / (1 + float(np.exp(-4 * (x - c) / w)))


@pytest.mark.parametrize(
    ("name", "formula"),
    [(None, linear), ("LINEAR", linear), ("LINEAR_EXACT", linear_exact), ("SIGMOID", sigmoid)],
)
@pytest.mark.parametrize(("center", "width"), [(2048, 1000), (100.5, 1), (2000, 4096), (1500, 3)])
def test_windows_follow_their_formulas(
    tmp_path: Path, name: str | None, formula: Callable[[float, float, float], float], center: float, width: float
) -> None:
    values = random_pixels(12)
    values[1, :4] = 99, 100, 101, 1500
    fields = {"WindowCenter": center, "WindowWidth": width} | ({"VOILUTFunction": name} if name else {})
    expected = np.rint([[formula(float(x), center, width) for x in row] for row in values])
    np.testing.assert_array_equal(
        read_image(write_dicom(tmp_path / "a.dcm", values, BitsStored=12, **fields)), expected
    )
    fields["PhotometricInterpretation"] = "MONOCHROME1"
    inverted = read_image(write_dicom(tmp_path / "b.dcm", values, BitsStored=12, **fields))
    np.testing.assert_array_equal(inverted, WHITE - expected)  # after the window, not before it


def test_a_window_is_in_units_of_the_modality_and_the_first_of_several_counts(tmp_path: Path) -> None:
    values = random_pixels(12, signed=True)
    fields = {"RescaleSlope": 2, "RescaleIntercept": -100, "WindowCenter": [300, 0], "WindowWidth": [800, 5000]}
    read = read_image(write_dicom(tmp_path / "a.dcm", values & 0xFFF, BitsStored=12, PixelRepresentation=1, **fields))
    expected = [[linear(2 * float(x) - 100, 300, 800) for x in row] for row in values]
    np.testing.assert_array_equal(read, np.rint(expected))


@pytest.mark.parametrize(
    "fields",
    [
        {"WindowCenter": 2000, "WindowWidth": 0},
        {"WindowCenter": 2000},
        {"WindowCenter": "", "WindowWidth": ""},
        {"WindowCenter": 2000, "WindowWidth": 500, "VOILUTFunction": "UNHEARD_OF"},
        {"WindowCenter": 60000, "WindowWidth": 10},
        {"VOILUTSequence": [Dataset()]},
    ],
)
def test_a_window_that_says_nothing_is_not_applied(tmp_path: Path, fields: dict[str, Any]) -> None:
    values = random_pixels(12)
    np.testing.assert_array_equal(read_image(write_dicom(tmp_path / "a.dcm", values, BitsStored=12, **fields)), values)


def test_lookup_tables_replace_values_and_come_before_windows(tmp_path: Path) -> None:
    """PS3.3 C.11.2.1.1: below the first mapped value the first entry, above the last the last."""
    values = random_pixels(12)
    entries = (np.arange(1000) ** 2 // 16).astype(np.uint16)
    fields: dict[str, Any] = {"VOILUTSequence": lookup(entries, 500, 16), "WindowCenter": 1, "WindowWidth": 2}
    expected = entries[np.clip(values.astype(int) - 500, 0, 999)]
    np.testing.assert_array_equal(
        read_image(write_dicom(tmp_path / "a.dcm", values, BitsStored=12, **fields)), expected
    )
    fields = {"VOILUTSequence": lookup(entries >> 4, 500, 12), "PhotometricInterpretation": "MONOCHROME1"}
    inverted = read_image(write_dicom(tmp_path / "b.dcm", values, BitsStored=12, **fields))
    np.testing.assert_array_equal(inverted, 4095 - (expected >> 4))


def test_a_table_of_8_bits_may_have_more_than_256_entries(tmp_path: Path) -> None:
    values = random_pixels(12)
    entries = (np.arange(4096) >> 4).astype(np.uint16)
    read = read_image(write_dicom(tmp_path / "a.dcm", values, BitsStored=12, VOILUTSequence=lookup(entries, 0, 8)))
    np.testing.assert_array_equal(read, values >> 4)
    item = lookup(entries, 0, 8)
    item[0].add_new("LUTData", "OW", entries.astype("<u2").tobytes())
    read = read_image(write_dicom(tmp_path / "b.dcm", values, BitsStored=12, VOILUTSequence=item))
    np.testing.assert_array_equal(read, values >> 4)


def test_a_modality_table_comes_before_the_window(tmp_path: Path) -> None:
    values = random_pixels(8)
    entries = (np.arange(256) * 200 + 3).astype(np.uint16)
    fields = {"ModalityLUTSequence": lookup(entries, 0, 16), "WindowCenter": 20000, "WindowWidth": 9000}
    read = read_image(write_dicom(tmp_path / "a.dcm", values, **fields))
    expected = [[linear(float(entries[x]), 20000, 9000) for x in row] for row in values]
    np.testing.assert_array_equal(read, np.rint(expected))


def test_padding_is_black_and_has_no_say(tmp_path: Path) -> None:
    """PS3.3 C.7.5.1.1.2: what is padding is no part of the picture, before every transform."""
    picture = random_pixels(10, signed=True)
    padded = picture.copy()
    padded[:4] = -2000
    inside = stretched(picture[4:])
    fields = {"BitsStored": 16, "PixelPaddingValue": -2000}
    read = read_image(write_dicom(tmp_path / "a.dcm", padded, **fields))
    assert (read[:4] == 0).all()
    np.testing.assert_array_equal(read[4:], inside)
    inverted = read_image(write_dicom(tmp_path / "b.dcm", padded, PhotometricInterpretation="MONOCHROME1", **fields))
    assert (inverted[:4] == 0).all()
    np.testing.assert_allclose(inverted[4:].astype(int), WHITE - inside.astype(int), atol=1)
    padded[0] = -1990
    fields["PixelPaddingRangeLimit"] = -1980
    np.testing.assert_array_equal(read_image(write_dicom(tmp_path / "c.dcm", padded, **fields))[4:], inside)


def test_a_picture_of_nothing_but_padding_is_a_constant_one(tmp_path: Path) -> None:
    read = read_image(write_dicom(tmp_path / "a.dcm", np.full((3, 4), 9, np.uint8), PixelPaddingValue=9))
    np.testing.assert_array_equal(read, np.full((3, 4), 9))


def test_colour_becomes_luminance(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (9, 8, 3), dtype=np.uint8)
    expected = np.rint(colours @ [0.299, 0.587, 0.114])
    np.testing.assert_array_equal(read_image(write_dicom(tmp_path / "rgb.dcm", colours)), expected)
    planes = write_dicom(tmp_path / "p.dcm", colours.transpose(2, 0, 1).copy(), PlanarConfiguration=1, Rows=9,
                         Columns=8, SamplesPerPixel=3, PhotometricInterpretation="RGB")  # fmt: skip
    np.testing.assert_array_equal(read_image(planes), expected)
    ybr = np.asarray(Image.fromarray(colours).convert("YCbCr"))
    read = read_image(write_dicom(tmp_path / "ybr.dcm", ybr, PhotometricInterpretation="YBR_FULL"))
    np.testing.assert_allclose(read, expected, atol=2)


def test_a_palette_is_looked_up(tmp_path: Path) -> None:
    palette = {}
    for name in ("Red", "Green", "Blue"):
        palette[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 8]
        palette[f"{name}PaletteColorLookupTableData"] = bytes(range(255, -1, -1))
    read = read_image(write_dicom(tmp_path / "a.dcm", RAMP, PhotometricInterpretation="PALETTE COLOR", **palette))
    np.testing.assert_array_equal(read, 255 - RAMP)


# Transfer syntaxes


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_uncompressed_syntaxes(tmp_path: Path, syntax: UID) -> None:
    values = random_pixels(12)
    dataset = dataset_of(values.astype(">u2") if syntax == ExplicitVRBigEndian else values, BitsStored=12)
    dataset.file_meta.TransferSyntaxUID = syntax
    pydicom.dcmwrite(tmp_path / "a.dcm", dataset, enforce_file_format=True)
    np.testing.assert_array_equal(read_image(tmp_path / "a.dcm"), values)


@pytest.mark.parametrize("implicit", [True, False])
def test_no_preamble(tmp_path: Path, implicit: bool) -> None:
    values = random_pixels(12)
    dataset = dataset_of(values, BitsStored=12)
    del dataset.file_meta
    pydicom.dcmwrite(tmp_path / "a.dcm", dataset, implicit_vr=implicit, little_endian=True)
    np.testing.assert_array_equal(read_image(tmp_path / "a.dcm"), values)


def test_neither_suffix_nor_preamble_of_other_files_is_needed(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_image(write_dicom(tmp_path / "1.2.840.5", RAMP)), RAMP)


def jpeg2000(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG2000", irreversible=False, no_jp2=True)
    return buffer.getvalue()


def jpeg2000_of_bits(bits: int) -> Callable[[np.ndarray], bytes]:
    return lambda pixels: imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", reversible=True, bitspersample=bits)


def jpeg_lossless(bits: int) -> Callable[[np.ndarray], bytes]:
    return lambda pixels: imagecodecs.jpeg8_encode(pixels, lossless=True, bitspersample=bits)


LOSSLESS: list[tuple[UID, int, Callable[[np.ndarray], bytes]]] = [
    (JPEG2000Lossless, 8, jpeg2000),
    (JPEG2000Lossless, 16, jpeg2000),
    *((JPEG2000Lossless, bits, jpeg2000_of_bits(bits)) for bits in (10, 12, 14)),
    *((JPEGLosslessSV1, bits, jpeg_lossless(bits)) for bits in (8, 10, 12, 14, 16)),
    (JPEGLossless, 12, jpeg_lossless(12)),
    (JPEGLSLossless, 8, imagecodecs.jpegls_encode),
    (JPEGLSLossless, 12, imagecodecs.jpegls_encode),
    (HTJ2KLossless, 8, imagecodecs.htj2k_encode),
    (HTJ2KLosslessRPCL, 12, imagecodecs.htj2k_encode),
    (HTJ2K, 16, imagecodecs.htj2k_encode),
]


@pytest.mark.parametrize(("syntax", "bits", "encode"), LOSSLESS)
def test_lossless_compression_loses_nothing(
    tmp_path: Path, syntax: UID, bits: int, encode: Callable[[np.ndarray], bytes]
) -> None:
    values = random_pixels(bits)
    path = write_compressed(tmp_path / "a.dcm", values, syntax, encode(values), BitsStored=bits)
    read = read_image(path)
    assert read.dtype == values.dtype
    np.testing.assert_array_equal(read, values)


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEGLSLossless])
def test_lossless_compression_of_signed_values(tmp_path: Path, syntax: UID) -> None:
    """Neither format knows signs: the bits of the two's complement are compressed."""
    values = random_pixels(12, signed=True)
    cells = (values & 0xFFF).astype(np.uint16)
    frame = jpeg_lossless(12)(cells) if syntax == JPEGLosslessSV1 else imagecodecs.jpegls_encode(cells)
    path = write_compressed(tmp_path / "a.dcm", cells, syntax, frame, BitsStored=12, PixelRepresentation=1)
    np.testing.assert_array_equal(read_image(path), stretched(values))


def test_run_length_encoding_loses_nothing(tmp_path: Path) -> None:
    for bits in (8, 12, 16):
        values = random_pixels(bits)
        dataset = dataset_of(values, BitsStored=bits)
        dataset.compress(RLELossless, encoding_plugin="pydicom")
        pydicom.dcmwrite(tmp_path / "a.dcm", dataset, enforce_file_format=True)
        np.testing.assert_array_equal(read_image(tmp_path / "a.dcm"), values)


def jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("syntax", "bits", "encode", "bound"),
    [
        (JPEGBaseline8Bit, 8, jpeg, 2),
        (JPEGExtended12Bit, 8, jpeg, 2),
        (JPEGExtended12Bit, 12, lambda p: imagecodecs.jpeg8_encode(p, bitspersample=12, level=95), 16),
        (JPEG2000, 12, lambda p: imagecodecs.jpeg2k_encode(p, codecformat="j2k", level=70, bitspersample=12), 16),
        (JPEGLSNearLossless, 12, lambda p: imagecodecs.jpegls_encode(p, level=3), 3),
    ],
)
def test_lossy_compression_loses_little(
    tmp_path: Path, syntax: UID, bits: int, encode: Callable[[np.ndarray], bytes], bound: int
) -> None:
    values = smooth_pixels(bits)
    read = read_image(write_compressed(tmp_path / "a.dcm", values, syntax, encode(values), BitsStored=bits))
    assert 0 < np.abs(read.astype(int) - values).max() <= bound


def test_compressed_pixels_go_through_the_same_display(tmp_path: Path) -> None:
    values = random_pixels(12)
    fields = {"BitsStored": 12, "WindowCenter": 2000, "WindowWidth": 900, "PhotometricInterpretation": "MONOCHROME1"}
    plain = read_image(write_dicom(tmp_path / "a.dcm", values, **fields))
    frame = jpeg_lossless(12)(values)
    np.testing.assert_array_equal(
        read_image(write_compressed(tmp_path / "b.dcm", values, JPEGLosslessSV1, frame, **fields)), plain
    )


def test_colour_jpeg(tmp_path: Path) -> None:
    grey = smooth_pixels(8)
    colours = np.stack([grey, grey // 2 + 60, 255 - grey], axis=-1)
    path = write_compressed(
        tmp_path / "a.dcm", colours, JPEGBaseline8Bit, jpeg(colours), PhotometricInterpretation="YBR_FULL_422"
    )
    np.testing.assert_allclose(read_image(path), np.rint(colours @ [0.299, 0.587, 0.114]), atol=4)


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEGLSLossless, JPEGExtended12Bit, HTJ2KLossless])
def test_a_missing_package_is_named(tmp_path: Path, syntax: UID, monkeypatch: pytest.MonkeyPatch) -> None:
    values = random_pixels(12)
    encode = {JPEGLSLossless: imagecodecs.jpegls_encode, HTJ2KLossless: imagecodecs.htj2k_encode}
    frame = encode.get(syntax, jpeg_lossless(12))(values)
    path = write_compressed(tmp_path / "a.dcm", values, syntax, frame, BitsStored=12)
    monkeypatch.setitem(sys.modules, "imagecodecs", None)  # as if it were not installed
    with pytest.raises(InputError, match="pip install imagecodecs") as error:
        read_image(path)
    assert syntax.name in str(error.value)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.100", "1.2.3.4", "1.2.840.10008.1.2.4.94"])
def test_a_syntax_that_nobody_reads_is_named(tmp_path: Path, syntax: str) -> None:
    path = write_compressed(tmp_path / "a.dcm", RAMP, JPEGBaseline8Bit, b"\0\0")
    path.write_bytes(_other_syntax(path, UID(syntax)))
    with pytest.raises(InputError, match=r"not read|not one of the DICOM standard") as error:
        read_image(path)
    assert UID(syntax).is_private or UID(syntax).name in str(error.value)


def _other_syntax(path: Path, syntax: UID) -> bytes:
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, implicit_vr=False, little_endian=True, overwrite=True)
    return buffer.getvalue()


# Broken files


def assert_refused(path: Path, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as error:
        read_image(path)
    assert path.name in str(error.value)
    assert "SECRET" not in str(error.value)


def test_broken_files_are_named_and_patients_are_not(tmp_path: Path) -> None:
    whole = write_dicom(tmp_path / "whole.dcm", RAMP).read_bytes()
    (tmp_path / "pixels.dcm").write_bytes(whole[:-20])
    (tmp_path / "header.dcm").write_bytes(whole[:300])
    (tmp_path / "preamble.dcm").write_bytes(whole[:128])
    (tmp_path / "text.dcm").write_text(f"{PATIENT} has a cough")
    write_dicom(tmp_path / "film.dcm", np.concatenate([RAMP, RAMP]), NumberOfFrames=2, Rows=RAMP.shape[0])
    write_dicom(tmp_path / "huge.dcm", RAMP, Rows=60000, Columns=60000)
    no_pixels = dataset_of(RAMP)
    del no_pixels.PixelData
    pydicom.dcmwrite(tmp_path / "report.dcm", no_pixels, enforce_file_format=True)
    for name, reason in {
        "pixels.dcm": "truncated",
        "header.dcm": "truncated|holds no pixels",
        "preamble.dcm": "not a DICOM",
        "text.dcm": "not a DICOM",
        "film.dcm": "2 frames",
        "huge.dcm": "60000 × 60000",
        "report.dcm": "holds no pixels",
    }.items():
        assert_refused(tmp_path / name, reason)


@pytest.mark.parametrize(("syntax", "bits", "encode"), LOSSLESS)
def test_a_compressed_picture_that_is_cut_off_is_refused(
    tmp_path: Path, syntax: UID, bits: int, encode: Callable[[np.ndarray], bytes]
) -> None:
    """Some decoders fill up what is missing with grey."""
    values = random_pixels(bits)
    frame = encode(values)
    for share in (0.1, 0.5, 0.9):
        cut = frame[: int(len(frame) * share)]
        assert_refused(write_compressed(tmp_path / "a.dcm", values, syntax, cut, BitsStored=bits), "truncated")
    file = write_compressed(tmp_path / "b.dcm", values, syntax, frame, BitsStored=bits)
    whole = file.read_bytes()
    for length in range(1, len(whole) - 16, len(whole) // 20):  # behind are the marks that the pixels are over
        file.write_bytes(whole[:length])
        assert_refused(file, "truncated|cut off|not a DICOM")


def test_a_picture_of_another_size_than_its_header_says_is_refused(tmp_path: Path) -> None:
    values = random_pixels(12)
    frame = jpeg_lossless(12)(values)
    assert_refused(
        write_compressed(tmp_path / "a.dcm", values, JPEGLosslessSV1, frame, BitsStored=12, Rows=7), "damaged"
    )
    start = frame.index(b"\xff\xc3")
    huge = frame[: start + 5] + struct.pack(">HH", 65500, 65500) + frame[start + 9 :]
    assert_refused(write_compressed(tmp_path / "b.dcm", values, JPEGLosslessSV1, huge, BitsStored=12), "damaged")


@pytest.mark.parametrize(
    "syntax", [None, RLELossless, JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless]
)
def test_damaged_files_never_raise_anything_else(tmp_path: Path, syntax: UID | None) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "a.dcm"
    if syntax is None:
        write_dicom(path, RAMP)
    elif syntax == RLELossless:
        dataset = dataset_of(RAMP)
        dataset.compress(RLELossless, encoding_plugin="pydicom")
        pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    else:
        encode = {
            JPEGBaseline8Bit: jpeg,
            JPEGLosslessSV1: jpeg_lossless(8),
            JPEGLSLossless: imagecodecs.jpegls_encode,
            JPEG2000Lossless: jpeg2000,
        }[syntax]
        write_compressed(path, RAMP, syntax, encode(RAMP))
    whole = path.read_bytes()
    for _ in range(60):
        content = bytearray(whole)
        for place in rng.integers(128, len(content), size=4):
            content[place] = rng.integers(256)
        path.write_bytes(content)
        with contextlib.suppress(InputError):
            assert read_image(path).ndim == 2
