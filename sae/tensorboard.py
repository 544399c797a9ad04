"""TensorBoard event files, written without TensorBoard (which wants grpc, Pillow and a data server).

A file is a sequence of records: length (uint64), masked CRC-32C of the length, the event, masked CRC-32C of the event;
all numbers little-endian. An event is a protocol buffer, of which these fields are used:

    Event    wall_time 1 (double)   step 2 (int64)   file_version 3 (string)   summary 5   session_log 7
    Summary  value 1 (repeated)     Value  tag 1 (string)   simple_value 2 (float)
    SessionLog  status 1 (START = 1)

Source of the format: tensorflow/core/lib/io/record_writer.cc and tensorboard/compat/proto/{event,summary}.proto.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

FOLDER = "tensorboard"
#: Columns of the log → tags; TensorBoard puts what stands before the slash into one section.
TAGS = {
    "loss": "train/loss",
    "variance_explained": "train/variance_explained",
    "l0": "train/l0",
    "dead_share": "train/dead_share",
    "gradient_norm": "train/gradient_norm",
    "learning_rate": "train/learning_rate",
    "tokens_per_s": "speed/tokens_per_s",
}


class TensorBoardLog:
    """The rows of the training log as scalars over steps.

    A resumed training begins a new file with the rows that it keeps and removes the files before it; a TensorBoard that
    is looking on is told to forget what came after.

    Args:
        folder: made if need be; its event files are replaced.
        rows: what was logged before, by column.
    """

    def __init__(self, folder: Path, rows: Sequence[Mapping[str, float]] = ()) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        old = sorted(folder.glob("events.out.tfevents.*"))
        path = folder / f"events.out.tfevents.{max(time.time_ns(), _number(old) + 1)}.interp"
        self._file: IO[bytes] = path.open("xb")
        self._write(_text(3, "brain.Event:2"))
        self._write(_bytes(7, _varint_field(1, 1)))
        for row in rows:
            self._add(row)
        self._file.flush()
        for stale in old:
            stale.unlink()

    def add(self, row: Mapping[str, float]) -> None:
        """One row of the log; it can be seen at once."""
        self._add(row)
        self._file.flush()

    def close(self) -> None:
        """Nothing comes any more."""
        self._file.close()

    def _add(self, row: Mapping[str, float]) -> None:
        values = [
            _bytes(1, _text(1, tag) + _float(2, value))
            for column, tag in TAGS.items()
            if (value := row.get(column)) is not None
        ]
        self._write(_varint_field(2, int(row["step"])) + _bytes(5, b"".join(values)))

    def _write(self, fields: bytes) -> None:
        event = _double(1, time.time()) + fields
        length = struct.pack("<Q", len(event))
        self._file.write(length + _masked_crc(length) + event + _masked_crc(event))


def _number(paths: Sequence[Path]) -> int:
    """Number in the name of the newest file; names must rise even if the clock goes back."""
    parts = paths[-1].name.split(".") if paths else []
    return int(parts[3]) if len(parts) > 3 and parts[3].isdigit() else 0


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _varint_field(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _float(field: int, value: float) -> bytes:
    return _varint(field << 3 | 5) + struct.pack("<f", value)


def _double(field: int, value: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", value)


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return tuple(table)


_CRC_TABLE = _crc_table()


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli, RFC 3720)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def _masked_crc(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
