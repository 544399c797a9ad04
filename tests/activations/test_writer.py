from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from activations import files
from activations.manifest import Manifest, StoreConfig, read_manifest
from activations.roles import Role
from activations.shard import checksum
from activations.store import ActivationStore
from activations.writer import SHARD_STUDIES, StoreWriter
from radiology.errors import InputError

NUMBERS = range(60)
CONFIG = StoreConfig("none", "fingerprint", {"language.0": 8, "language.1": 4}, "bfloat16", (Role.IMAGE, Role.REPORT))

#: Fills a store with the rows of conftest.py; argv: conftest, directory, and limits on file size for one attempt each.
#: Without limits it says after each study how far it is, and waits for an answer.
SCRIPT = """
import importlib.util, pathlib, resource, sys
spec = importlib.util.spec_from_file_location("store_conftest", sys.argv[1])
conftest = importlib.util.module_from_spec(spec)
spec.loader.exec_module(conftest)
directory, limits = pathlib.Path(sys.argv[2]), sys.argv[3:]
for limit in limits:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
    try:
        conftest.fill_store(directory, range(60))
    except OSError as error:
        print(type(error).__name__, error, flush=True)
if not limits:
    add = conftest.StoreWriter.add
    def add_and_tell(self, studies):
        add(self, studies)
        print(studies[0].record["study"], flush=True)
        sys.stdin.readline()
    conftest.StoreWriter.add = add_and_tell
    conftest.fill_store(directory, range(60))
"""


def start(directory: Path, *limits: str) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", SCRIPT, str(Path(__file__).with_name("conftest.py")), str(directory), *limits]
    pipe = subprocess.PIPE
    return subprocess.Popen(arguments, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=Path(__file__).parents[2])


def step_until(process: subprocess.Popen[str], study: int) -> None:
    assert process.stdin
    assert process.stdout
    for line in process.stdout:
        if int(line) == study:
            return
        process.stdin.write("\n")
        process.stdin.flush()
    assert process.stderr
    raise AssertionError(process.stderr.read())


def contents(directory: Path) -> dict[str, str]:
    """Checksums of everything that is part of the store."""
    return {path.name: checksum(path) for path in sorted(directory.iterdir()) if not path.name.startswith(".")}


@pytest.fixture(scope="module")
def uninterrupted(fill: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("uninterrupted") / "activations", NUMBERS)


def require_same(directory: Path, uninterrupted: Path) -> None:
    assert contents(directory) == contents(uninterrupted)
    ours, theirs = (pd.read_parquet(path.parent / "studies.parquet") for path in (directory, uninterrupted))
    pd.testing.assert_frame_equal(ours, theirs)


def last_listed(directory: Path) -> int:
    """Number of the last study in a finished shard, −1 if there is none."""
    manifest = read_manifest(directory) if directory.exists() else None
    return manifest.shards[-1].studies[1] if manifest and manifest.shards else -1


def test_a_killed_writer_loses_only_the_shard_in_hand(tmp_path: Path, uninterrupted: Path, fill: Callable) -> None:
    directory = tmp_path / "activations"
    finished = -1
    for study in (13, 41):
        process = start(directory)
        step_until(process, study)
        while last_listed(directory) <= finished:  # a thread brings the full shard to the disk
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        manifest = read_manifest(directory)
        assert manifest is not None
        assert not manifest.complete
        last = last_listed(directory)
        assert finished < last <= study
        assert study - last < 20  # 150 rows are about eight studies
        finished = last
        assert any(path.name.endswith(".tmp") for path in directory.iterdir())
    fill(directory, NUMBERS)
    require_same(directory, uninterrupted)


def test_a_full_disk_is_an_error_that_can_be_mended(tmp_path: Path, uninterrupted: Path, fill: Callable) -> None:
    """A limit on file size refuses writes just as a full disk does: in the study rows, at the end and amid a shard."""
    directory = tmp_path / "activations"
    process = start(directory, "2000", "20000", "90000")
    said, errors = process.communicate()
    assert process.returncode == 0, errors  # a failed write makes HDF5 crash if it sees it
    lines = said.splitlines()
    assert len(lines) == 3
    for line in lines:
        assert line.startswith("OSError")
        assert f"cannot write {directory}" in line
        assert "run the same command again" in line
    assert not [path for path in directory.iterdir() if path.suffix == ".h5"]
    fill(directory, NUMBERS)
    require_same(directory, uninterrupted)


def test_the_next_shard_is_filled_while_the_last_one_goes_to_the_disk(
    tmp_path: Path, uninterrupted: Path, make_rows: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, disk_is_done, flush = tmp_path / "activations", threading.Event(), files.flush_to_disk

    def flush_slowly(path: Path) -> None:
        assert disk_is_done.wait(60)
        flush(path)

    monkeypatch.setattr(files, "flush_to_disk", flush_slowly)
    disk_is_done.set()
    with StoreWriter(directory, CONFIG, shard_rows=150) as writer:
        disk_is_done.clear()
        for number in NUMBERS[:12]:  # a shard has about eight
            writer.add([make_rows(number, dict(CONFIG.sites))])
        assert last_listed(directory) == -1
        assert writer.rows == sum(len(make_rows(number, dict(CONFIG.sites)).positions) for number in NUMBERS[:12])
        disk_is_done.set()
        for number in NUMBERS[12:]:
            writer.add([make_rows(number, dict(CONFIG.sites))])
        writer.finish()
    require_same(directory, uninterrupted)


@pytest.mark.parametrize("noticed", ["at the next full shard", "on leaving the block", "by finishing"])
def test_a_shard_that_cannot_be_named_is_an_error_and_leaves_nothing(
    tmp_path: Path, uninterrupted: Path, fill: Callable, make_rows: Callable, noticed: str
) -> None:
    directory = tmp_path / "activations"
    fill_until = {"at the next full shard": 60, "on leaving the block": 12, "by finishing": 12}[noticed]

    def break_off() -> None:
        with StoreWriter(directory, CONFIG, shard_rows=150) as writer:
            (directory / "shard-00000-00000.h5").mkdir()  # no file can be renamed to a folder
            for number in NUMBERS[:fill_until]:
                writer.add([make_rows(number, dict(CONFIG.sites))])
            if noticed == "by finishing":
                writer.finish()
            assert noticed == "on leaving the block"

    with pytest.raises(OSError, match=re.escape(f"cannot write {directory / 'shard-00000-00000.h5'}")):
        break_off()
    assert not list(directory.glob("*.tmp"))
    (directory / "shard-00000-00000.h5").rmdir()
    fill(directory, NUMBERS)
    require_same(directory, uninterrupted)


@pytest.mark.parametrize("lost", ["manifest", "last two shards"])
def test_files_that_the_manifest_does_not_list_are_written_anew(
    tmp_path: Path, uninterrupted: Path, fill: Callable, make_rows: Callable, lost: str
) -> None:
    """A process that ends between naming a shard and listing it leaves exactly this."""
    directory = tmp_path / "activations"
    with StoreWriter(directory, CONFIG, shard_rows=150) as writer:
        for number in range(50):
            writer.add([make_rows(number, dict(CONFIG.sites))])
    manifest = read_manifest(directory)
    assert manifest is not None
    if lost == "manifest":
        (directory / "manifest.json").unlink()
    else:
        Manifest(CONFIG, manifest.shards[:-2]).write(directory)
    (directory / ".shard-00000-00009.h5.tmp").write_bytes(b"half a shard")
    stranger = directory / "shard-00001-00000.h5"
    stranger.write_bytes(b"of another writer")
    fill(directory, NUMBERS)
    assert stranger.read_bytes() == b"of another writer"
    stranger.unlink()
    require_same(directory, uninterrupted)


def test_a_complete_store_is_left_alone(tmp_path: Path, fill: Callable) -> None:
    directory = fill(tmp_path / "activations", range(20))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.[hjp]*") if path.is_file()}
    with StoreWriter(directory, CONFIG) as writer:
        assert writer.complete
        assert writer.studies_done == 20
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_parts_of_the_study_table_are_joined_and_removed(uninterrupted: Path) -> None:
    table = pd.read_parquet(uninterrupted.parent / "studies.parquet")
    assert table["study"].tolist() == list(NUMBERS)
    assert not list(uninterrupted.glob("studies-*"))
    counts = ActivationStore(uninterrupted).tokens(["study"])["study"].value_counts()
    assert table["rows"].tolist() == [int(counts.get(number, 0)) for number in NUMBERS]


def test_several_writers_fill_one_store(tmp_path: Path, uninterrupted: Path, fill: Callable) -> None:
    directory = fill(tmp_path / "activations", NUMBERS, writers=3)
    alone, shared = ActivationStore(uninterrupted), ActivationStore(directory)
    assert {shard.writer for shard in shared.manifest.shards} == {0, 1, 2}
    assert pd.read_parquet(tmp_path / "studies.parquet")["study"].tolist() == list(NUMBERS)
    for number in NUMBERS:
        rows = shared.rows_of_study(number)
        np.testing.assert_array_equal(
            shared.read("language.0", rows), alone.read("language.0", alone.rows_of_study(number))
        )
        assert (shared.column("study")[rows] == number).all()


def test_writers_with_different_studies_are_noticed(tmp_path: Path, make_rows: Callable) -> None:
    config = StoreConfig("none", "fingerprint", {"language.0": 8}, "bfloat16", (Role.REPORT,), writers=2)
    for rank, numbers in ((0, [0, 2, 4]), (1, [1])):
        with StoreWriter(tmp_path / "activations", config, rank=rank) as writer:
            writer.add([make_rows(number, {"language.0": 8}) for number in numbers])
            if rank == 0:
                assert not writer.finish()
                continue
            with pytest.raises(InputError, match="study number 3 is in no shard, but number 4 is"):
                writer.finish()


def test_two_processes_may_not_be_the_same_writer(tmp_path: Path) -> None:
    with (
        StoreWriter(tmp_path / "activations", CONFIG),
        pytest.raises(InputError, match="another process is writing"),
        StoreWriter(tmp_path / "activations", CONFIG),
    ):
        pass


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("fingerprint", "other", "model fingerprint differs: .*'fingerprint', now 'other'"),
        ("sites", {"language.0": 8}, "sites differs"),
        ("dtype", "float32", "dtype differs: .*'bfloat16', now 'float32'"),
        ("roles", (Role.REPORT,), r"roles differs: .*\['image', 'report'\], now \['report'\]"),
        ("mode", "generate", "mode differs"),
        ("writers", 2, "writers differs"),
    ],
)
def test_a_store_of_another_configuration_is_refused(
    uninterrupted: Path, field: str, value: object, message: str
) -> None:
    before = contents(uninterrupted)
    values = {name: getattr(CONFIG, name) for name in ("model_name", "fingerprint", "sites", "dtype", "roles")}
    other = StoreConfig(**{**values, field: value})
    with pytest.raises(InputError, match=message) as caught, StoreWriter(uninterrupted, other):
        pass
    assert "Use another run directory, or remove" in str(caught.value)
    assert contents(uninterrupted) == before


def test_another_configuration_may_replace_a_store_without_shards(tmp_path: Path, fill: Callable) -> None:
    with StoreWriter(tmp_path / "activations", CONFIG):
        pass
    assert ActivationStore(fill(tmp_path / "activations", range(3), dtype="float32")).dtype == "float32"


def test_a_shard_closes_after_many_studies_without_rows(tmp_path: Path, make_rows: Callable) -> None:
    with StoreWriter(tmp_path / "activations", CONFIG) as writer:
        for number in range(SHARD_STUDIES):
            writer.add([make_rows(number, dict(CONFIG.sites), 1)])
        writer.settle()
        assert writer.studies_done == SHARD_STUDIES
        writer.finish()
    assert ActivationStore(tmp_path / "activations").rows == 0


def test_the_old_study_table_goes_when_a_new_store_begins(tmp_path: Path, fill: Callable, make_rows: Callable) -> None:
    directory = fill(tmp_path / "activations", range(20))
    for path in directory.iterdir():
        path.unlink()
    with StoreWriter(directory, CONFIG, shard_rows=1) as writer:
        writer.add([make_rows(7, dict(CONFIG.sites))])
    assert not (tmp_path / "studies.parquet").exists()


def test_a_path_that_cannot_be_a_folder_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(OSError, match=r"cannot write .*file.activations"),
        StoreWriter(tmp_path / "file" / "activations", CONFIG),
    ):
        pass


def test_rows_of_a_wrong_shape_are_refused(tmp_path: Path, make_rows: Callable) -> None:
    with StoreWriter(tmp_path / "activations", CONFIG) as writer, pytest.raises(ValueError, match=r"language\.0: rows"):
        writer.add([make_rows(1, {"language.0": 9, "language.1": 4})])


@pytest.mark.parametrize(
    ("options", "message"), [({"rank": 1}, "rank: 1 is not one"), ({"shard_rows": 0}, "shard_rows: 0")]
)
def test_bad_options_are_refused(tmp_path: Path, options: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        StoreWriter(tmp_path, CONFIG, **options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dtype": "int8"}, "dtype: 'int8' cannot be stored"),
        ({"sites": {}}, "sites: none given"),
        ({"roles": ()}, "roles: none given"),
        ({"mode": "dream"}, "mode: 'dream' is unknown"),
        ({"writers": 0}, "writers: 0"),
    ],
)
def test_bad_configurations_are_refused(changes: dict[str, object], message: str) -> None:
    values = {"model_name": "m", "fingerprint": "f", "sites": {"projector": 3}, "dtype": "float16"}
    with pytest.raises(InputError, match=message):
        StoreConfig(**{**values, "roles": (Role.IMAGE,), **changes})


def test_manifest_is_the_same_after_writing_and_reading(uninterrupted: Path, tmp_path: Path) -> None:
    manifest = read_manifest(uninterrupted)
    assert manifest is not None
    manifest.write(tmp_path)
    assert read_manifest(tmp_path) == manifest
    data = json.loads((tmp_path / "manifest.json").read_text())
    assert data["rows"] == sum(shard["rows"] for shard in data["shards"])
    assert data["studies"] == len(NUMBERS)
