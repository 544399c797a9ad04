from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from activations.manifest import StoreConfig, read_manifest
from activations.roles import Role
from activations.shard import checksum
from activations.store import ActivationStore
from activations.write_behind import WriteBehind
from activations.writer import StoreWriter, StudyRows
from radiology.errors import InputError

WIDTHS = {"language.0": 8, "language.1": 4}
CONFIG = StoreConfig("none", "fingerprint", WIDTHS, "bfloat16", (Role.IMAGE, Role.REPORT))
NUMBERS = range(60)


def contents(run: Path) -> dict[str, str]:
    return {path.name: checksum(path) for path in run.rglob("*") if path.is_file() and not path.name.startswith(".")}


@pytest.fixture(scope="module")
def direct(fill: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that was filled without a thread."""
    return fill(tmp_path_factory.mktemp("direct") / "activations", NUMBERS).parent


class SlowWriter(StoreWriter):
    """Every batch takes a while, as on a disk that does not keep up."""

    seconds = 0.05

    def add(self, studies: Sequence[StudyRows]) -> None:
        time.sleep(self.seconds)
        super().add(studies)


def open_writer(run: Path, kind: type[StoreWriter] = StoreWriter) -> StoreWriter:
    return kind(run / "activations", CONFIG, shard_rows=150)


def test_the_store_is_the_same_byte_for_byte(tmp_path: Path, direct: Path, make_rows: Callable) -> None:
    with open_writer(tmp_path) as writer, WriteBehind(writer, depth=2) as behind:
        for number in NUMBERS:
            behind.add([make_rows(number, WIDTHS)])
        assert behind.finish()
    assert contents(tmp_path) == contents(direct)


def test_rows_are_copied_before_the_model_overwrites_them(tmp_path: Path, direct: Path, make_rows: Callable) -> None:
    """A model that writes every batch into the same buffer, and gives views of it."""
    buffers = {site: torch.zeros(64, width) for site, width in WIDTHS.items()}
    with open_writer(tmp_path, SlowWriter) as writer, WriteBehind(writer, depth=3) as behind:
        SlowWriter.seconds = 0.002
        for number in NUMBERS:
            study = make_rows(number, WIDTHS)
            n = len(study.positions)
            for site, buffer in buffers.items():
                buffer[:n] = study.rows[site]
            views = {site: buffer[:n] for site, buffer in buffers.items()}
            behind.add([StudyRows(study.record, study.tokens, study.positions, views)])
            for buffer in buffers.values():
                buffer.fill_(float("nan"))
        behind.finish()
    assert contents(tmp_path) == contents(direct)


def test_the_model_waits_only_for_a_disk_that_does_not_keep_up(tmp_path: Path, make_rows: Callable) -> None:
    SlowWriter.seconds = 0.05
    with open_writer(tmp_path, SlowWriter) as writer, WriteBehind(writer, depth=3) as behind:
        for number in range(3):
            behind.add([make_rows(number, WIDTHS)])
        assert behind.waited == 0
        began = time.perf_counter()
        for number in range(3, 10):
            behind.add([make_rows(number, WIDTHS)])
        assert 4 * SlowWriter.seconds < behind.waited <= time.perf_counter() - began
        behind.drain()
        assert writer.rows == sum(len(make_rows(number, WIDTHS).positions) for number in range(10))


def test_no_more_batches_are_held_than_promised(tmp_path: Path, make_rows: Callable) -> None:
    """Ten come at once, the writer takes none: the queue and the one in hand are full, then the caller waits."""
    taken, go_on = threading.Event(), threading.Event()

    class Standing(StoreWriter):
        def add(self, studies: Sequence[StudyRows]) -> None:
            taken.set()
            go_on.wait()
            super().add(studies)

    added = []
    with open_writer(tmp_path, Standing) as writer, WriteBehind(writer, depth=2) as behind:
        behind.add([make_rows(0, WIDTHS)])
        assert taken.wait(5)

        def model() -> None:
            for number in range(1, 10):
                behind.add([make_rows(number, WIDTHS)])
                added.append(number)

        thread = threading.Thread(target=model)
        thread.start()
        thread.join(0.2)
        assert added == [1, 2]
        go_on.set()
        thread.join(5)
        assert added == list(range(1, 10))
        behind.finish()


def broken(study: StudyRows) -> StudyRows:
    rows = dict(study.rows)
    rows["language.1"] = torch.full_like(rows["language.1"], float("inf"))
    return StudyRows(study.record, study.tokens, study.positions, rows)


@pytest.mark.parametrize("ending", ["add", "drain", "finish", "leaving"])
def test_an_error_of_the_writer_reaches_the_caller_as_it_is(
    tmp_path: Path, direct: Path, make_rows: Callable, fill: Callable, ending: str
) -> None:
    def cache() -> None:
        with open_writer(tmp_path) as writer, WriteBehind(writer) as behind:
            for number in range(40):
                behind.add([make_rows(number, WIDTHS)])
            behind.add([broken(make_rows(40, WIDTHS))])
            if ending == "add":
                for number in range(41, 60):  # more than could wait
                    behind.add([make_rows(number, WIDTHS)])
            elif ending != "leaving":
                getattr(behind, ending)()
            if ending != "leaving":
                raise AssertionError("no error came")

    with pytest.raises(InputError, match="activations that are not finite"):
        cache()
    manifest = read_manifest(tmp_path / "activations")
    assert manifest is not None
    assert manifest.n_studies > 20  # the shards finished before
    fill(tmp_path / "activations", NUMBERS)
    assert contents(tmp_path) == contents(direct)


def test_a_caller_that_waits_hears_of_the_error(tmp_path: Path, make_rows: Callable) -> None:
    SlowWriter.seconds = 0.05

    def cache() -> None:
        with open_writer(tmp_path, SlowWriter) as writer, WriteBehind(writer, depth=1) as behind:
            for number in range(1, 9):
                behind.add([make_rows(number, {"language.0": 9, "language.1": 4})])
            raise AssertionError("no error came")

    with pytest.raises(ValueError, match=r"language\.0: rows have shape"):
        cache()


def test_what_was_added_is_written_even_if_the_model_fails(tmp_path: Path, make_rows: Callable) -> None:
    SlowWriter.seconds = 0.01

    def cache() -> None:
        with SlowWriter(tmp_path / "activations", CONFIG, shard_rows=1) as writer, WriteBehind(writer) as behind:
            for number in range(1, 6):
                behind.add([make_rows(number, WIDTHS)])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cache()
    manifest = read_manifest(tmp_path / "activations")
    assert manifest is not None
    assert manifest.n_studies == 5


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_leaves_a_store_that_can_be_continued(
    tmp_path: Path, direct: Path, make_rows: Callable, fill: Callable, times: int
) -> None:
    """Once: what was added is written. Twice: the batch in hand is, and the rest is left for the next run."""
    SlowWriter.seconds = 0.05
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def cache() -> None:
        with open_writer(tmp_path, SlowWriter) as writer, WriteBehind(writer, depth=20) as behind:
            for number in range(20):
                behind.add([make_rows(number, WIDTHS)])
            if times == 2:
                threading.Timer(0.15, os.kill, (os.getpid(), signal.SIGINT)).start()
            raise KeyboardInterrupt

    try:
        with pytest.raises(KeyboardInterrupt):
            cache()
    finally:
        signal.signal(signal.SIGINT, before)
    manifest = read_manifest(tmp_path / "activations")
    assert (manifest.n_studies if manifest else 0) < (20 if times == 1 else 9)
    assert (manifest is not None) == (times == 1)
    fill(tmp_path / "activations", NUMBERS)
    assert contents(tmp_path) == contents(direct)


def test_a_store_can_be_read_while_another_is_written(tmp_path: Path, direct: Path, make_rows: Callable) -> None:
    """h5py has one lock for all files of a process."""
    whole = ActivationStore(direct / "activations")
    expected = whole.read("language.0", slice(None))
    with open_writer(tmp_path) as writer, WriteBehind(writer, depth=1) as behind:
        for number in NUMBERS:
            behind.add([make_rows(number, WIDTHS)])
            whole.close()
            np.testing.assert_array_equal(whole.read("language.0", slice(None)), expected)
        behind.finish()
    assert contents(tmp_path) == contents(direct)


def test_nothing_can_be_added_after_the_end(tmp_path: Path, make_rows: Callable) -> None:
    with open_writer(tmp_path) as writer, WriteBehind(writer) as behind:
        behind.add([make_rows(0, WIDTHS)])
        behind.finish()
        with pytest.raises(RuntimeError, match="after the writing had ended"):
            behind.add([make_rows(1, WIDTHS)])
    with pytest.raises(ValueError, match="depth: 0"):
        WriteBehind(writer, depth=0)
