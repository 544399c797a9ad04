"""Going through a whole store and listing everything that is damaged, not only the first of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np

from activations.compression import require_plugin
from activations.encoding import block_rows, decode
from activations.manifest import DTYPES, FORMAT, VERSION, Manifest, ShardRecord, read_manifest
from activations.roles import Role
from activations.shard import TOKEN_COLUMNS, checksum, dataset_digest
from activations.studies_files import FILE_NAME, read_records
from radiology.errors import InputError

#: Stored norms are float32 sums over a row, in whatever order the writing machine added.
NORM_TOLERANCE = 1e-5
#: What h5py raises where the structure of a file is damaged.
_UNREADABLE = (OSError, KeyError, RuntimeError, ValueError)


def damages(directory: Path, progress: Callable[[int, int], None] = lambda done, total: None) -> Iterator[str]:
    """Everything of a store that is not as ``docs/activation-store.md`` says, one sentence each.

    A damaged shard is searched for the dataset that is hit, by the digests that the manifest has of each. In a store
    that was written without them, rows of a site that are not finite, or no longer have their stored norm, name the
    site; an altered last bit may leave the norm as it was, and then all datasets are named.

    Raises:
        InputError: there is no manifest, it cannot be read, or the package of its compression is missing.
    """
    manifest = read_manifest(directory, check=False)
    if manifest is None:
        raise InputError(f"{directory}: no activation store here; run `interp cache` first")
    require_plugin(manifest.config.compression, directory)
    yield from _manifest_damages(directory / "manifest.json", manifest)
    rows_of: dict[int, int] = {}
    for number, shard in enumerate(manifest.shards):
        progress(number, len(manifest.shards))
        yield from _shard_damages(directory / shard.file, shard, manifest, rows_of)
    progress(len(manifest.shards), len(manifest.shards))
    if manifest.complete:
        yield from _table_damages(directory.parent / FILE_NAME, manifest, rows_of)


def _manifest_damages(path: Path, manifest: Manifest) -> Iterator[str]:
    data, told = json.loads(path.read_text(encoding="utf-8")), manifest.to_json()
    for name in ("config_hash", "studies", "rows"):
        if data.get(name) != told[name]:
            yield f"{path}: {name} is {data.get(name)!r}, but the rest of the manifest gives {told[name]!r}"
    names = [shard.file for shard in manifest.shards]
    if names != sorted(set(names)):
        yield f"{path}: shards are not in the order of their files, or listed twice"


def _shard_damages(path: Path, shard: ShardRecord, manifest: Manifest, rows_of: dict[int, int]) -> Iterator[str]:
    if not path.is_file():
        yield f"{path}: this shard is missing"
        return
    if path.stat().st_size != shard.bytes:
        yield f"{path}: this shard has {path.stat().st_size} bytes, the manifest says {shard.bytes}; it is cut off"
        return
    sound = checksum(path) == shard.checksum
    try:
        with h5py.File(path) as file:
            found = [
                *_attribute_damages(file, manifest),
                *_dataset_damages(file, shard, manifest),
                *_study_damages(file, shard, manifest, rows_of),
            ]
    except _UNREADABLE as error:
        found = [f"cannot be read as HDF5, its own structure is damaged ({error})"]
    if not sound and not found:
        found = [_somewhere(shard, manifest)]
    prefix = "" if sound else "checksum differs from the manifest: "
    yield from (f"{path}: {prefix}{what}" for what in found)


def _somewhere(shard: ShardRecord, manifest: Manifest) -> str:
    """What is left to say of a file that is not as written although no dataset shows it."""
    if set(shard.datasets) >= set(_expected(shard, manifest)):
        return "all datasets are as written; HDF5's own structure, or space that it does not use, is hit"
    sites = ", ".join(manifest.config.sites)
    return f"no value gives away where: any of the sites {sites}, a token column, or HDF5's own structure"


def _expected(shard: ShardRecord, manifest: Manifest) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Path of every dataset of a shard → shape and type."""
    config = manifest.config
    return {
        **{f"sites/{site}": ((shard.rows, width), DTYPES[config.dtype]) for site, width in config.sites.items()},
        **{f"norms/{site}": ((shard.rows,), np.dtype("<f4")) for site in config.sites},
        **{f"tokens/{name}": ((shard.rows,), dtype) for name, dtype in TOKEN_COLUMNS.items()},
    }


def _attribute_damages(file: h5py.File, manifest: Manifest) -> Iterator[str]:
    """The file says itself of which store it is: a shard of another may have been put in its place."""
    expected = {"format": FORMAT, "version": VERSION, "config_hash": manifest.config.hash}
    for name, value in expected.items():
        if file.attrs.get(name) != value:
            yield f"attribute {name} is {file.attrs.get(name)!r}, not {value!r}"


def _dataset_damages(file: h5py.File, shard: ShardRecord, manifest: Manifest) -> Iterator[str]:
    config = manifest.config
    bad = set()
    for name, (shape, dtype) in _expected(shard, manifest).items():
        dataset = file.get(name)
        if not isinstance(dataset, h5py.Dataset) or dataset.shape != shape or dataset.dtype != dtype:
            there = f"{dataset.shape} {dataset.dtype}" if isinstance(dataset, h5py.Dataset) else "missing"
            bad.add(name)
            yield f"{name} is {there}, not {shape} {dtype}"
        elif name.startswith("sites/") and dataset.attrs.get("dtype") != config.dtype:
            yield f"{name}: attribute dtype is {dataset.attrs.get('dtype')!r}, not {config.dtype!r}"
        elif changed := _changed(dataset, shard.datasets.get(name)):
            bad.add(name)
            yield f"{name.replace('sites/', 'site ')}: {changed}"
    for site in config.sites:
        if not bad & {f"sites/{site}", f"norms/{site}"}:
            yield from _row_damages(file, site, config.dtype)


def _changed(dataset: h5py.Dataset, told: str | None) -> str | None:
    """What is wrong with the rows of a dataset by its digest; None if nothing is, or there is no digest."""
    if told is None:
        return None
    try:
        sound = dataset_digest(dataset) == told
    except _UNREADABLE as error:
        return f"cannot be read ({error})"
    return None if sound else "its rows (or HDF5's index of them) are not those that were written"


def _row_damages(file: h5py.File, site: str, dtype: str) -> Iterator[str]:
    """Rows of a site that are not finite or do not have the norm that is stored beside them."""
    dataset, norms = file[f"sites/{site}"], file[f"norms/{site}"][:]
    wrong, first = 0, -1
    step = block_rows(dataset.shape[1], dtype)
    try:
        for start in range(0, len(norms), step):
            rows_nd = decode(dataset[start : start + step], dtype).double().numpy()
            measured, told = np.sqrt((rows_nd**2).sum(axis=1)), norms[start : start + step]
            fits = np.isfinite(measured) & (np.abs(measured - told) <= NORM_TOLERANCE * np.maximum(measured, 1e-30))
            if not fits.all():
                first = start + int(np.argmin(fits)) if first < 0 else first
                wrong += int((~fits).sum())
    except _UNREADABLE as error:
        yield f"site {site}: cannot be read ({error})"
    if wrong:
        yield f"site {site}: {wrong} rows are not finite or do not have their stored norm, the first is row {first}"


def _study_damages(file: h5py.File, shard: ShardRecord, manifest: Manifest, rows_of: dict[int, int]) -> Iterator[str]:
    studies, roles = file["tokens/study"][:], file["tokens/role"][:]
    first, last = shard.studies
    if np.any(np.diff(studies) < 0) or np.any((studies < first) | (studies > last)):
        yield f"tokens/study: numbers do not ascend within {first} … {last}"
    if np.any(studies % manifest.config.writers != shard.writer):
        yield f"tokens/study: studies of another writer than {shard.writer}"
    if strange := sorted(set(roles.tolist()) - {int(role) for role in manifest.config.roles}):
        yield f"tokens/role: {strange} are not among the roles of the manifest"
    if np.any((file["tokens/image"][:] >= 0) != (roles == Role.IMAGE)):
        yield "tokens/image: not all image tokens, and only those, have an image"
    for study, rows in zip(*np.unique(studies, return_counts=True), strict=True):
        if int(study) in rows_of:
            yield f"tokens/study: study {study} has rows in another shard too"
        rows_of[int(study)] = int(rows)


def _table_damages(path: Path, manifest: Manifest, rows_of: dict[int, int]) -> Iterator[str]:
    try:
        records = [(record["study"], record["rows"]) for record in read_records(path, ["study", "rows"])]
    except (InputError, OSError, ValueError, KeyError) as error:
        yield f"{path}: {error}" if str(path) not in str(error) else str(error)
        return
    if [study for study, _ in records] != list(range(manifest.n_studies)):
        yield f"{path}: studies are not 0 … {manifest.n_studies - 1}, each once"
    wrong = [study for study, rows in records if rows_of.get(study, 0) != rows]
    if wrong:
        yield f"{path}: {len(wrong)} studies have another number of rows than the shards, the first is {wrong[0]}"
