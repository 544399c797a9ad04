"""The reader that is printed in docs/activation-store.md reads a real store."""

from __future__ import annotations

import pathlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

from activations.export import export, plan
from activations.roles import IMAGE_NAMES, Role
from activations.shard import TOKEN_COLUMNS
from activations.store import ActivationStore
from activations.studies_files import SCHEMA

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "activation-store.md").read_text(encoding="utf-8")
HOW_TO = (DOCS / "caching.md").read_text(encoding="utf-8")


def code_with(words: str, page: str = PAGE) -> str:
    """The one Python block of a page that holds some words."""
    (code,) = [code for code in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL) if words in code]
    return str(code)


def test_reader_of_the_page_agrees_with_the_store(store_path: Path) -> None:
    namespace: dict[str, Any] = {}
    exec(code_with("def read_store"), namespace)
    store = ActivationStore(store_path)
    for site in store.sites:
        shards = list(namespace["read_store"](store_path, site))
        np.testing.assert_array_equal(np.concatenate([rows for rows, _ in shards]), store.read(site, slice(None)))
        for name in TOKEN_COLUMNS:
            np.testing.assert_array_equal(np.concatenate([tokens[name] for _, tokens in shards]), store.column(name))


def test_lines_of_the_page_read_exports(store_path: Path, tmp_path: Path) -> None:
    for to in ("npy", "safetensors"):
        code = code_with("np.load").replace("OUT", str(tmp_path / to)).replace("language.2", "language.1")
        export(plan(store_path, to), tmp_path / to)
        namespace: dict[str, Any] = {"np": np, "pathlib": pathlib, "safetensors": safetensors}
        by_numpy, by_safetensors = code.split("\n\n")
        exec(by_numpy if to == "npy" else by_safetensors, namespace)
        store = ActivationStore(store_path)
        last = store.rows - len(namespace["study"])
        np.testing.assert_array_equal(namespace["study"], store.column("study")[last:])
        acts = namespace["acts"]
        bits = acts if to == "npy" else acts.view(torch.int16).numpy().view(np.uint16)
        values_nd = (bits.astype(np.uint32) << 16).view(np.float32)
        np.testing.assert_array_equal(values_nd, store.read("language.1", slice(last, None)))


def test_lines_of_the_how_to_choose_rows_by_role_study_and_norm(store_path: Path) -> None:
    namespace: dict[str, Any] = {}
    code = (
        code_with("store.batches(", HOW_TO).replace("RUN", str(store_path.parent)).replace("language.2", "language.1")
    )
    exec(code.replace('split"] == "train"', 'study"] < 9'), namespace)
    store = namespace["store"]
    rows_nd = np.concatenate([batch.numpy() for batch in namespace["batches"]])
    keep = (store.column("role") == Role.REPORT) & (store.column("study") < 9)
    assert 0 < len(rows_nd) == keep.sum()
    expected_nd = store.read("language.1", np.flatnonzero(keep))
    assert sorted(map(tuple, rows_nd.tolist())) == sorted(map(tuple, expected_nd.tolist()))


def test_page_names_every_column_role_and_image() -> None:
    for column in SCHEMA.names:
        assert f"`{column}`" in PAGE
    for column, dtype in TOKEN_COLUMNS.items():
        line = next(line for line in PAGE.splitlines() if f"/tokens/{column}`" in line)
        assert f"| {dtype.name} |" in line
    for role in Role:
        assert f"{int(role)} {role.name.lower()}" in PAGE
    for number, name in enumerate(IMAGE_NAMES):
        assert f"{number} {name}" in PAGE
