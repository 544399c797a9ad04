"""Taking studies out of a finished store as they are stored: what merging and exporting have in common."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
import xxhash

from activations.manifest import Manifest
from activations.roles import TokenTable
from activations.shard import TOKEN_COLUMNS, OpenShards, checksum
from activations.store import ActivationStore
from activations.studies_files import FILE_NAME, read_records
from activations.writer import StudyRows
from radiology.errors import InputError


def store_digest(directory: Path, manifest: Manifest) -> str:
    """Tells a complete store from any other: covers the checksums of all shards and the size of the study table."""
    digest = xxhash.xxh3_128(json.dumps([(shard.file, shard.checksum) for shard in manifest.shards]).encode())
    digest.update(str((directory.parent / FILE_NAME).stat().st_size).encode())
    return f"xxh3_128:{digest.hexdigest()}"


class SoundShards:
    """Token columns of a store's shards, each checked against its checksum when it is first looked at.

    A copy gets checksums of its own, so damage that is not found while copying would never be found again.
    """

    def __init__(self, directory: Path, manifest: Manifest) -> None:
        self._directory, self._shards = directory, manifest.shards
        self._open = OpenShards([directory / shard.file for shard in manifest.shards])
        self._sound: set[int] = set()

    def close(self) -> None:
        self._open.close()

    def require_sound(self, shard: int) -> None:
        """Raise InputError if the bytes of a shard are not those of the manifest."""
        if shard not in self._sound:
            path = self._directory / self._shards[shard].file
            if checksum(path) != self._shards[shard].checksum:
                raise InputError(
                    f"{path}: checksum differs from the manifest; the shard is damaged. "
                    f"`interp store verify --run {self._directory}` says where; restore the file or cache anew"
                )
            self._sound.add(shard)

    def column(self, shard: int, path: str) -> np.ndarray:
        """A one-dimensional dataset of a shard, whole: ``tokens/role``, ``norms/language.1`` …"""
        self.require_sound(shard)
        return self._open.read(shard, path, slice(None))


class StudyReader:
    """Studies of a complete store in the order of their numbers, rows as stored.

    In memory are the token columns of one shard of each writer (18 bytes a row), the study in hand, and 64 rows of the
    study table with their previews.

    Raises:
        InputError: the store is incomplete or damaged.
    """

    def __init__(self, directory: Path) -> None:
        self.store = ActivationStore(directory)
        self._shards = SoundShards(directory, self.store.manifest)
        writers = range(self.store.manifest.config.writers)
        self._lanes = [_Lane(directory, self.store.manifest, writer, self._shards) for writer in writers]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._shards.close()
        self.store.close()

    def records(self) -> Iterator[dict[str, Any]]:
        """Rows of ``studies.parquet``; after each, take the study by :meth:`rows_of` or pass it by :meth:`skip`."""
        return read_records(self.store.directory.parent / FILE_NAME, None)

    def skip(self, record: dict[str, Any]) -> None:
        """Pass over the rows of the next study without reading them."""
        self._lane(record).take(record["rows"])

    def rows_of(self, record: dict[str, Any]) -> StudyRows:
        """The next study; ``record`` is its row of the study table."""
        lane = self._lane(record)
        first, tokens = lane.read(record["study"], record["rows"])
        rows = {site: self._rows(site, first, record["rows"]) for site in self.store.sites}
        position, _ = tokens.pop("position"), tokens.pop("study")
        return StudyRows(record, TokenTable(**tokens), position, rows)

    def _lane(self, record: dict[str, Any]) -> _Lane:
        return self._lanes[record["study"] % len(self._lanes)]

    def _rows(self, site: str, first: int, count: int) -> torch.Tensor:
        """(count, d) in the store's own number format; not a bit is changed."""
        own: torch.dtype = getattr(torch, self.store.dtype)
        if not count:
            return torch.empty((0, self.store.width(site)), dtype=own)
        stored_nd = np.ascontiguousarray(self.store.stored(site, first, first + count))
        bits = np.int32 if own == torch.float32 else np.int16
        return torch.from_numpy(stored_nd.view(bits)).view(own)


class _Lane:
    """Where one writer's studies lie: one after the other through its shards, each whole in one of them."""

    def __init__(self, directory: Path, manifest: Manifest, writer: int, shards: SoundShards) -> None:
        starts = np.cumsum([0, *(shard.rows for shard in manifest.shards)])
        self._places = [
            (number, int(starts[number]), shard.rows)
            for number, shard in enumerate(manifest.shards)
            if shard.writer == writer
        ]
        self._directory, self._shards = directory, shards
        self._at = self._row = 0
        self._tokens: tuple[int, dict[str, np.ndarray]] = (-1, {})

    def take(self, rows: int) -> tuple[int, int]:
        """Go ahead by a study's rows; gives its shard's place in the lane and its first row in there."""
        while rows and self._at < len(self._places) and self._row == self._places[self._at][2]:
            self._at, self._row = self._at + 1, 0
        first, end = self._row, self._places[self._at][2] if self._at < len(self._places) else 0
        if rows and first + rows > end:
            raise self._damaged()
        self._row += rows
        return self._at, first

    def read(self, study: int, rows: int) -> tuple[int, dict[str, np.ndarray]]:
        """Go ahead by a study; gives its first row, counted through the whole store, and its token columns."""
        at, first = self.take(rows)
        if not rows:
            return 0, {name: np.empty(0, dtype) for name, dtype in TOKEN_COLUMNS.items()}
        shard, start, _ = self._places[at]
        if self._tokens[0] != shard:
            self._tokens = (shard, {name: self._shards.column(shard, f"tokens/{name}") for name in TOKEN_COLUMNS})
        tokens = {name: column[first : first + rows] for name, column in self._tokens[1].items()}
        if np.any(tokens["study"] != study):
            raise self._damaged()
        return start + first, tokens

    def _damaged(self) -> InputError:
        return InputError(
            f"{self._directory}: the shards do not hold the rows that {FILE_NAME} tells of; "
            f"`interp store verify --run {self._directory}` lists the damage"
        )
