"""Exports hold the rows of their store, bit for bit, for readers that know nothing of us."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from activations import room
from activations.export import export, plan
from activations.manifest import StoreConfig
from activations.roles import Role
from activations.shard import TOKEN_COLUMNS, checksum
from activations.store import ActivationStore
from activations.writer import StoreWriter, StudyRows
from radiology.errors import InputError

SITES = ("language.0", "language.1")


def from_npy(out: Path) -> dict[str, np.ndarray]:
    """Array → all its rows, with nothing but numpy."""
    return {path.relative_to(out).with_suffix("").as_posix(): np.load(path) for path in out.rglob("*.npy")}


def from_safetensors(out: Path) -> dict[str, torch.Tensor]:
    """Array → all its rows, with nothing but safetensors and the order that export.json gives."""
    files = [out / one["file"] for one in json.loads((out / "export.json").read_text())["files"]]
    pieces: dict[str, list[torch.Tensor]] = {}
    for path in files:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                for name in file.keys():  # noqa: SIM118 (it is no mapping)
                    pieces.setdefault(name, []).append(file.get_tensor(name))
    return {name: torch.cat(parts) for name, parts in pieces.items()}


def stored(directory: Path, keep: np.ndarray | slice = slice(None)) -> dict[str, np.ndarray]:
    """Array → all its rows as they lie in the store."""
    with ActivationStore(directory) as store:
        ends = np.cumsum([0, *(shard.rows for shard in store.manifest.shards)])
        spans = list(pairwise(ends))
        found = {f"sites/{s}": np.concatenate([store.stored(s, a, b) for a, b in spans]) for s in store.sites}
        found |= {f"norms/{site}": store.norms(site) for site in store.sites}
        found |= {f"tokens/{name}": store.column(name) for name in TOKEN_COLUMNS}
    return {name: values[keep] for name, values in found.items()}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_every_bit_is_that_of_the_store(dtype: str, fill: Callable[..., Path], tmp_path: Path) -> None:
    store = fill(tmp_path / "run" / "activations", range(20), dtype=dtype, writers=2, shard_rows=90)
    expected = stored(store)
    assert export(plan(store, "npy"), tmp_path / "npy")
    found = from_npy(tmp_path / "npy")
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)
        assert found[name].dtype == values.dtype
    assert export(plan(store, "safetensors"), tmp_path / "st")
    tensors = from_safetensors(tmp_path / "st")
    assert tensors.keys() == expected.keys()
    for name, values in expected.items():
        own = tensors[name].view(torch.int16) if tensors[name].dtype == torch.bfloat16 else tensors[name]
        np.testing.assert_array_equal(own.numpy().view(values.dtype), values)
    assert {tensors[f"sites/{site}"].dtype for site in SITES} == {getattr(torch, dtype)}
    for out in (tmp_path / "npy", tmp_path / "st"):
        pd.testing.assert_frame_equal(
            pd.read_parquet(out / "studies.parquet"), pd.read_parquet(store.parent / "studies.parquet")
        )


def test_the_note_lists_every_file_with_rows_size_and_checksum(store_path: Path, tmp_path: Path) -> None:
    with ActivationStore(store_path) as store:
        rows, shards = store.rows, len(store.manifest.shards)
    for to, count in (("npy", 2 * 2 + 7), ("safetensors", shards)):
        out = tmp_path / to
        export(plan(store_path, to), out)
        note = json.loads((out / "export.json").read_text())
        assert note["complete"]
        assert note["rows"] == rows
        assert len(note["files"]) == count + 1
        listed = {one["file"] for one in note["files"]}
        assert listed | {"export.json"} == {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
        for one in note["files"]:
            path = out / one["file"]
            assert (one["bytes"], one["checksum"]) == (path.stat().st_size, checksum(path))
        if to == "safetensors":
            assert sum(one["rows"] for one in note["files"][:-1]) == rows


def test_only_what_is_asked_for_and_widened_without_loss(store_path: Path, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"sites": ["blocks.1.hook_resid_post"], "roles": "report", "float32": True}
    with ActivationStore(store_path) as store:
        keep = store.column("role") == Role.REPORT
        rows_nd = store.read("language.1", np.flatnonzero(keep))
    for to in ("npy", "safetensors"):
        export(plan(store_path, to, **asked), tmp_path / to)
    found, tensors = from_npy(tmp_path / "npy"), from_safetensors(tmp_path / "safetensors")
    assert (
        found.keys()
        == tensors.keys()
        == {"sites/language.1", "norms/language.1", *(f"tokens/{c}" for c in TOKEN_COLUMNS)}
    )
    np.testing.assert_array_equal(found["sites/language.1"], rows_nd)
    np.testing.assert_array_equal(tensors["sites/language.1"].numpy(), rows_nd)
    np.testing.assert_array_equal(found["tokens/study"], stored(store_path, keep)["tokens/study"])
    assert set(found["tokens/role"].tolist()) == {int(Role.REPORT)}
    assert json.loads((tmp_path / "npy" / "export.json").read_text())["roles"] == ["report"]


def test_a_shard_without_any_row_that_is_asked_for_is_an_empty_file(
    make_rows: Callable[..., StudyRows], tmp_path: Path
) -> None:
    config = StoreConfig("n", "f", {"language.0": 4}, "bfloat16", (Role.IMAGE, Role.REPORT))
    with StoreWriter(tmp_path / "run" / "activations", config, shard_rows=1) as writer:
        for number in range(4):
            study = make_rows(number, {"language.0": 4})
            study.tokens.role[:] = Role.IMAGE if number == 1 else Role.REPORT
            writer.add([study])
        writer.finish()
    store = tmp_path / "run" / "activations"
    for to in ("npy", "safetensors"):
        export(plan(store, to, roles="image"), tmp_path / to)
    tensors, found = from_safetensors(tmp_path / "safetensors"), from_npy(tmp_path / "npy")
    assert set(tensors["tokens/study"].tolist()) == set(found["tokens/study"].tolist()) == {1}
    sizes = [len(load_file(path)["tokens/study"]) for path in sorted((tmp_path / "safetensors").glob("*.safetensors"))]
    assert sorted(sizes)[:-1] == [0] * (len(sizes) - 1)


def credentialed(directory: Path, study: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = directory.parent / "studies.parquet"
    table = pq.read_table(path)
    terms = ["credentialed" if i == study else "open" for i in range(len(table))]
    pq.write_table(table.set_column(table.schema.get_field_index("terms"), "terms", [pa.array(terms)]), path)


def test_credentialed_studies_are_refused_unless_said_otherwise(fill: Callable[..., Path], tmp_path: Path) -> None:
    store = fill(tmp_path / "run" / "activations", range(4))
    credentialed(store, 3)
    with pytest.raises(InputError, match=r"1 of 4 studies are credentialed.*--with-credentialed-data"):
        plan(store, "npy")
    assert export(plan(store, "npy", with_credentialed_data=True), tmp_path / "out")


def test_what_cannot_be_exported_is_refused_before_anything_is_written(
    store_path: Path, fill: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="is not one of safetensors, npy"):
        plan(store_path, "csv")
    with pytest.raises(InputError, match=r"site 'language\.7' is not stored"):
        plan(store_path, "npy", sites=["language.7"])
    with pytest.raises(InputError, match="no row passes"):
        plan(store_path, "npy", roles="indication")
    incomplete = fill(tmp_path / "run" / "activations", range(4))
    data = json.loads((incomplete / "manifest.json").read_text())
    (incomplete / "manifest.json").write_text(json.dumps({**data, "complete": False}))
    with pytest.raises(InputError, match="incomplete"):
        plan(incomplete, "npy")
    out = tmp_path / "out"
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(room.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(InputError, match=r"too little room: the export of [\d,]+ rows needs about"):
        export(plan(store_path, "npy"), out)
    assert not out.exists()


def test_a_place_that_holds_something_else_is_refused(store_path: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="of no export"):
        export(plan(store_path, "npy"), store_path)
    out = tmp_path / "out"
    assert export(plan(store_path, "npy"), out)
    assert not export(plan(store_path, "npy"), out)
    with pytest.raises(InputError, match="begun as another export"):
        export(plan(store_path, "safetensors"), out)
    (out / "tokens" / "role.npy").unlink()
    with pytest.raises(InputError, match=r"role\.npy: this file of the export is gone"):
        export(plan(store_path, "npy"), out)


def test_a_damaged_shard_is_not_exported(fill: Callable[..., Path], tmp_path: Path) -> None:
    store = fill(tmp_path / "run" / "activations", range(20))
    path = store / "shard-00000-00001.h5"
    whole = path.read_bytes()
    path.write_bytes(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
    for to in ("npy", "safetensors"):
        with pytest.raises(InputError, match=r"shard-00000-00001\.h5: checksum differs"):
            export(plan(store, to), tmp_path / to)
    path.write_bytes(whole)
    for to in ("npy", "safetensors"):  # goes on
        export(plan(store, to), tmp_path / to)
    np.testing.assert_array_equal(from_npy(tmp_path / "npy")["sites/language.0"], stored(store)["sites/language.0"])


KILLER = """
import os, signal, sys
from pathlib import Path
from activations.export import export, plan

flush = os.fsync
def work(out, fatal):
    count = iter(range(10**9))
    def fsync(descriptor):
        if next(count) == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        flush(descriptor)
    os.fsync = fsync
    export(plan(Path(sys.argv[3]), sys.argv[1]), Path(out))

for fatal in range(0, 10**6, int(sys.argv[4])):
    child = os.fork()
    if not child:
        try:
            work(f"{sys.argv[2]}/{fatal}", fatal)
        except BaseException:
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status >= 0:
        break
print(status, fatal)
"""


@pytest.mark.parametrize("step", [9, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("to", ["npy", "safetensors"])
def test_killed_at_any_flush_it_never_looks_complete_and_goes_on(
    fill: Callable[..., Path], tmp_path: Path, to: str, step: int
) -> None:
    """Every flush (in the short form every ninth)."""
    store = fill(tmp_path / "run" / "activations", range(12), shard_rows=80)
    outs = tmp_path / "outs"
    outs.mkdir()
    found = subprocess.run(
        [sys.executable, "-c", KILLER, to, str(outs), str(store), str(step)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    status, flushes = map(int, found.stdout.split())
    assert status == 0
    assert flushes > 10
    whole = outs / str(flushes)
    files = {path.relative_to(whole): checksum(path) for path in whole.rglob("*") if path.is_file()}
    for fatal in range(0, flushes, step):
        out = outs / str(fatal)
        note = out / "export.json"
        assert not note.exists() or not json.loads(note.read_text())["complete"] or fatal >= flushes - 1
        assert export(plan(store, to), out) or fatal >= flushes - 1
        assert {path.relative_to(out): checksum(path) for path in out.rglob("*") if path.is_file()} == files


def test_a_second_process_is_refused(store_path: Path, tmp_path: Path) -> None:
    from activations.files import exclusive

    out = tmp_path / "out"
    out.mkdir()
    with exclusive(out / ".export.lock", wait=False), pytest.raises(InputError, match="another process is writing"):
        export(plan(store_path, "npy"), out)
