"""Merged stores hold the rows of their inputs, bit for bit, and are stores like any other."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from activations import room
from activations.merge import merge
from activations.merge_plan import plan
from activations.shard import TOKEN_COLUMNS, checksum
from activations.store import ActivationStore
from activations.studies_table import StudyIndex
from activations.verify import damages
from activations.writer import StoreWriter, StudyRows
from radiology.errors import InputError

SITES = ("language.0", "language.1")


def refill(fill: Callable[..., Path], make_rows: Callable[..., StudyRows], directory: Path, first: int, **how) -> Path:
    """A store of ten studies whose rows and ids are those of ``first`` and up, but whose numbers begin at 0."""
    store = fill(directory.parent / "shape" / "activations", range(1), **how)
    with ActivationStore(store) as shape:
        config = shape.manifest.config
    for rank in range(config.writers):
        with StoreWriter(directory, config, rank=rank, shard_rows=60) as writer:
            for number in range(rank, 10, config.writers):
                study = make_rows(first + number, dict(config.sites))
                writer.add([StudyRows({**study.record, "study": number}, study.tokens, study.positions, study.rows)])
            writer.finish()
    return directory


@pytest.fixture
def stores(fill: Callable[..., Path], make_rows: Callable[..., StudyRows], tmp_path: Path) -> tuple[Path, Path, Path]:
    """Studies 0 … 9 by three writers, 10 … 19 by one, 20 … 29 by two."""
    a, b, c = (tmp_path / name / "activations" for name in "abc")
    for path, first, writers in ((a, 0, 3), (b, 10, 1), (c, 20, 2)):
        refill(fill, make_rows, path, first, writers=writers)
    return a, b, c


def contents(directory: Path) -> dict[str, dict[str, np.ndarray]]:
    """study_id → every dataset's values of that study, as stored."""
    index = StudyIndex.read(directory.parent)
    with ActivationStore(directory) as store:
        found = {}
        for study, study_id in zip(index.frame["study"], index.frame["study_id"], strict=True):
            rows = store.rows_of_study(study)
            found[study_id] = {name: store.column(name)[rows] for name in TOKEN_COLUMNS if name != "study"}
            for site in SITES if rows.stop > rows.start else ():
                found[study_id] |= {site: store.stored(site, rows.start, rows.stop), "norms": store.norms(site)[rows]}
    return found


def require_equal(found: dict[str, dict[str, np.ndarray]], wanted: dict[str, dict[str, np.ndarray]]) -> None:
    assert list(found) == list(wanted)
    for study_id, columns in wanted.items():
        assert found[study_id].keys() == columns.keys()
        for name, values in columns.items():
            np.testing.assert_array_equal(found[study_id][name], values, err_msg=f"{study_id} {name}")


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_every_row_comes_with_its_study_bit_for_bit(
    dtype: str, fill: Callable[..., Path], make_rows: Callable[..., StudyRows], tmp_path: Path
) -> None:
    a = refill(fill, make_rows, tmp_path / "a" / "activations", 0, writers=3, dtype=dtype)
    b = refill(fill, make_rows, tmp_path / "b" / "activations", 10, dtype=dtype)
    told: list[tuple[int, int]] = []
    out = tmp_path / "out"
    summary = merge(plan([a, b]), out, shard_rows=70, progress=lambda done, total: told.append((done, total)))
    assert list(damages(out / "activations")) == []
    require_equal(contents(out / "activations"), contents(a) | contents(b))
    with ActivationStore(out / "activations") as store:
        assert (summary.rows, summary.studies) == (store.rows, 20)
        assert np.all(np.diff(store.column("study")) >= 0)
        assert len(store.manifest.shards) > 2
        assert sum(summary.rows_by_role.values()) == store.rows
    assert told[-1] == (summary.rows, summary.rows)


def test_a_merge_is_what_one_run_would_have_written(
    stores: tuple[Path, Path, Path], fill: Callable[..., Path], tmp_path: Path
) -> None:
    merge(plan(stores), tmp_path / "out", shard_rows=150)
    whole = fill(tmp_path / "whole" / "activations", range(30))
    for path in sorted(whole.glob("shard-*.h5")):
        assert checksum(path) == checksum(tmp_path / "out" / "activations" / path.name)
    pd.testing.assert_frame_equal(StudyIndex.read(tmp_path / "out").frame, StudyIndex.read(whole.parent).frame)


def test_compressed_stores_stay_compressed(tmp_path: Path, make_rows: Callable[..., StudyRows]) -> None:
    from activations.manifest import StoreConfig
    from activations.roles import Role

    config = StoreConfig(
        "n", "f", dict.fromkeys(SITES, 8), "bfloat16", (Role.IMAGE, Role.REPORT), compression="bitshuffle"
    )
    for name, first in (("a", 0), ("b", 5)):
        with StoreWriter(tmp_path / name / "activations", config) as writer:
            for number in range(5):
                study = make_rows(first + number, dict(config.sites))
                writer.add([StudyRows({**study.record, "study": number}, study.tokens, study.positions, study.rows)])
            writer.finish()
    a, b = (tmp_path / name / "activations" for name in "ab")
    merge(plan([a, b]), tmp_path / "out")
    assert list(damages(tmp_path / "out" / "activations")) == []
    require_equal(contents(tmp_path / "out" / "activations"), contents(a) | contents(b))


def test_a_study_that_is_there_twice_is_refused_or_left_out_and_counted(
    stores: tuple[Path, Path, Path], fill: Callable[..., Path], make_rows: Callable[..., StudyRows], tmp_path: Path
) -> None:
    a, b, _ = stores
    overlap = refill(fill, make_rows, tmp_path / "d" / "activations", 6, writers=2)  # 6 … 15
    with pytest.raises(InputError, match=re.escape(f"study_id 's6' is in both {a} and {overlap}")):
        plan([a, overlap])
    planned = plan([a, overlap, b], skip_duplicates=True)
    assert [len(part.left_out) for part in planned.parts] == [0, 4, 6]
    assert {one.first for one in planned.parts[2].left_out} == {overlap}
    merge(planned, tmp_path / "out", shard_rows=70)
    assert list(damages(tmp_path / "out" / "activations")) == []
    require_equal(contents(tmp_path / "out" / "activations"), contents(a) | contents(overlap) | contents(b))
    note = json.loads((tmp_path / "out" / "merge.json").read_text())
    assert note["inputs"][1]["left_out"] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("field", "how"),
    [
        ("sites", {"widths": {"language.0": 8}}),
        ("dtype", {"dtype": "float16"}),
    ],
)
def test_stores_of_another_kind_are_refused_with_field_and_files(
    field: str, how: dict, stores: tuple[Path, Path, Path], fill: Callable[..., Path], tmp_path: Path
) -> None:
    other = fill(tmp_path / "other" / "activations", range(1), **how)
    with pytest.raises(InputError, match=f"^{field} differs: .*a/activations/manifest.json .*other/activations"):
        plan([stores[0], other])


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("model fingerprint", {"fingerprint": "another"}),
        ("mode", {"mode": "generate"}),
        ("max_new_tokens", {"max_new_tokens": 3}),
        ("compression", {"compression": "blosc2"}),
        ("roles", {"roles": ()}),
        ("grid", {"grid": (2, 2)}),
    ],
)
def test_every_field_of_the_configuration_must_agree(
    field: str, changes: dict, stores: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    from dataclasses import replace

    from activations.manifest import read_manifest
    from activations.roles import Role

    if "roles" in changes:
        changes = {"roles": (Role.IMAGE,)}
    manifest = read_manifest(stores[1])
    assert manifest is not None
    replace(manifest, config=replace(manifest.config, **changes)).write(stores[1])
    with pytest.raises(InputError, match=f"^{field} differs: "):
        plan(stores[:2])


def test_a_patient_in_two_splits_is_refused_and_counted(stores: tuple[Path, Path, Path], tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def change(path: Path, column: str, values: list[str]) -> None:
        table = pq.read_table(path)
        pq.write_table(table.set_column(table.schema.get_field_index(column), column, [pa.array(values)]), path)

    a, b, _ = stores
    change(b.parent / "studies.parquet", "patient_id", ["p0"] * 2 + [f"q{n}" for n in range(6)] + ["p4"] * 2)
    plan([a, b])
    change(b.parent / "studies.parquet", "split", ["test"] * 10)
    with pytest.raises(
        InputError, match=r"^split: 2 patients are in different splits .*study 0 of .*'train'"
    ) as caught:
        plan([a, b])
    assert "p0" not in str(caught.value)


def test_what_is_no_complete_store_is_refused(stores: tuple[Path, Path, Path], tmp_path: Path) -> None:
    a, b, _ = stores
    with pytest.raises(InputError, match="given twice"):
        plan([a, b, a.parent / "activations"])
    with pytest.raises(InputError, match="no activation store"):
        plan([a, tmp_path])
    data = json.loads((b / "manifest.json").read_text())
    (b / "manifest.json").write_text(json.dumps({**data, "complete": False}))
    with pytest.raises(InputError, match="incomplete"):
        plan([a, b])


def test_a_place_that_holds_something_else_is_refused(stores: tuple[Path, Path, Path], tmp_path: Path) -> None:
    a, b, c = stores
    with pytest.raises(InputError, match="of no merge"):
        merge(plan([a, b]), c.parent)
    merge(plan([a, b]), tmp_path / "out")
    before = {path.name: checksum(path) for path in (tmp_path / "out" / "activations").glob("*.*")}
    merge(plan([a, b]), tmp_path / "out")
    assert {path.name: checksum(path) for path in (tmp_path / "out" / "activations").glob("*.*")} == before
    with pytest.raises(InputError, match="merge of other stores"):
        merge(plan([a, c]), tmp_path / "out")


def test_a_damaged_input_is_not_copied(stores: tuple[Path, Path, Path], tmp_path: Path) -> None:
    path = stores[1] / "shard-00000-00001.h5"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"b/activations/shard-00000-00001.h5: checksum differs"):
        merge(plan(stores), tmp_path / "out", shard_rows=50)
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    merge(plan(stores), tmp_path / "out", shard_rows=50)
    assert list(damages(tmp_path / "out" / "activations")) == []


def test_too_little_room_is_said_before_anything_is_written(
    stores: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(room.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(InputError, match=r"too little room: the merge of [\d,]+ rows of 30 studies needs about"):
        merge(plan(stores), tmp_path / "out")
    assert not (tmp_path / "out").exists()


KILLER = """
import json, os, signal, sys
from pathlib import Path
from activations.merge import merge
from activations.merge_plan import plan

def work(out, fatal):
    count = iter(range(10**9))
    flush = os.fsync
    def fsync(descriptor):
        if next(count) == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        flush(descriptor)
    os.fsync = fsync
    merge(plan([Path(p) for p in sys.argv[2:]]), Path(out), shard_rows=150)

step = int(sys.argv.pop(1))
for fatal in range(0, 1000, step):
    child = os.fork()
    if not child:
        try:
            work(f"{sys.argv[1]}/{fatal}", fatal)
        except BaseException:
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status >= 0:
        break
print(json.dumps([status, fatal]))
"""


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.long)])
def test_killed_at_any_flush_it_never_looks_complete_and_goes_on(
    stores: tuple[Path, Path, Path], tmp_path: Path, step: int
) -> None:
    """Every flush (in the short form every seventh)."""
    root = Path(__file__).parents[2]
    outs = tmp_path / "outs"
    outs.mkdir()
    found = subprocess.run(
        [sys.executable, "-c", KILLER, str(step), str(outs), *map(str, stores)],
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    status, flushes = json.loads(found.stdout)
    assert status == 0
    assert flushes > 20
    whole = outs / str(flushes)
    names = {path.name for path in (whole / "activations").iterdir() if not path.name.startswith(".")}
    for fatal in range(0, flushes, step):
        out = outs / str(fatal)
        manifest = out / "activations" / "manifest.json"
        if manifest.exists() and json.loads(manifest.read_text())["complete"]:
            assert list(damages(manifest.parent)) == []
        merge(plan(stores), out, shard_rows=150)
        assert {path.name for path in manifest.parent.iterdir() if not path.name.startswith(".")} == names
        for name in names:
            assert checksum(manifest.parent / name) == checksum(whole / "activations" / name)
        assert checksum(out / "studies.parquet") == checksum(whole / "studies.parquet")
