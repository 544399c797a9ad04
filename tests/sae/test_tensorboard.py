"""TensorBoard files: read back by Google's protocol buffers and by the rules of the record format."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from sae.tensorboard import TAGS, TensorBoardLog, crc32c

FIELD = descriptor_pb2.FieldDescriptorProto


def event_class() -> Any:
    """The messages of tensorboard/compat/proto as far as scalars need them."""
    file = descriptor_pb2.FileDescriptorProto(name="event.proto", package="t", syntax="proto3")
    fields = {
        "Value": [("tag", 1, FIELD.TYPE_STRING, ""), ("simple_value", 2, FIELD.TYPE_FLOAT, "")],
        "Summary": [("value", 1, FIELD.TYPE_MESSAGE, "Value")],
        "SessionLog": [("status", 1, FIELD.TYPE_INT32, "")],
        "Event": [
            ("wall_time", 1, FIELD.TYPE_DOUBLE, ""),
            ("step", 2, FIELD.TYPE_INT64, ""),
            ("file_version", 3, FIELD.TYPE_STRING, ""),
            ("summary", 5, FIELD.TYPE_MESSAGE, "Summary"),
            ("session_log", 7, FIELD.TYPE_MESSAGE, "SessionLog"),
        ],
    }
    for name, parts in fields.items():
        message = file.message_type.add(name=name)
        for field, number, kind, of in parts:
            label = FIELD.LABEL_REPEATED if field == "value" else FIELD.LABEL_OPTIONAL
            made = message.field.add(name=field, number=number, type=kind, label=label)
            if of:
                made.type_name = f".t.{of}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Event"))


def events(folder: Path) -> list[Any]:
    """All events of the only file in a folder; the checksums must hold."""
    (path,) = folder.iterdir()
    assert "tfevents" in path.name  # by which TensorBoard knows it
    kind, data, found, at = event_class(), path.read_bytes(), [], 0

    def checked(size: int) -> bytes:
        nonlocal at
        body, crc = data[at : at + size], struct.unpack("<I", data[at + size : at + size + 4])[0]
        plain = crc32c(body)
        assert crc == ((plain >> 15 | plain << 17) + 0xA282EAD8) % 2**32
        at += size + 4
        return body

    while at < len(data):
        (size,) = struct.unpack("<Q", checked(8))
        event = kind()
        event.ParseFromString(checked(size))
        found.append(event)
    return found


def scalars(folder: Path) -> list[tuple[int, dict[str, float]]]:
    return [
        (event.step, {value.tag: value.simple_value for value in event.summary.value})
        for event in events(folder)
        if event.HasField("summary")
    ]


def row(step: int, loss: float = 0.5) -> dict[str, float]:
    return {"step": step, "tokens": step * 10, "loss": loss, "l0": 3.0, "dead_share": 0.0, "learning_rate": 1e-4}


@pytest.mark.parametrize(
    ("data", "crc"), [(b"", 0), (b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43)]
)
def test_the_checksum_is_the_one_of_rfc_3720(data: bytes, crc: int) -> None:
    assert crc32c(data) == crc


def test_rows_come_back_and_are_there_at_once(tmp_path: Path) -> None:
    log = TensorBoardLog(tmp_path / "tb")
    for step in (1, 300, 2**31):
        log.add(row(step, loss=float("nan") if step == 300 else step))
    found = scalars(tmp_path / "tb")  # not closed yet
    assert [step for step, _ in found] == [1, 300, 2**31]
    assert found[0][1] == pytest.approx({TAGS[name]: row(1, 1)[name] for name in TAGS if name in row(1)})
    assert found[1][1]["train/loss"] != found[1][1]["train/loss"]
    log.close()
    first, second = events(tmp_path / "tb")[:2]
    assert first.file_version == "brain.Event:2"
    assert second.session_log.status == 1


def test_a_resumed_log_has_one_file_with_the_rows_that_are_kept(tmp_path: Path) -> None:
    for step in (5, 10, 15):
        with_before = TensorBoardLog(tmp_path, [row(done) for done in range(5, step, 5)])
        with_before.add(row(step))
        with_before.close()
    again = TensorBoardLog(tmp_path, [row(5), row(10) | {"loss": None}])  # type: ignore[dict-item]
    again.add(row(12))
    again.close()
    found = scalars(tmp_path)
    assert [step for step, _ in found] == [5, 10, 12]
    assert "train/loss" not in found[1][1]
