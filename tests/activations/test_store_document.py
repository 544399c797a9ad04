"""The reader that is printed in docs/activation-store.md reads a real store."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from activations.roles import IMAGE_NAMES, Role
from activations.shard import TOKEN_COLUMNS
from activations.store import ActivationStore
from activations.studies_files import SCHEMA

PAGE = (Path(__file__).parents[2] / "docs" / "activation-store.md").read_text(encoding="utf-8")


def test_reader_of_the_page_agrees_with_the_store(store_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    namespace: dict[str, Any] = {}
    exec(code, namespace)
    store = ActivationStore(store_path)
    for site in store.sites:
        shards = list(namespace["read_store"](store_path, site))
        np.testing.assert_array_equal(np.concatenate([rows for rows, _ in shards]), store.read(site, slice(None)))
        for name in TOKEN_COLUMNS:
            np.testing.assert_array_equal(np.concatenate([tokens[name] for _, tokens in shards]), store.column(name))


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
