"""Reading pictures from files, and finding them. DICOM is in test_dicom.py."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from radiology.errors import InputError
from radiology.images import find_images, image_name, read_image
from radiology.paths import shown

RAMP = np.arange(12 * 10, dtype=np.uint8).reshape(12, 10)
SECRET = "SECRET has a cough"


def png_claiming(width: int, height: int) -> bytes:
    """The smallest PNG of this size: its pixels are not there, only said to be."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = b"IDAT" + zlib.compress(b"")
    chunks = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in (header, body)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_eight_bit_grey_comes_back_as_it_was(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(RAMP).save(tmp_path / f"a.{suffix}")
    read = read_image(tmp_path / f"a.{suffix}")
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, RAMP)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_sixteen_bit_grey_comes_back_as_it_was(tmp_path: Path, suffix: str, order: str) -> None:
    values = RAMP.astype(np.uint16) * 500
    Image.fromarray(values.astype(order)).save(tmp_path / f"a.{suffix}")
    read = read_image(str(tmp_path / f"a.{suffix}"))
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, values)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "CMYK"])
def test_colour_becomes_grey(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.fromarray(RAMP).convert("RGB" if mode == "CMYK" else mode).convert(mode).save(path)
    read = read_image(path)
    assert read.dtype == np.uint8
    np.testing.assert_allclose(read, RAMP, atol=1)


def test_a_jpeg_in_four_inks_becomes_grey(tmp_path: Path) -> None:
    y, x = np.mgrid[:48, :48]
    grey = (x * 2 + y * 3).astype(np.uint8)
    Image.fromarray(grey).convert("RGB").convert("CMYK").save(tmp_path / "a.jpg", quality=98)
    np.testing.assert_allclose(read_image(tmp_path / "a.jpg").astype(int), grey, atol=4)


def test_a_tiff_whose_zero_is_white_is_turned_round(tmp_path: Path) -> None:
    """Tag 262 (PhotometricInterpretation) = 0; the same picture in 8 and in 16 bits."""
    for dtype in (np.uint8, np.uint16):
        values = RAMP.astype(dtype) * (1 if dtype == np.uint8 else 500)
        path = tmp_path / f"{dtype.__name__}.tif"
        Image.fromarray(values).save(path)
        content = bytearray(path.read_bytes())
        place = content.index(struct.pack("<HHI", 262, 3, 1))
        content[place + 8] = 0
        path.write_bytes(content)
        read = read_image(path)
        np.testing.assert_array_equal(np.argsort(read, axis=None), np.argsort(values, axis=None)[::-1])
        assert read.dtype == dtype


def test_black_and_white_and_constant_images_are_allowed(tmp_path: Path) -> None:
    Image.fromarray(RAMP > 50).save(tmp_path / "bits.png")
    np.testing.assert_array_equal(read_image(tmp_path / "bits.png"), (RAMP > 50) * np.uint8(255))
    for shape in ((4, 4), (1, 1), (1, 20), (20, 1)):
        Image.fromarray(np.full(shape, 7, np.uint8)).save(tmp_path / "flat.png")
        np.testing.assert_array_equal(read_image(tmp_path / "flat.png"), np.full(shape, 7))


def test_fractions_and_negative_numbers_are_stretched(tmp_path: Path) -> None:
    share = RAMP / 119
    for values in (share, share * 40.5, share * 200 - 100):
        Image.fromarray(values.astype(np.float32)).save(tmp_path / "a.tif")
        read = read_image(tmp_path / "a.tif")
        assert read.dtype == np.uint16
        np.testing.assert_allclose(read, share * 65535, atol=1)
    Image.fromarray(RAMP.astype(np.float32) * 500).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), RAMP.astype(np.uint16) * 500)


def test_what_is_not_a_number_is_black(tmp_path: Path) -> None:
    values = (RAMP / 119).astype(np.float32) - 3
    values[0, :3] = np.nan, np.inf, -np.inf
    Image.fromarray(values).save(tmp_path / "a.tif")
    read = read_image(tmp_path / "a.tif")
    assert read[0, :3].tolist() == [0, 65535, 0]
    np.testing.assert_allclose(read[1:], (RAMP[1:] - 3) / 116 * 65535, atol=1)
    Image.fromarray(np.full((3, 3), np.nan, np.float32)).save(tmp_path / "b.tif")
    assert not read_image(tmp_path / "b.tif").any()


def test_a_picture_turned_by_the_camera_stands_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RAMP).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.rot90(RAMP, -1))


def bad_files(folder: Path) -> dict[str, str]:
    """Files that are no radiographs → what their message says."""
    Image.fromarray(RAMP).save(folder / "whole.png")
    Image.fromarray(RAMP).save(folder / "whole.jpg")
    whole = (folder / "whole.png").read_bytes()
    pictures = [Image.fromarray(RAMP), Image.fromarray(255 - RAMP)]
    save: dict[str, Any] = {"save_all": True, "append_images": pictures[1:]}
    for name in ("film.png", "film.tif"):
        pictures[0].save(folder / name, **save)
    pictures[0].save(folder / "film.gif", **save)
    (folder / "film.gif").rename(folder / "gif.png")
    (folder / "cut.png").write_bytes(whole[:-30])
    (folder / "cut.jpg").write_bytes((folder / "whole.jpg").read_bytes()[:-30])
    (folder / "damaged.png").write_bytes(whole[:50] + b"\xff" + whole[51:])
    (folder / "empty.png").touch()
    (folder / "text.jpg").write_text(SECRET)
    (folder / "script.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    (folder / "bomb.png").write_bytes(png_claiming(60_000, 60_000))
    (folder / "large.png").write_bytes(png_claiming(20_000, 5_001))
    Image.fromarray(np.zeros((1, 5000), np.uint8)).save(folder / "strip.png")
    (folder / "folder.png").mkdir()
    (folder / "loop.png").symlink_to(folder / "loop.png")
    (folder / "nothing.png").symlink_to(folder / "gone")
    os.mkfifo(folder / "pipe.png")
    return {
        "missing.png": "does not exist",
        "film.png": "2 pictures",
        "film.tif": "2 pictures",
        "gif.png": "not an image",
        "cut.png": "truncated",
        "cut.jpg": "truncated",
        "damaged.png": "damaged",
        "empty.png": "empty",
        "text.jpg": "not an image",
        "script.png": "not an image",
        "bomb.png": "more than the 100000000",
        "large.png": "20000 × 5001",
        "strip.png": "5000 × 1 pixels",
        "folder.png": "not a file",
        "loop.png": "a link to nothing|cannot be opened",
        "nothing.png": "a link to nothing",
        "pipe.png": "not a file",
        "x" * 300 + ".png": "cannot be opened|does not exist",
        "nul\0.png": "cannot be opened|does not exist",
    }


def test_every_bad_file_gets_one_message_with_its_name(tmp_path: Path) -> None:
    for name, reason in bad_files(tmp_path).items():
        with pytest.raises(InputError, match=reason) as error:
            read_image(tmp_path / name)
        message = str(error.value)
        assert shown(tmp_path / name) in message
        assert message.isprintable()
        assert "SECRET" not in message


def test_a_file_that_vanishes_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(RAMP).save(path)
    listed = find_images(tmp_path)
    path.unlink()
    with pytest.raises(InputError, match=r"a\.png: does not exist"):
        read_image(listed[0])


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "BMP"])
def test_a_file_cut_off_anywhere_is_refused_or_still_the_same_picture(tmp_path: Path, form: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(RAMP).save(buffer, form)
    whole, path = buffer.getvalue(), tmp_path / f"a.{form.lower()}"
    path.write_bytes(whole)
    expected = read_image(path)
    refused = 0
    for length in range(0, len(whole), max(1, len(whole) // 80)):
        path.write_bytes(whole[:length])
        try:
            np.testing.assert_array_equal(read_image(path), expected)
        except InputError:
            refused += 1
    assert refused > 40


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "BMP"])
def test_damaged_files_never_raise_anything_else(tmp_path: Path, form: str) -> None:
    rng = np.random.default_rng(0)
    buffer = io.BytesIO()
    Image.fromarray(RAMP).save(buffer, form)
    damaged = tmp_path / f"damaged.{form.lower()}"
    for _ in range(60):
        content = bytearray(buffer.getvalue())
        for place in rng.integers(len(content), size=4):
            content[place] = rng.integers(256)
        damaged.write_bytes(content)
        with contextlib.suppress(InputError):
            assert read_image(damaged).ndim == 2


def test_names_are_shown_in_one_line_of_text(tmp_path: Path) -> None:
    assert shown(tmp_path / "Lunge ö.png") == f"{tmp_path}/Lunge ö.png"
    assert shown("a\nb\x1b[2J.png") == r"a\nb\x1b[2J.png"
    assert shown(os.fsdecode(b"a\xff.png")) == r"a\udcff.png"
    path = tmp_path / os.fsdecode(b"a\xff\n.png")
    path.write_text(SECRET)
    with pytest.raises(InputError) as error:
        read_image(path)
    assert str(error.value).encode().isascii()


def test_images_are_found_at_any_depth_in_order(tmp_path: Path) -> None:
    for name in ("b.PNG", "sub/a.dcm", ".hidden/c.png", ".d.png", "notes.txt", "a.jpeg", "x.png/inside.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = ["a.jpeg", "b.PNG", "sub/a.dcm", "x.png/inside.png"]
    assert find_images(tmp_path) == [tmp_path / name for name in names]
    with pytest.raises(InputError, match="does not exist"):
        find_images(tmp_path / "nowhere")
    with pytest.raises(InputError, match="is a file"):
        find_images(tmp_path / "a.jpeg")


def test_dicom_is_found_without_a_suffix_by_its_mark(tmp_path: Path) -> None:
    mark = b"\0" * 128 + b"DICM"
    for name in ("IM0001", "1.2.840.113.5", "DICOMDIR", "notes.txt", "README", "2.16.840.1.7"):
        (tmp_path / name).write_bytes(b"text" if name in ("README", "2.16.840.1.7") else mark)
    assert find_images(tmp_path) == [tmp_path / "1.2.840.113.5", tmp_path / "IM0001"]


def test_links_are_followed_once_and_loops_end(tmp_path: Path) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "folder"
    for path in (elsewhere / "a.png", folder / "sub" / "b.png"):
        path.parent.mkdir(parents=True)
        path.touch()
    (folder / "linked").symlink_to(elsewhere)
    (folder / "sub" / "up").symlink_to(folder)
    (elsewhere / "self").symlink_to(elsewhere)
    (folder / "nothing.png").symlink_to(folder / "gone")
    names = ["linked/a.png", "nothing.png", "sub/b.png"]
    assert find_images(folder) == [folder / name for name in names]


def test_the_dots_of_a_uid_are_part_of_the_name() -> None:
    assert image_name("1.2.840.10008") == "1.2.840.10008"
    assert image_name("sub/1.2.840.dcm") == "1.2.840"
