"""``manifest.json`` of an activation store: what was cached from which model, and which shards are whole.

The normative description is ``docs/activation-store.md``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from activations.compression import COMPRESSIONS, NONE, require_plugin
from activations.files import write_atomically
from activations.manifest_form import check_form
from activations.roles import Role
from radiology.errors import InputError

FORMAT = "activation-store"
VERSION = 1
#: Number format of the rows → how it lies on disk; bfloat16 is kept as its sixteen bits.
DTYPES: dict[str, np.dtype] = {"bfloat16": np.dtype("<u2"), "float16": np.dtype("<f2"), "float32": np.dtype("<f4")}
MODES = ("teacher-forced", "generate")


@dataclass(frozen=True)
class StoreConfig:
    """What decides the contents of a store; two runs may share a store only if all of it is equal.

    Attributes:
        model_name: what the user called the model; not compared, since paths differ between machines.
        fingerprint: hash of the model's configuration and weights.
        sites: site name → width d.
        dtype: a key of :data:`DTYPES`.
        roles: kept token roles.
        mode: ``teacher-forced`` (a given report is read) or ``generate`` (the model writes it while it is watched).
        max_new_tokens: limit of generated reports; None is the model's own limit.
        writers: number of processes that fill the store; study s belongs to writer s mod ``writers``.
        grid: (rows, columns) of patches of one image; not compared, the fingerprint covers it.
        compression: filter of the site datasets, one of :data:`activations.compression.COMPRESSIONS`.
    """

    model_name: str
    fingerprint: str
    sites: Mapping[str, int]
    dtype: str
    roles: tuple[Role, ...]
    mode: str = "teacher-forced"
    max_new_tokens: int | None = None
    writers: int = 1
    grid: tuple[int, int] | None = None
    compression: str = NONE

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise InputError(f"dtype: {self.dtype!r} cannot be stored; choose one of {list(DTYPES)}")
        if not self.sites:
            raise InputError("sites: none given; name at least one, such as language.1")
        if not self.roles:
            raise InputError("roles: none given; name at least one, such as report, or a preset such as content")
        if self.mode not in MODES:
            raise InputError(f"mode: {self.mode!r} is unknown; choose one of {list(MODES)}")
        if self.writers < 1:
            raise InputError(f"writers: {self.writers}; there must be at least one")
        if self.compression not in COMPRESSIONS:
            raise InputError(f"compression: {self.compression!r} is unknown; choose one of {list(COMPRESSIONS)}")

    def compared(self) -> dict[str, Any]:
        """The fields that must agree, in JSON types."""
        return {
            "model fingerprint": self.fingerprint,
            "sites": dict(self.sites),
            "dtype": self.dtype,
            "roles": [role.name.lower() for role in self.roles],
            "mode": self.mode,
            "max_new_tokens": self.max_new_tokens,
            "writers": self.writers,
            "compression": self.compression,
        }

    @property
    def hash(self) -> str:
        """Hash of :meth:`compared`, 16 hexadecimal digits; compression has a part in it only where there is one."""
        hashed = self.compared()
        if self.compression == NONE:  # stores from before there was compression keep their hash
            del hashed["compression"]
        canonical = json.dumps(hashed, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def require_equal(self, asked: StoreConfig, directory: Path) -> None:
        """Raise InputError naming the first field in which ``asked`` differs from this store."""
        wanted = asked.compared()
        for name, value in self.compared().items():
            if value != wanted[name]:
                raise InputError(
                    f"{directory}: {name} differs: the store there was written with {value!r}, now {wanted[name]!r} is "
                    f"asked for. Use another run directory, or remove {directory} to cache anew."
                )


@dataclass(frozen=True)
class ShardRecord:
    """One finished shard: its file, rows, size in bytes, checksum (``xxh3_128:`` and hex), and its studies.

    ``studies`` is (first, last) study number, both included; ``n_studies`` counts those of this shard's writer between.
    ``datasets`` is path in the file → digest of its rows, to tell which one a damage has hit; empty in older stores.
    """

    file: str
    rows: int
    bytes: int
    checksum: str
    studies: tuple[int, int]
    n_studies: int
    datasets: Mapping[str, str] = field(default_factory=dict, hash=False)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> ShardRecord:
        """The inverse of :meth:`to_json`; fields that are not known are ignored."""
        known = {key: data[key] for key in ("file", "rows", "bytes", "checksum", "n_studies")}
        first, last = data["studies"]
        return ShardRecord(**known, studies=(first, last), datasets=dict(data.get("datasets", {})))

    def to_json(self) -> dict[str, Any]:
        """In JSON types; what is empty is left out."""
        told = asdict(self)
        if not self.datasets:
            del told["datasets"]
        return told

    @property
    def writer(self) -> int:
        """Rank of the process that wrote the shard (RRRRR in ``shard-RRRRR-NNNNN.h5``)."""
        return int(self.file.split("-")[1])


@dataclass(frozen=True)
class Manifest:
    """The state of a store. ``finished`` lists the writers that have no study left."""

    config: StoreConfig
    shards: tuple[ShardRecord, ...] = ()
    finished: tuple[int, ...] = ()
    complete: bool = False
    version: int = field(default=VERSION)

    @property
    def rows(self) -> int:
        return sum(shard.rows for shard in self.shards)

    @property
    def n_studies(self) -> int:
        return sum(shard.n_studies for shard in self.shards)

    def shards_of(self, writer: int) -> tuple[ShardRecord, ...]:
        return tuple(shard for shard in self.shards if shard.writer == writer)

    def with_writer(self, writer: int, shards: tuple[ShardRecord, ...], finished: bool) -> Manifest:
        """The manifest with everything of one writer put in place of what it said before; shards stay in file order."""
        others = tuple(shard for shard in self.shards if shard.writer != writer)
        done = (set(self.finished) | {writer}) if finished else (set(self.finished) - {writer})
        ordered = sorted(others + shards, key=lambda shard: shard.file)
        return replace(self, shards=tuple(ordered), finished=tuple(sorted(done)))

    def to_json(self) -> dict[str, Any]:
        config = self.config
        return {
            "format": FORMAT,
            "version": self.version,
            "complete": self.complete,
            "model": {
                "name": config.model_name,
                "fingerprint": config.fingerprint,
                "grid": None if config.grid is None else list(config.grid),
            },
            "sites": [{"name": name, "width": width} for name, width in config.sites.items()],
            "dtype": config.dtype,
            **({} if config.compression == NONE else {"compression": config.compression}),
            "roles": [role.name.lower() for role in config.roles],
            "mode": config.mode,
            "max_new_tokens": config.max_new_tokens,
            "config_hash": config.hash,
            "writers": config.writers,
            "finished_writers": list(self.finished),
            "studies": self.n_studies,
            "rows": self.rows,
            "shards": [shard.to_json() for shard in self.shards],
        }

    @staticmethod
    def from_json(data: Any) -> Manifest:
        """The inverse of :meth:`to_json`; ValueError if a field is missing or of another form."""
        check_form(data, "")
        grid = data["model"].get("grid")
        sites = {site["name"]: site["width"] for site in data["sites"]}
        if len(sites) != len(data["sites"]):
            raise ValueError("sites has a name twice")
        config = StoreConfig(
            model_name=data["model"]["name"],
            fingerprint=data["model"]["fingerprint"],
            sites=sites,
            dtype=data["dtype"],
            roles=tuple(Role[name.upper()] for name in data["roles"]),
            mode=data["mode"],
            max_new_tokens=data["max_new_tokens"],
            writers=data["writers"],
            grid=None if grid is None else (grid[0], grid[1]),
            compression=data.get("compression", NONE),
        )
        return Manifest(
            config=config,
            shards=tuple(ShardRecord.from_json(shard) for shard in data["shards"]),
            finished=tuple(data["finished_writers"]),
            complete=data["complete"],
            version=data["version"],
        )

    def write(self, directory: Path) -> None:
        write_atomically(directory / "manifest.json", (json.dumps(self.to_json(), indent=1) + "\n").encode())


def read_manifest(directory: Path, *, check: bool = True) -> Manifest | None:
    """The manifest of a store, or None where there is none.

    Args:
        check: what the manifest says twice must agree; whoever wants to list the differences leaves that out.

    Raises:
        InputError: it is no manifest of an activation store, or one of a newer version.
    """
    path = directory / "manifest.json"
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        data = json.loads(content.decode("utf-8"))
        kind, version = data["format"], data["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path, error) from error
    if kind != FORMAT:
        raise InputError(f"{path}: format is {kind!r}, not {FORMAT!r}; this is no activation store")
    if isinstance(version, int) and version > VERSION:
        raise InputError(f"{path}: version {version} is newer than this program reads ({VERSION}); update interp")
    try:
        manifest = Manifest.from_json(data)
        if check:
            _check_repeated(manifest, data)
    except ValueError as error:
        raise _damaged(path, error) from error
    return manifest


def _check_repeated(manifest: Manifest, data: Mapping[str, Any]) -> None:
    """What a manifest says twice must agree: a changed number would otherwise give wrong rows without a word."""
    again = manifest.to_json()
    for name in ("version", "config_hash", "studies", "rows"):
        if again[name] != data[name]:
            raise ValueError(f"{name} is {data[name]!r}, but the rest of it says {again[name]!r}")


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: damaged manifest ({error or type(error).__name__}); cache anew")


def open_manifest(directory: Path, *, allow_incomplete: bool) -> Manifest:
    """The manifest of a store whose shards are all there in full length.

    Raises:
        InputError: no store, an incomplete one (unless allowed), a shard that is missing or cut off, or a compression
            whose package is not installed.
    """
    manifest = read_manifest(directory)
    if manifest is None:
        hint = f"; did you mean {directory / 'activations'}?" if (directory / "activations").is_dir() else ""
        raise InputError(f"{directory}: no activation store here; run `interp cache` first{hint}")
    if not manifest.complete and not allow_incomplete:
        raise InputError(
            f"{directory}: the activation store is incomplete ({manifest.n_studies} studies so far); "
            "run the same `interp cache` command again to finish it"
        )
    require_plugin(manifest.config.compression, directory)
    for shard in manifest.shards:
        require_shard(directory, shard)
    return manifest


def require_shard(directory: Path, shard: ShardRecord) -> None:
    """Raise InputError naming the file if a shard that the manifest lists is missing or of another size."""
    path = directory / shard.file
    if not path.is_file():
        raise InputError(f"{path}: this shard is missing; restore it or cache anew")
    if (size := path.stat().st_size) != shard.bytes:
        raise InputError(f"{path}: this shard has {size} bytes, not {shard.bytes}; it is cut off, cache anew")
