"""Arrays of rows in forms that other tools open: ``safetensors`` and ``npy``, written block by block.

A safetensors file holds all arrays of one shard, an npy file holds one array of the whole store. Neither is ever whole
in memory. References: the safetensors README ("Format"), and :mod:`numpy.lib.format`.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import xxhash

from activations.files import make_folder, publish, storage_errors, temporary_name
from activations.shard import checksum
from radiology.errors import InputError

#: Number format → its name in safetensors, and how numpy sees it; npy has no bfloat16, so its sixteen bits are written.
FORMS: dict[str, tuple[str, np.dtype]] = {
    "bfloat16": ("BF16", np.dtype("<u2")),
    "float16": ("F16", np.dtype("<f2")),
    "float32": ("F32", np.dtype("<f4")),
    "int32": ("I32", np.dtype("<i4")),
    "int16": ("I16", np.dtype("<i2")),
    "int8": ("I8", np.dtype("i1")),
    "uint8": ("U8", np.dtype("u1")),
}


@dataclass(frozen=True)
class Array:
    """A column of rows: its ``name`` as in a shard (``sites/language.15``), number format, width (None: one value)."""

    name: str
    dtype: str
    width: int | None = None

    @property
    def on_disk(self) -> np.dtype:
        return FORMS[self.dtype][1]

    @property
    def row_bytes(self) -> int:
        return self.on_disk.itemsize * (1 if self.width is None else self.width)

    def shape(self, rows: int) -> tuple[int, ...]:
        return (rows,) if self.width is None else (rows, self.width)

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "dtype": self.dtype, "width": self.width}


@dataclass(frozen=True)
class WrittenFile:
    """A finished file: its name in the export, rows, size in bytes, and checksum as of a shard."""

    file: str
    rows: int
    bytes: int
    checksum: str


#: Gives the blocks of an array that belong to the shard in hand, in row order, as they lie on disk.
Blocks = Callable[[Array], Iterator[np.ndarray]]


class SafetensorsFiles:
    """``NAME.safetensors`` for every shard.

    Args:
        out: folder of the export.
        arrays: what each file holds; laid down from wide to narrow numbers, so that all are aligned.
        done: what an earlier process has finished.
        metadata: text fields of every file's header.
    """

    def __init__(
        self, out: Path, arrays: Sequence[Array], done: Sequence[WrittenFile], metadata: Mapping[str, str]
    ) -> None:
        self._out, self._metadata = out, dict(metadata)
        self._arrays = sorted(arrays, key=lambda array: -array.on_disk.itemsize)
        self.files = list(done)

    def put(self, shard: str, first: int, rows: int, blocks: Blocks) -> None:
        """Write the file of one shard; ``first`` is its first row in the export."""
        path = self._out / f"{shard}.safetensors"
        temporary, digest, size = temporary_name(path), xxhash.xxh3_128(), 0
        with storage_errors(path):
            file = temporary.open("wb")
        with file:
            for block in self._content(first, rows, blocks):
                with storage_errors(path):
                    file.write(block)
                digest.update(block)
                size += len(block)
            with storage_errors(path):
                file.flush()
        with storage_errors(path):
            publish(temporary, path)
        self.files.append(WrittenFile(path.name, rows, size, f"xxh3_128:{digest.hexdigest()}"))

    def finish(self) -> list[WrittenFile]:
        return self.files

    def close(self) -> None:
        """Nothing stays open."""

    def _content(self, first: int, rows: int, blocks: Blocks) -> Iterator[memoryview]:
        header: dict[str, Any] = {"__metadata__": {**self._metadata, "first_row": str(first)}}
        end = 0
        for array in self._arrays:
            start, end = end, end + rows * array.row_bytes
            name = FORMS[array.dtype][0]
            header[array.name] = {"dtype": name, "shape": array.shape(rows), "data_offsets": [start, end]}
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        yield memoryview(len(text).to_bytes(8, "little") + text)
        for array in self._arrays:
            for block in blocks(array):
                if block.size:  # memory of no size has no bytes
                    yield np.ascontiguousarray(block, array.on_disk).data.cast("B")


class NpyFiles:
    """``NAME.npy`` for every array, with the rows of all shards.

    The files grow under temporary names. A shard's rows have their fixed place, so writing a shard again changes
    nothing, and whoever goes on needs to know only how many rows were done.

    Raises:
        InputError: of the rows that were done some are not there any more.
    """

    def __init__(self, out: Path, arrays: Sequence[Array], rows: int, done: int = 0) -> None:
        self._arrays = {array: out / f"{array.name}.npy" for array in arrays}
        self._out, self._rows = out, rows
        self._open: dict[Array, BinaryIO] = {}
        self._stack = ExitStack()
        for array, path in self._arrays.items():
            if done and not path.exists():
                self._require(array, temporary_name(path), done)

    def put(self, shard: str, first: int, rows: int, blocks: Blocks) -> None:
        """Write the rows of one shard at ``first`` and have them on the disk."""
        for array, path in self._arrays.items():
            file = self._file(array)
            with storage_errors(path):
                file.seek(len(self._header(array)) + first * array.row_bytes)
            for block in blocks(array):
                with storage_errors(path):
                    file.write(np.ascontiguousarray(block, array.on_disk).data)
            with storage_errors(path):
                file.flush()
                os.fsync(file.fileno())

    def finish(self) -> list[WrittenFile]:
        """Give the files their names; each is read once more for its checksum."""
        found = []
        for array, path in self._arrays.items():
            if array in self._open or not path.exists():
                self._file(array).close()
                self._require(array, temporary_name(path), self._rows)
                with storage_errors(path):
                    publish(temporary_name(path), path)
            found.append(
                WrittenFile(path.relative_to(self._out).as_posix(), self._rows, path.stat().st_size, checksum(path))
            )
        return found

    def close(self) -> None:
        self._stack.close()

    def _require(self, array: Array, path: Path, rows: int) -> None:
        if not path.exists() or path.stat().st_size < len(self._header(array)) + rows * array.row_bytes:
            raise InputError(f"{path}: this file of an unfinished export is gone or cut off; remove {self._out}")

    def _file(self, array: Array) -> BinaryIO:
        if array not in self._open:
            path = self._arrays[array]
            temporary = temporary_name(path)
            with storage_errors(path):
                make_folder(path.parent)
                file = self._stack.enter_context(temporary.open("r+b" if temporary.exists() else "w+b"))
                file.write(self._header(array))
            self._open[array] = file
        return self._open[array]

    def _header(self, array: Array) -> bytes:
        text = io.BytesIO()
        fields = {"descr": array.on_disk.str, "fortran_order": False, "shape": array.shape(self._rows)}
        np.lib.format.write_array_header_1_0(text, fields)
        return text.getvalue()
