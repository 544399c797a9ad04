"""The schema in docs/activation-store.md and the code refuse the same manifests."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest

from activations.manifest import read_manifest
from activations.store import ActivationStore
from radiology.errors import InputError

PAGE = (Path(__file__).parents[2] / "docs" / "activation-store.md").read_text(encoding="utf-8")
#: Values that are put in the place of every field.
VALUES: list[Any] = [None, True, False, -1, 0, 1, 2, 1.5, "", "x", "none", [], [1], [0, 1, 2], {}, {"a": 1}]
#: Refused by the code alone: the document says that the schema cannot say them.
BEYOND = re.compile(r"the rest of it says|sites has a name twice|is newer than this program reads|format is ")


@pytest.fixture(scope="module")
def valid() -> Callable[[Any], bool]:
    (text,) = re.findall(r"```json\n(.*?)```", PAGE, flags=re.DOTALL)
    judge = fastjsonschema.compile(json.loads(text))

    def valid(manifest: Any) -> bool:
        try:
            judge(manifest)
        except fastjsonschema.JsonSchemaValueException:
            return False
        return True

    return valid


@pytest.fixture
def refusal(tmp_path: Path) -> Callable[[Any], str | None]:
    """Why the code refuses a manifest, or None."""

    def refusal(manifest: Any) -> str | None:
        (tmp_path / "manifest.json").write_text(json.dumps(manifest))
        try:
            read_manifest(tmp_path)
        except InputError as error:
            return str(error)
        return None

    return refusal


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value within a JSON value; of long arrays the first two."""
    inside = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, item in inside:
        yield (*path, key)
        yield from places(item, (*path, key))


def altered(manifest: Any) -> Iterator[tuple[str, Any]]:
    """Everything that differs from a manifest in one place: a value missing, replaced, changed, or there twice."""
    for path in places(manifest):
        for value in ["missing", "twice", "changed", *VALUES]:
            other = copy.deepcopy(manifest)
            inside = other
            for key in path[:-1]:
                inside = inside[key]
            there = inside[path[-1]]
            if value == "missing":
                del inside[path[-1]]
            elif value == "twice" and isinstance(inside, list):
                inside.append(there)
            elif value == "changed":
                inside[path[-1]] = f"{there}x" if isinstance(there, str) else [there]
            else:
                inside[path[-1]] = value
            yield f"{path} {value!r}", other


def manifests(fill: Callable[..., Path], folder: Path) -> Iterator[Any]:
    for number, how in enumerate([{"writers": 2}, {"dtype": "float32"}]):
        directory = fill(folder / str(number) / "activations", range(12), **how)
        yield json.loads((directory / "manifest.json").read_text())


def test_schema_and_code_agree_on_every_altered_manifest(
    fill: Callable[..., Path], tmp_path: Path, valid: Callable[[Any], bool], refusal: Callable[[Any], str | None]
) -> None:
    counts = {True: 0, False: 0}
    for manifest in manifests(fill, tmp_path):
        assert valid(manifest)
        assert refusal(manifest) is None
        for what, other in altered({**manifest, "compression": "none"}):
            why = refusal(other)
            if why is None or not BEYOND.search(why):
                assert valid(other) == (why is None), f"{what}: {why}"
            counts[why is None] += 1
    assert counts[False] > 1000
    assert counts[True] > 20


def test_fields_that_are_not_known_are_ignored(
    store_path: Path, valid: Callable[[Any], bool], refusal: Callable[[Any], str | None]
) -> None:
    manifest = json.loads((store_path / "manifest.json").read_text())
    more = {**manifest, "later": 1, "shards": [{**shard, "later": [None]} for shard in manifest["shards"]]}
    assert valid(more)
    assert refusal(more) is None


def test_a_refusal_names_the_field(store_path: Path, refusal: Callable[[Any], str | None]) -> None:
    manifest = json.loads((store_path / "manifest.json").read_text())
    manifest["shards"][1]["bytes"] = "many"
    assert "shards[1].bytes is 'many', not a whole number from 1 on" in str(refusal(manifest))
    del manifest["shards"][1]["bytes"]
    assert "shards[1].bytes is missing" in str(refusal(manifest))


def test_a_manifest_from_before_there_were_digests_opens(
    fill: Callable[..., Path], tmp_path: Path, valid: Callable[[Any], bool]
) -> None:
    directory = fill(tmp_path / "activations", range(12))
    path = directory / "manifest.json"
    manifest = json.loads(path.read_text())
    for shard in manifest["shards"]:
        del shard["datasets"]
    assert valid(manifest)
    path.write_text(json.dumps(manifest))
    with ActivationStore(directory) as store:
        store.verify()
        assert store.rows == manifest["rows"]
