from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from activations.direct import _can_read_past, held_in_memory
from activations.manifest import read_manifest
from activations.stored_rows import READERS, StoredRows
from radiology.errors import InputError

SITE = "language.0"


@pytest.fixture(scope="module")
def rows(store_path: Path) -> StoredRows:
    manifest = read_manifest(store_path)
    assert manifest is not None
    return StoredRows(store_path, manifest)


def forget(directory: Path) -> None:
    """Take the shards out of the system's memory, as far as it lets us."""
    for path in directory.glob("*.h5"):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 2000))
def test_spans_cover_each_row_once_and_reading_in_order_gives_them(rows: StoredRows, size: int) -> None:
    spans = rows.spans(size)
    assert [row for start, stop in spans for row in range(start, stop)] == list(range(len(rows)))
    parts = [part_nd.copy() for part_nd in rows.in_order(SITE, spans)]
    assert [len(part) for part in parts] == [stop - start for start, stop in spans]
    whole = np.concatenate([rows.read(SITE, *span) for span in rows.spans(10**6)])
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_a_store_that_the_system_does_not_hold_in_memory_reads_the_same(rows: StoredRows, store_path: Path) -> None:
    spans = rows.spans(500)
    warm = np.concatenate([part.copy() for part in rows.in_order(SITE, spans)])
    forget(store_path)
    cold = StoredRows(store_path, read_manifest(store_path))  # type: ignore[arg-type]
    np.testing.assert_array_equal(np.concatenate([part.copy() for part in cold.in_order(SITE, spans)]), warm)
    cold.close()


def test_reading_past_memory_does_not_fill_it(rows: StoredRows, store_path: Path, tmp_path: Path) -> None:
    try:
        os.close(os.open(next(store_path.glob("*.h5")), os.O_RDONLY | os.O_DIRECT))
    except OSError:  # such as tmpfs: it is memory, and nobody tries to read past it
        assert not _can_read_past(next(store_path.glob("*.h5")))
        return
    copy = shutil.copytree(store_path, tmp_path / "activations")
    for path in copy.glob("*.h5"):  # large enough that looking up the layout does not touch most of it
        with path.open("ab") as file:
            file.write(bytes(4 << 20))
    forget(copy)
    manifest = read_manifest(copy)
    assert manifest is not None
    streamed = StoredRows(copy, manifest)
    for _ in streamed.in_order(SITE, streamed.spans(500)):
        pass
    streamed.close()
    descriptors = [os.open(path, os.O_RDONLY) for path in sorted(copy.glob("*.h5"))]
    assert not any(held_in_memory(descriptor) for descriptor in descriptors)
    for descriptor in descriptors:
        os.close(descriptor)


def test_a_shard_that_is_damaged_meanwhile_is_an_error_that_names_it(
    store_path: Path, tmp_path: Path, fill: Callable[..., Path]
) -> None:
    copy = shutil.copytree(store_path, tmp_path / "activations")
    manifest = read_manifest(copy)
    assert manifest is not None
    rows = StoredRows(copy, manifest)
    path = copy / manifest.shards[1].file
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(InputError, match=path.name):
        for _ in rows.in_order(SITE, rows.spans(100)):
            pass


def test_no_rows_are_no_chunks(rows: StoredRows) -> None:
    assert list(rows.in_order(SITE, [])) == []


def test_streams_leave_no_open_files_behind(store_path: Path) -> None:
    manifest = read_manifest(store_path)
    assert manifest is not None
    streamed = StoredRows(store_path, manifest)

    def stream() -> int:
        for _ in streamed.in_order(SITE, streamed.spans(300)):
            pass
        return len(list(Path("/proc/self/fd").iterdir()))

    after_one = stream()
    after_many = [stream() for _ in range(6)][-1]
    streamed.close()
    assert after_many <= after_one + READERS  # a thread may still be ending


def test_a_file_system_that_refuses_to_read_past_memory_is_read_through_it(
    rows: StoredRows, store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    wanted = np.concatenate([rows.read(SITE, *span) for span in rows.spans(500)])
    preadv, refused = os.preadv, []

    def refuse(descriptor: int, buffers: list, offset: int) -> int:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT:
            refused.append(offset)
            raise OSError(22, "Invalid argument")
        return preadv(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", refuse)
    monkeypatch.setattr("activations.direct._can_read_past", lambda path: True)
    manifest = read_manifest(store_path)
    assert manifest is not None
    streamed = StoredRows(store_path, manifest)
    found = np.concatenate([part.copy() for part in streamed.in_order(SITE, streamed.spans(500))])
    np.testing.assert_array_equal(found, wanted)
    assert refused
    streamed.close()
