"""From studies to an activation store: encode, run, keep the rows of the wanted roles, write."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import torch

from activations import studies_files
from activations.compression import NONE
from activations.estimate import Announce, expect, wait_for_devices
from activations.hooks import is_image_site, positions_for, resolve_sites
from activations.manifest import StoreConfig
from activations.models.base import ReportModel
from activations.passes import generating, teacher_forced
from activations.roles import Role, TokenTable
from activations.store import RoleSpec, as_roles
from activations.studies_table import base_record
from activations.study_pictures import picture_columns
from activations.summary import StoreSummary, require_rows, summarize
from activations.write_behind import WriteBehind
from activations.writer import DEFAULT_SHARD_ROWS, StoreWriter, StudyRows
from radiology.errors import InputError

if TYPE_CHECKING:
    from radiology.study import Study

Progress = Callable[[int, int], None]
#: Studies, or source (what ``open_studies`` was asked for) → its studies.
Sources = Iterable["Study"] | Mapping[str, Iterable["Study"]]
#: What tells whether the studies given to a resumed run are those that are stored.
_COMPARED = (
    "study",
    "study_id",
    "patient_id",
    "terms",
    *studies_files.TEXT_SECTIONS,
    "reference_report",
    "labels",
    "metadata",
)


def cache_activations(
    model: ReportModel,
    studies: Sources,
    sites: Sequence[str],
    directory: str | Path,
    *,
    roles: RoleSpec,
    mode: str = "teacher-forced",
    dtype: str = "bfloat16",
    batch_size: int = 16,
    shard_rows: int = DEFAULT_SHARD_ROWS,
    max_new_tokens: int | None = None,
    preview_size: int | None = None,
    compression: str = NONE,
    rank: int = 0,
    world: int = 1,
    progress: Progress | None = None,
    announce: Announce | None = None,
) -> StoreSummary:
    """Run a model over studies and store its activations; one pass fills all sites.

    Args:
        studies: an iterable, or source → iterable for several sources; study numbers run through all of them.
        sites: site names or aliases; see ``ReportModel.sites``.
        directory: the store's folder (``RUN/activations``); ``studies.parquet`` is written beside it.
        roles: roles, role names or presets whose tokens are kept.
        mode: ``teacher-forced`` reads each study's own report, or one that the model writes first where there is none;
            ``generate`` watches the model write.
        batch_size: studies in one pass.
        shard_rows: a shard is closed once it has so many rows.
        max_new_tokens: limit of written reports; None is the model's own.
        preview_size: side of the stored previews in pixels; None is what the encoder sees.
        compression: ``none``, ``blosc2`` or ``bitshuffle``; the latter two need the package hdf5plugin.
        rank, world: this process takes the studies whose number modulo ``world`` is ``rank``.
        progress: called with studies done and their total (0 if it is not known).
        announce: called once, after the first batch has run and before anything of it is written, with what is still
            to come; not called if there is nothing to do, or if the number of studies is not known beforehand.

    Rows are written by a thread of their own (:class:`activations.write_behind.WriteBehind`).

    The same call goes on after the finished shards of an interrupted one, and does nothing if the store is complete.

    Raises:
        InputError: unknown sites or roles, sites that have no rows for the roles, no studies, a study_id twice, or a
            store there that was written from other studies, another model, or with other options.
        OSError: the disk refuses, or has less room than is expected to be needed (then nothing was written); the same
            call goes on later.
    """
    config = _config(model, sites, as_roles(roles), mode, dtype, max_new_tokens, world, compression)
    options = _Options(model, config, batch_size, preview_size)
    directory = Path(directory)
    told = _Told(_count(studies), progress, announce)
    with StoreWriter(directory, config, rank=rank, shard_rows=shard_rows) as writer:
        mine = _numbered(studies, rank, world)
        done = _skip_stored(mine, directory, writer)
        with WriteBehind(writer) as behind:
            written = _fill(options, mine, done, behind, told)
            if not writer.complete:
                behind.drain()
                require_rows(writer.rows, world == 1, directory, config)
                behind.finish()
    return summarize(directory, written_now=written, waited=behind.waited)


def _fill(options: _Options, mine: Iterator[_Numbered], done: int, behind: WriteBehind, told: _Told) -> int:
    """Run all studies that are left and hand their rows to the writer; gives their number."""
    writer, written = behind.writer, 0
    total = len(range(writer.rank, told.studies or 0, writer.config.writers))
    if told.progress is not None and done:
        told.progress(done, total)
    began = perf_counter()
    while batch := list(islice(mine, options.batch_size)):
        rows = _process(options, batch)
        if not written and told.studies is not None:
            wait_for_devices(rows)
            estimate = expect(rows, perf_counter() - began, told.studies, total - done, writer)
            if told.announce is not None:
                told.announce(estimate)
            estimate.require_room(writer.directory)
        behind.add(rows)
        written += len(batch)
        if told.progress is not None:
            told.progress(done + written, total)
    return written


@dataclass(frozen=True)
class _Numbered:
    """A study with its number in the store and the source it was read from."""

    number: int
    source: str | None
    study: Study


@dataclass(frozen=True)
class _Told:
    """What is told on the way, and the number of all studies it is told with; None if that is not known."""

    studies: int | None
    progress: Progress | None
    announce: Announce | None


@dataclass(frozen=True)
class _Options:
    model: ReportModel
    config: StoreConfig
    batch_size: int
    preview_size: int | None

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise InputError(f"batch_size: {self.batch_size}; a pass has at least one study")


def _config(
    model: ReportModel,
    sites: Sequence[str],
    roles: tuple[Role, ...],
    mode: str,
    dtype: str,
    max_new_tokens: int | None,
    world: int,
    compression: str,
) -> StoreConfig:
    names = list(resolve_sites(model, sites))
    image_sites = [name for name in names if is_image_site(name)]
    if image_sites and roles != (Role.IMAGE,):
        raise InputError(
            f"sites: {', '.join(image_sites)} has rows for image tokens only, but roles "
            f"{', '.join(role.name.lower() for role in roles)} are asked for; ask for roles 'image', or cache it "
            "into a run directory of its own"
        )
    widths = {name: model.width(name) for name in names}
    rows, cols = model.grid
    return StoreConfig(
        model.name, model.fingerprint, widths, dtype, roles, mode, max_new_tokens, world, (rows, cols), compression
    )


def _count(studies: Sources) -> int | None:
    """Number of all studies, or None if a source does not know it."""
    parts = list(studies.values()) if isinstance(studies, Mapping) else [studies]
    sizes = [len(part) for part in parts if isinstance(part, Sized)]
    return sum(sizes) if len(sizes) == len(parts) else None


def _numbered(studies: Sources, rank: int, world: int) -> Iterator[_Numbered]:
    """This writer's share of all studies."""
    parts = studies.items() if isinstance(studies, Mapping) else [(None, studies)]
    seen: set[str] = set()
    number = 0
    for source, study in chain.from_iterable(((name, study) for study in part) for name, part in parts):
        if study.study_id in seen:
            raise InputError(f"studies: study_id {study.study_id!r} comes twice; ids must be unique over all sources")
        seen.add(study.study_id)
        if number % world == rank:
            yield _Numbered(number, source, study)
        number += 1
    if not number:
        raise InputError("studies: the source gives none; look at its path and filters")


def _skip_stored(mine: Iterator[_Numbered], directory: Path, writer: StoreWriter) -> int:
    """Pass over the studies that are in finished shards, making sure that they are the same ones."""
    remedy = f"Give the same studies, use another run directory, or remove {directory} to cache anew."
    done = 0
    for stored in writer.stored_records(_COMPARED):
        one = next(mine, None)
        if one is None:
            raise InputError(f"{directory}: the store holds more studies than the {done} given. {remedy}")
        now = base_record(one.study, one.number, one.source)
        for field in _COMPARED:
            if stored[field] != now[field]:
                # the values may be patients' text: only the name of the field is told
                raise InputError(f"{directory}: {field} of study number {one.number} is not as stored. {remedy}")
        done += 1
    if writer.complete and next(mine, None) is not None:
        raise InputError(f"{directory}: the store is complete with {done} studies, but more are given. {remedy}")
    return done


def _process(options: _Options, batch: Sequence[_Numbered]) -> list[StudyRows]:
    model, config = options.model, options.config
    run = generating if config.mode == "generate" else teacher_forced
    done = run(model, tuple(config.sites), [one.study for one in batch], config.max_new_tokens)
    finished = []
    for i, one in enumerate(batch):
        table = done.tables[i]
        kept = table.where(config.roles)
        record = {
            **base_record(one.study, one.number, one.source),
            "report": done.reports[i],
            "report_source": done.report_sources[i],
            "rows": len(kept),
            **picture_columns(model, one.study, options.preview_size),
        }
        rows = {site: _pick(done.rows[site][i], positions_for(site, table), kept) for site in config.sites}
        finished.append(StudyRows(record, _subset(table, kept), kept, rows))
    return finished


def _pick(rows_nd: torch.Tensor, positions: np.ndarray, kept: np.ndarray) -> torch.Tensor:
    """Rows of the kept positions, a copy; ``positions`` are those that have a row, ascending."""
    return rows_nd[torch.from_numpy(np.searchsorted(positions, kept)).to(rows_nd.device)]


def _subset(table: TokenTable, positions: np.ndarray) -> TokenTable:
    return TokenTable(*(getattr(table, field.name)[positions] for field in dataclasses.fields(TokenTable)))
