"""Disks that are full, folders that cannot be written, damaged files: an error that names them, or the right rows."""

from __future__ import annotations

import importlib.util
import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import pytest

from activations.manifest import StoreConfig, read_manifest
from activations.roles import Role
from activations.store import ActivationStore
from activations.writer import StoreWriter
from radiology.errors import InputError


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


kill = load("test_kill")
NUMBERS = range(16)
STORE = {"studies": len(NUMBERS), "shard_rows": 100}
CONFIG = StoreConfig("none", "fingerprint", {"language.0": 8, "language.1": 4}, "bfloat16", (Role.IMAGE, Role.REPORT))


@pytest.fixture(scope="module")
def order() -> Iterator[Callable[..., dict[str, Any]]]:
    with kill.killable() as order:
        yield order


@pytest.fixture(scope="module")
def uninterrupted(fill: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("whole") / "activations", NUMBERS, shard_rows=100)


@pytest.fixture
def copy(uninterrupted: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(uninterrupted.parent, tmp_path / "copy")) / "activations"


@pytest.fixture(scope="module")
def half(make_rows: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose writer ended in its third shard."""
    directory = tmp_path_factory.mktemp("half") / "activations"
    with StoreWriter(directory, CONFIG, shard_rows=100) as writer:
        for number in NUMBERS:
            writer.add([make_rows(number, dict(CONFIG.sites))])
            if number == 10:
                return directory
    raise AssertionError


def spread(length: int, count: int) -> list[int]:
    """Lengths from 0 to one less than a file's, its first and last bytes among them."""
    return sorted({*range(0, length, max(1, length // count)), 1, 8, length - 8, length - 1})


# the disk


def test_a_full_disk_loses_nothing_wherever_it_ends(
    order: Callable, uninterrupted: Path, tmp_path: Path, make_rows: Callable
) -> None:
    """At every size the error names the store and says how to go on, and what is finished stays right."""
    sizes = [4, 16, 80, 190, 260, 400, 550, 700]
    copies = tmp_path / "copies"
    copies.mkdir()
    directory = tmp_path / "run" / "activations"
    answer = order(directory, disks=[*sizes, 32_768], copies=str(copies), **STORE)
    (said,) = answer["said"]
    assert len(said) >= 5
    for line in said:
        assert line.startswith("OSError")
        assert f"cannot write {directory}" in line or f"cannot write {directory.parent / 'studies.parquet'}" in line
        assert "run the same command again" in line
    for i in range(len(sizes)):
        kill.require_whole_shards(copies / str(i) / "activations", uninterrupted, make_rows)
    kill.require_same(copies / str(len(sizes)) / "activations", uninterrupted)


@pytest.mark.parametrize("folder", ["run", "run/activations"])
def test_a_read_only_folder_is_refused_and_left_as_it_was(
    order: Callable, half: Path, uninterrupted: Path, tmp_path: Path, folder: str
) -> None:
    directory = Path(shutil.copytree(half.parent, tmp_path / "run")) / "activations"
    before = kill.parts_of(directory)
    (tmp_path / folder).chmod(0o555)
    try:
        (said,) = order(directory, read_only=True, **STORE)["said"]
    finally:
        (tmp_path / folder).chmod(0o755)
    assert said.startswith(("PermissionError", "OSError"))
    assert "cannot write" in said
    assert str(tmp_path / "run") in said
    assert "run the same command again" in said
    if folder == "run/activations":
        assert kill.parts_of(directory) == before
    order(directory, **STORE)
    kill.require_same(directory, uninterrupted)


def test_a_second_writer_is_refused_and_the_first_goes_on(
    uninterrupted: Path, tmp_path: Path, make_rows: Callable
) -> None:
    directory = tmp_path / "activations"
    with StoreWriter(directory, CONFIG, shard_rows=100) as first:
        for number in NUMBERS:
            first.add([make_rows(number, dict(CONFIG.sites))])
            first.settle()
            before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
            with (
                pytest.raises(InputError, match=f"{directory}: another process is writing this store"),
                StoreWriter(directory, CONFIG, shard_rows=100),
            ):
                pass
            assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        first.finish()
    kill.require_same(directory, uninterrupted)


# damaged files


def datasets(path: Path) -> list[tuple[str, int]]:
    """Every dataset of a shard with the place of its first stored byte."""
    found: list[tuple[str, int]] = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found.append((name, item.id.get_chunk_info(0).byte_offset))

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


def test_one_flipped_bit_anywhere_in_a_shard_is_found(copy: Path) -> None:
    """In every dataset and in HDF5's own structures; the error names the shard."""
    path = copy / "shard-00000-00001.h5"
    whole = path.read_bytes()
    found = datasets(path)
    assert len(found) == 2 * len(CONFIG.sites) + 7
    for place in [*(offset for _, offset in found), *range(0, len(whole), len(whole) // 40), len(whole) - 1]:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(InputError, match=r"shard-00000-00001\.h5"):
            ActivationStore(copy).verify()
    path.write_bytes(whole)
    ActivationStore(copy).verify()


def test_a_shard_of_any_other_length_is_refused(copy: Path) -> None:
    path = copy / "shard-00000-00001.h5"
    whole = path.read_bytes()
    for length in spread(len(whole), 60):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=rf"shard-00000-00001\.h5: this shard has {length} bytes.*cut off"):
            ActivationStore(copy)
    path.write_bytes(whole + b"\0")
    with pytest.raises(InputError, match=r"shard-00000-00001\.h5"):
        ActivationStore(copy)


def test_a_manifest_of_any_other_length_is_refused(copy: Path) -> None:
    """An empty one too, by readers and by writers, which leave the shards alone."""
    path = copy / "manifest.json"
    whole = path.read_bytes()
    for length in spread(len(whole.rstrip()), 150):
        path.write_bytes(whole[:length])
        before = kill.parts_of(copy)
        with pytest.raises(InputError, match=r"manifest\.json: damaged manifest"):
            ActivationStore(copy)
        with pytest.raises(InputError, match=r"manifest\.json: damaged manifest"), StoreWriter(copy, CONFIG):
            pass
        assert kill.parts_of(copy) == before


@pytest.mark.parametrize("part", [0, 1])
def test_a_part_of_any_other_length_is_refused(half: Path, tmp_path: Path, make_rows: Callable, part: int) -> None:
    """The study rows of a finished shard: the run that joins them names the file, and the store stays incomplete."""
    directory = Path(shutil.copytree(half.parent, tmp_path / "half")) / "activations"
    path = directory / f"studies-00000-{part:05d}.parquet"
    whole = path.read_bytes()
    for length in spread(len(whole), 12):
        path.write_bytes(whole[:length])
        with (
            StoreWriter(directory, CONFIG, shard_rows=100) as writer,
            pytest.raises(InputError, match=rf"{path.name}: "),
        ):
            writer.finish()
        assert not (directory.parent / "studies.parquet").exists()
    path.write_bytes(whole)
    with StoreWriter(directory, CONFIG, shard_rows=100) as writer:
        for number in NUMBERS[writer.studies_done :]:
            writer.add([make_rows(number, dict(CONFIG.sites))])
        assert writer.finish()


def test_a_manifest_from_a_newer_version_is_refused_and_left_alone(copy: Path) -> None:
    path = copy / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 2, "shards": "of another kind"}))
    before = kill.parts_of(copy)
    for look in (lambda: ActivationStore(copy), lambda: StoreWriter(copy, CONFIG).__enter__()):
        with pytest.raises(InputError, match=r"manifest\.json: version 2 is newer than this program reads"):
            look()
    assert kill.parts_of(copy) == before


def test_another_model_or_site_than_stored_is_refused(half: Path) -> None:
    before = kill.parts_of(half)
    for changes, message in (
        ({"fingerprint": "another"}, "model fingerprint differs: .*'fingerprint', now 'another'"),
        ({"sites": {"language.1": 4}}, "sites differs"),
    ):
        fields = {"fingerprint": CONFIG.fingerprint, "sites": CONFIG.sites, **changes}
        other = StoreConfig("none", dtype=CONFIG.dtype, roles=CONFIG.roles, **fields)
        with pytest.raises(InputError, match=message), StoreWriter(half, other):
            pass
    with pytest.raises(InputError, match=r"site 'language\.7' is not stored; stored are language\.0, language\.1"):
        ActivationStore(half, allow_incomplete=True).batches("language.7", 4, seed=0)
    assert kill.parts_of(half) == before


# what a killed writer or a power cut may leave


LEFT = [
    ".shard-00000-00002.h5.tmp",
    ".studies-00000-00002.parquet.tmp",
    ".manifest.json.tmp",
    "../.studies.parquet.tmp",
    "shard-00000-00002.h5",
    "studies-00000-00002.parquet",
    "shard-00000-00009.h5",
]


@pytest.mark.parametrize("step", [19, pytest.param(1, marks=pytest.mark.long)])
def test_whatever_a_dead_writer_left_is_cleared_away(
    order: Callable, half: Path, uninterrupted: Path, tmp_path: Path, step: int
) -> None:
    """Every combination of its names, empty and cut off (every nineteenth of them in the short form)."""
    names = [left for size in range(len(LEFT) + 1) for left in itertools.combinations(LEFT, size)]
    manifest = read_manifest(half)
    assert manifest
    assert len(manifest.shards) == 2
    for i, (left, bytes_left) in enumerate(list(itertools.product(names, (0, 700)))[::step]):
        directory = Path(shutil.copytree(half.parent, tmp_path / str(i))) / "activations"
        for name in left:
            (directory / name).write_bytes(b"\x89HDF\r\n\x1a\n".ljust(700, b"P")[:bytes_left])
        order(directory, **STORE)
        kill.require_same(directory, uninterrupted)
        shutil.rmtree(directory.parent)


def test_rows_are_never_wrong_without_an_error(copy: Path, uninterrupted: Path) -> None:
    """A bit flipped in a manifest: the same rows, or an InputError."""
    path = copy / "manifest.json"
    whole = path.read_bytes()
    rows_nd = ActivationStore(uninterrupted).read("language.0", slice(None))
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 7
        path.write_bytes(flipped)
        try:
            with ActivationStore(copy) as store:
                store.verify()
                found_nd = store.read("language.0", slice(None))
        except InputError:
            continue
        np.testing.assert_array_equal(found_nd, rows_nd)
