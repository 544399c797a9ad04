"""Reading radiographs from files."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from radiology.errors import InputError
from radiology.images import find_images, image_name, read_image

RAMP = np.arange(12 * 10, dtype=np.uint8).reshape(12, 10)
PATIENT = "SECRET^NAME"


def write_dicom(path: Path, pixels: np.ndarray, **fields: Any) -> Path:
    """A small uncompressed DICOM file; ``fields`` overwrite its attributes."""
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
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    if pixels.ndim == 3:
        dataset.PlanarConfiguration = 0
    for name, value in fields.items():
        setattr(dataset, name, value)
    dataset.PixelData = pixels.tobytes()
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    return path


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_eight_bit_grey_comes_back_as_it_was(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(RAMP).save(tmp_path / f"a.{suffix}")
    read = read_image(tmp_path / f"a.{suffix}")
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, RAMP)


def test_sixteen_bit_grey_comes_back_as_it_was(tmp_path: Path) -> None:
    values = RAMP.astype(np.uint16) * 500
    Image.fromarray(values).save(tmp_path / "a.png")
    read = read_image(str(tmp_path / "a.png"))
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, values)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "CMYK"])
def test_colour_becomes_grey(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.fromarray(RAMP).convert("RGB" if mode == "CMYK" else mode).convert(mode).save(path)
    read = read_image(path)
    assert read.dtype == np.uint8
    np.testing.assert_allclose(read, RAMP, atol=1)


def test_black_and_white_and_constant_images_are_allowed(tmp_path: Path) -> None:
    Image.fromarray(RAMP > 50).save(tmp_path / "bits.png")
    np.testing.assert_array_equal(read_image(tmp_path / "bits.png"), (RAMP > 50) * np.uint8(255))
    Image.fromarray(np.full((4, 4), 7, np.uint8)).save(tmp_path / "flat.png")
    assert (read_image(tmp_path / "flat.png") == 7).all()


def test_floating_point_values_are_stretched(tmp_path: Path) -> None:
    Image.fromarray((RAMP / 119).astype(np.float32)).save(tmp_path / "a.tif")
    read = read_image(tmp_path / "a.tif")
    assert read.dtype == np.uint16
    assert (read.min(), read.max()) == (0, 65535)


def test_dicom_comes_back_as_it_was_and_monochrome1_inverted(tmp_path: Path) -> None:
    values = RAMP.astype(np.uint16) * 30
    np.testing.assert_array_equal(read_image(write_dicom(tmp_path / "a.dcm", values)), values)
    inverted = read_image(write_dicom(tmp_path / "b.dcm", values, PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_array_equal(inverted, values.max() - values)
    eight = read_image(write_dicom(tmp_path / "c.dcm", RAMP, PhotometricInterpretation="MONOCHROME1"))
    assert eight.dtype == np.uint8
    np.testing.assert_array_equal(eight, RAMP.max() - RAMP)


def test_dicom_display_transforms_are_applied(tmp_path: Path) -> None:
    values = RAMP.astype(np.uint16) * 30
    windowed = read_image(write_dicom(tmp_path / "w.dcm", values, WindowCenter=1000, WindowWidth=200))
    assert len(np.unique(windowed)) < len(np.unique(values))
    assert (np.diff(windowed.astype(int).ravel()) >= 0).all()
    signed = read_image(
        write_dicom(tmp_path / "s.dcm", values.astype(np.int16), RescaleSlope=1, RescaleIntercept=-9000)
    )
    assert signed.dtype == np.uint16
    assert (signed.min(), signed.max()) == (0, 65535)


def test_colour_dicom_becomes_grey_and_a_suffix_is_not_needed(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a", np.stack([RAMP] * 3, axis=-1))
    np.testing.assert_allclose(read_image(path), RAMP, atol=1)


def test_broken_files_are_named_and_patients_are_not(tmp_path: Path) -> None:
    Image.fromarray(RAMP).save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    dicom = write_dicom(tmp_path / "whole.dcm", RAMP).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[:-30])
    (tmp_path / "cut.dcm").write_bytes(dicom[:-20])
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text(f"{PATIENT} has a cough")
    (tmp_path / "text.dcm").write_text(f"{PATIENT} has a cough")
    (tmp_path / "folder.png").mkdir()
    write_dicom(tmp_path / "film.dcm", np.concatenate([RAMP, RAMP]), NumberOfFrames=2, Rows=RAMP.shape[0])
    expected = {
        "missing.png": "does not exist",
        "cut.png": "truncated",
        "cut.dcm": "truncated",
        "empty.png": "empty",
        "text.jpg": "not an image",
        "text.dcm": "not a DICOM",
        "folder.png": "not a file",
        "film.dcm": "2 frames",
    }
    for name, reason in expected.items():
        with pytest.raises(InputError, match=reason) as error:
            read_image(tmp_path / name)
        assert name in str(error.value)
        assert "SECRET" not in str(error.value)


def test_damaged_files_never_raise_anything_else(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    Image.fromarray(RAMP).save(tmp_path / "a.png")
    Image.fromarray(RAMP).save(tmp_path / "a.jpg")
    write_dicom(tmp_path / "a.dcm", RAMP)
    for suffix in ("png", "jpg", "dcm"):
        whole = (tmp_path / f"a.{suffix}").read_bytes()
        damaged = tmp_path / f"damaged.{suffix}"
        for _ in range(60):
            content = bytearray(whole)
            for place in rng.integers(len(content), size=4):
                content[place] = rng.integers(256)
            damaged.write_bytes(content)
            with contextlib.suppress(InputError):
                assert read_image(damaged).ndim == 2


def test_images_are_found_at_any_depth_in_order(tmp_path: Path) -> None:
    for name in ("b.PNG", "sub/a.dcm", ".hidden/c.png", ".d.png", "notes.txt", "a.jpeg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find_images(tmp_path) == [tmp_path / "a.jpeg", tmp_path / "b.PNG", tmp_path / "sub" / "a.dcm"]
    with pytest.raises(InputError, match="does not exist"):
        find_images(tmp_path / "nowhere")
    with pytest.raises(InputError, match="is a file"):
        find_images(tmp_path / "a.jpeg")


def test_the_dots_of_a_uid_are_part_of_the_name() -> None:
    assert image_name("1.2.840.10008") == "1.2.840.10008"
    assert image_name("sub/1.2.840.dcm") == "1.2.840"
