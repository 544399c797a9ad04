"""Reading an activation store. The format is described in ``docs/activation-store.md``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
import pandas as pd
import torch

from activations import shuffle
from activations.encoding import as_tensor, block_rows, decode
from activations.filters import RoleSpec, as_roles, in_studies
from activations.hooks import canonical_site
from activations.manifest import open_manifest
from activations.memory import Recycled
from activations.shard import TOKEN_COLUMNS, checksum
from activations.stored_rows import StoredRows
from radiology.errors import InputError


class Chunk(NamedTuple):
    """Consecutive rows of a store: where they are, (n, d) float32 activations, and the token columns, each (n,)."""

    rows: slice
    acts_nd: np.ndarray
    tokens: dict[str, np.ndarray]


class ActivationStore:
    """The activations of one run, opened for reading.

    Rows are numbered through all shards in the order of the manifest. The rows of one study are consecutive and in
    prompt order; with one writer, studies ascend.

    Args:
        directory: the folder with ``manifest.json``, usually ``RUN/activations``.
        allow_incomplete: open a store that is still being written, with the shards that are finished.

    Raises:
        InputError: no store, a newer version, an incomplete store, or a shard that is missing or cut off.
    """

    def __init__(self, directory: str | Path, *, allow_incomplete: bool = False) -> None:
        self.directory = Path(directory)
        self.manifest = open_manifest(self.directory, allow_incomplete=allow_incomplete)
        self._stored = StoredRows(self.directory, self.manifest)
        self._columns: dict[str, np.ndarray] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the shard files; they are opened again when needed."""
        self._stored.close()

    @property
    def sites(self) -> tuple[str, ...]:
        return tuple(self.manifest.config.sites)

    @property
    def dtype(self) -> str:
        """Number format on disk; what is read comes as float32 unless something else is asked for."""
        return self.manifest.config.dtype

    @property
    def rows(self) -> int:
        """Number of rows (kept tokens) of the store."""
        return len(self._stored)

    @property
    def n_studies(self) -> int:
        return self.manifest.n_studies

    def width(self, site: str) -> int:
        """Width d of a site; InputError lists the sites that are stored."""
        site = canonical_site(site)
        if site not in self.manifest.config.sites:
            raise InputError(f"{self.directory}: site {site!r} is not stored; stored are {', '.join(self.sites)}")
        return self.manifest.config.sites[site]

    def column(self, name: str) -> np.ndarray:
        """One token column of all rows, (rows,), read once and kept; ``study``, ``role`` … as in TOKEN_COLUMNS."""
        if name not in TOKEN_COLUMNS:
            raise InputError(f"tokens: {name!r} is no column; there are {', '.join(TOKEN_COLUMNS)}")
        if name not in self._columns:
            self._columns[name] = self._stored.column(f"tokens/{name}", TOKEN_COLUMNS[name])
        return self._columns[name]

    def norms(self, site: str) -> np.ndarray:
        """L2 norm of every stored row of a site, (rows,) float32."""
        self.width(site)
        return self._stored.column(f"norms/{canonical_site(site)}", np.dtype("<f4"))

    def tokens(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Token columns of all rows (all columns unless named), 18 bytes a row; the index is the row number."""
        return pd.DataFrame({name: self.column(name) for name in (columns or TOKEN_COLUMNS)})

    def rows_of_study(self, study: int) -> slice:
        """The rows of one study, empty if none of its tokens was kept."""
        return self._study_rows.get(int(study), slice(0, 0))

    @cached_property
    def _study_rows(self) -> dict[int, slice]:
        studies = self.column("study")
        edges = np.flatnonzero(np.diff(studies)) + 1
        starts, stops = np.concatenate([[0], edges]), np.concatenate([edges, [len(studies)]])
        return {int(studies[a]): slice(int(a), int(b)) for a, b in zip(starts, stops, strict=True) if b > a}

    def chunk_spans(self, rows: int = 8192) -> list[tuple[int, int]]:
        """Where the chunks of :meth:`iter_chunks` lie: first row and last + 1 of each."""
        if rows < 1:
            raise InputError(f"rows: {rows}; a chunk has at least one row")
        return self._stored.spans(rows)

    def iter_chunks(
        self,
        site: str,
        rows: int = 8192,
        columns: Sequence[str] = tuple(TOKEN_COLUMNS),
        spans: Sequence[tuple[int, int]] | None = None,
    ) -> Iterator[Chunk]:
        """Stream a site in row order, at most ``rows`` rows at a time; a chunk does not cross a shard.

        Threads read ahead; in memory are two chunks as stored, and up to three as float32.

        Args:
            spans: some of :meth:`chunk_spans`, to stream only those.
        """
        self.width(site)
        spans, memory = self.chunk_spans(rows) if spans is None else spans, Recycled()
        with closing(self._stored.in_order(canonical_site(site), spans)) as stream:
            for (start, stop), stored_nd in zip(spans, stream, strict=True):
                tokens = {name: self.column(name)[start:stop] for name in columns}
                yield Chunk(slice(start, stop), decode(stored_nd, self.dtype, memory).numpy(), tokens)

    def read(self, site: str, row_indices: Sequence[int] | np.ndarray | slice) -> np.ndarray:
        """Rows of a site in the order asked for, (n, d) float32. Neighbouring rows cost one read."""
        if isinstance(row_indices, slice):
            row_indices = np.arange(*row_indices.indices(self.rows))
        wanted = np.asarray(row_indices, dtype=np.int64).reshape(-1)
        if len(wanted) and (wanted.min() < 0 or wanted.max() >= self.rows):
            raise InputError(f"rows: {wanted.min()} … {wanted.max()} asked for; the store has rows 0 … {self.rows - 1}")
        width = self.width(site)
        found_nd = np.empty((len(wanted), width), dtype=np.float32)
        order = np.argsort(wanted, kind="stable")
        ordered = wanted[order]
        for start, stop in self._stored.spans(block_rows(width, self.dtype)):
            first, last = np.searchsorted(ordered, [start, stop])
            if first == last:
                continue
            here = ordered[first:last]
            low = int(here[0])
            block_nd = decode(self.stored(site, low, int(here[-1]) + 1), self.dtype).numpy()
            found_nd[order[first:last]] = block_nd[here - low]
        return found_nd

    def select(
        self,
        *,
        roles: RoleSpec | None = None,
        studies: Iterable[int] | np.ndarray | None = None,
        max_norm: float | None = None,
        site: str | None = None,
    ) -> np.ndarray:
        """Mask of the rows that pass all filters, (rows,) bool.

        Args:
            roles: role names, a preset, or Roles.
            studies: study numbers, or a bool mask over study numbers.
            max_norm: drop rows whose L2 norm at ``site`` is above it (attention sinks, see :mod:`activations.norms`).

        Raises:
            InputError: nothing is left.
        """
        keep = np.ones(self.rows, dtype=bool)
        if roles is not None:
            keep &= np.isin(self.column("role"), [int(role) for role in as_roles(roles)])
        if studies is not None:
            keep &= in_studies(self.column("study"), studies)
        if max_norm is not None:
            if site is None:
                raise InputError("max_norm: name the site whose norms are meant")
            keep &= self.norms(site) <= max_norm
        if not keep.any():
            stored = ", ".join(role.name.lower() for role in self.manifest.config.roles)
            raise InputError(
                f"{self.directory}: no row passes roles={roles!r}, studies, max_norm={max_norm}; "
                f"the store has {self.rows} rows of the roles {stored}"
            )
        return keep

    def batches(
        self,
        site: str,
        batch_size: int,
        *,
        seed: int,
        epoch: int = 0,
        offset: int = 0,
        roles: RoleSpec | None = None,
        studies: Iterable[int] | np.ndarray | None = None,
        max_norm: float | None = None,
        endless: bool = False,
        pool_rows: int | None = None,
        rank: int = 0,
        world: int = 1,
        dtype: torch.dtype = torch.float32,
    ) -> Iterator[torch.Tensor]:
        """Globally shuffled rows of a site, (batch_size, d) on the CPU.

        Every row that passes the filters comes exactly once an epoch, in an order that depends on ``seed``, the epoch
        and ``pool_rows`` only. Starting at ``(epoch, offset)`` gives what an uninterrupted run would give from there.
        Threads read ahead; they end with the iterator. In memory are two pools as stored, 256 MiB together unless
        ``pool_rows`` says otherwise, four batches (memory of those that nobody holds any more is used again), and 1
        byte a row of the store for the filter.

        Args:
            offset: rows of this epoch already consumed, by all ranks together.
            endless: go on with the next epoch; batches are then always full and may join two epochs. Otherwise the
                last batch of the epoch may be smaller.
            pool_rows: rows that are mixed with each other in memory; None is about 128 MiB of them.
            rank, world: of each ``world × batch_size`` rows give every ``world``-th, from ``rank`` on.
            dtype: float32, or the store's own number format, which saves the conversion and half of the memory.
        """
        keep = self.select(roles=roles, studies=studies, max_norm=max_norm, site=site)
        plan = self.plan(site, keep, seed, pool_rows)
        return self._stream(site, plan, batch_size, shuffle.Place(epoch, offset, endless, rank, world), dtype)

    def plan(self, site: str, keep: np.ndarray, seed: int, pool_rows: int | None = None) -> shuffle.Plan:
        """The shuffle that :meth:`batches` uses for the rows of a mask, to measure it (:func:`shuffle.mixing`)."""
        width = self.width(site)
        spans = self._stored.spans(block_rows(width, self.dtype))
        return shuffle.Plan.of(keep, spans, seed, pool_rows or shuffle.pool_rows(width, self.dtype))

    def batch_source(
        self,
        site: str,
        batch_size: int,
        *,
        seed: int,
        roles: RoleSpec | None = None,
        studies: Iterable[int] | np.ndarray | None = None,
        max_norm: float | None = None,
        pool_rows: int | None = None,
        rank: int = 0,
        world: int = 1,
        dtype: torch.dtype = torch.float32,
    ) -> Callable[[int], Iterator[torch.Tensor]]:
        """For a trainer: ``source(n)`` goes on after n full batches, over epochs without end; see :meth:`batches`."""
        keep = self.select(roles=roles, studies=studies, max_norm=max_norm, site=site)
        plan = self.plan(site, keep, seed, pool_rows)

        def source(n_batches: int) -> Iterator[torch.Tensor]:
            epoch, offset = divmod(n_batches * batch_size * world, plan.rows)
            return self._stream(site, plan, batch_size, shuffle.Place(epoch, offset, True, rank, world), dtype)

        return source

    def _stream(
        self, site: str, plan: shuffle.Plan, batch_size: int, place: shuffle.Place, dtype: torch.dtype
    ) -> Iterator[torch.Tensor]:
        own = getattr(torch, self.dtype)
        if dtype not in (torch.float32, own):
            raise InputError(f"dtype: {dtype} is neither float32 nor the store's own {self.dtype}")

        memory = Recycled()

        def decoded(rows_nd: np.ndarray) -> torch.Tensor:
            return as_tensor(rows_nd, self.dtype) if dtype == own else decode(rows_nd, self.dtype, memory)

        name = canonical_site(site)

        def read(start: int, stop: int, into_nd: np.ndarray | None) -> np.ndarray:
            return self._stored.read(name, start, stop, into_nd, streaming=True)

        source = shuffle.Source(read, lambda rows: self._stored.new(name, rows))
        return shuffle.batches(plan, batch_size, place, source, decoded)

    def verify(self) -> None:
        """Compare the checksum of every shard; InputError names the first that differs."""
        for shard in self.manifest.shards:
            path = self.directory / shard.file
            if checksum(path) != shard.checksum:
                raise InputError(f"{path}: checksum differs from the manifest; the shard is damaged, cache it anew")

    def stored(self, site: str, start: int, stop: int) -> np.ndarray:
        """Rows start … stop − 1 as they lie on disk, (n, d); they must be of one shard."""
        self.width(site)
        return self._stored.read(canonical_site(site), start, stop)
