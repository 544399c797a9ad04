"""Writing a store in a plainer form, ``safetensors`` or ``npy``; ``docs/activation-store.md`` says what lies where.

:func:`plan` looks at everything first and writes nothing; :func:`export` then writes. Stopped or killed, the same call
goes on after the last finished shard; ``export.json`` says ``complete`` only when everything else is there.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from activations.copying import SoundShards, store_digest
from activations.encoding import block_rows, decode
from activations.files import exclusive, make_folder, publish, storage_errors, temporary_name, write_atomically
from activations.hooks import canonical_site
from activations.plain_files import Array, NpyFiles, SafetensorsFiles, WrittenFile
from activations.room import require_room
from activations.shard import TOKEN_COLUMNS, checksum
from activations.store import ActivationStore, RoleSpec, as_roles
from activations.studies_files import FILE_NAME, read_records
from radiology.errors import InputError

FORMAT, VERSION = "activation-export", 1
NOTE, LOCK = "export.json", ".export.lock"
FORMS = ("safetensors", "npy")
Progress = Callable[[int, int], None]
#: Room for headers and for ``export.json``, a file.
_HEADER_BYTES = 4096


@dataclass(frozen=True)
class ExportPlan:
    """What will be written.

    Attributes:
        to: ``safetensors`` or ``npy``.
        arrays: columns of the rows.
        keep: (rows of the store,) bool, those that are written.
        shards: name and rows to be written of every shard.
        settings: what ``export.json`` says from the beginning on; another call goes on only if it is the same.
    """

    directory: Path
    to: str
    arrays: tuple[Array, ...]
    keep: np.ndarray
    shards: tuple[tuple[str, int], ...]
    settings: dict[str, Any]

    @property
    def rows(self) -> int:
        return int(self.keep.sum())

    @property
    def bytes(self) -> int:
        """Of all files, about."""
        files = len(self.arrays) if self.to == "npy" else len(self.shards)
        table = (self.directory.parent / FILE_NAME).stat().st_size
        return self.rows * sum(array.row_bytes for array in self.arrays) + files * _HEADER_BYTES + table


def plan(
    directory: Path,
    to: str,
    *,
    sites: Sequence[str] = (),
    roles: RoleSpec | None = None,
    float32: bool = False,
    with_credentialed_data: bool = False,
) -> ExportPlan:
    """Look at the store that is to be exported; nothing is written. 2 bytes a row in memory.

    Args:
        to: one of :data:`FORMS`.
        sites: sites or aliases; all unless named.
        roles: roles or presets whose rows are written; all unless named.
        float32: widen the rows, without loss, for readers that know no bfloat16.
        with_credentialed_data: write studies whose source is ``credentialed``, too.

    Raises:
        InputError: the store is incomplete, has no such site or rows, or holds credentialed studies.
    """
    if to not in FORMS:
        raise InputError(f"to: {to!r} is not one of {', '.join(FORMS)}")
    with closing(ActivationStore(directory)) as store:
        manifest, config = store.manifest, store.manifest.config
        chosen = list(dict.fromkeys(canonical_site(site) for site in sites)) or list(store.sites)
        widths = {site: store.width(site) for site in chosen}
        keep = store.select(roles=roles)
    if not with_credentialed_data:
        _refuse_credentialed(directory)
    dtype = "float32" if float32 else config.dtype
    arrays = [Array(f"sites/{site}", dtype, width) for site, width in widths.items()]
    arrays += [Array(f"norms/{site}", "float32") for site in chosen]
    arrays += [Array(f"tokens/{name}", kind.name) for name, kind in TOKEN_COLUMNS.items()]
    ends = np.cumsum([0, *(shard.rows for shard in manifest.shards)])
    kept = [int(keep[a:b].sum()) for a, b in pairwise(ends)]
    names = [Path(shard.file).stem for shard in manifest.shards]
    settings = {
        "format": FORMAT,
        "version": VERSION,
        "to": to,
        "model": manifest.to_json()["model"],
        "mode": config.mode,
        "roles": [role.name.lower() for role in config.roles if roles is None or role in as_roles(roles)],
        "arrays": [array.to_json() for array in arrays],
        "studies": manifest.n_studies,
        "rows": int(keep.sum()),
        "store": store_digest(directory, manifest),
    }
    return ExportPlan(directory, to, tuple(arrays), keep, tuple(zip(names, kept, strict=True)), settings)


def _refuse_credentialed(directory: Path) -> None:
    terms = [record["terms"] for record in read_records(directory.parent / FILE_NAME, ["terms"])]
    if count := terms.count("credentialed"):
        raise InputError(
            f"{directory}: {count} of {len(terms)} studies are credentialed, and an export may leave the machine. "
            "If it is to stay where their terms allow it, say --with-credentialed-data"
        )


def export(plan: ExportPlan, out: Path, progress: Progress = lambda done, total: None) -> bool:
    """Write what is planned into ``out``; False if it was there already.

    In memory are the mask of the plan, and the token columns and some blocks of one shard. Every shard is compared
    with its checksum before it is read.

    Args:
        out: a new or empty folder, or one in which this very export was begun.
        progress: called with rows written and rows in all.

    Raises:
        InputError: something else is in ``out``, another process writes it, the disk has too little room, or the store
            is damaged.
        OSError: the disk refuses; finished shards stay and the same call goes on.
    """
    begun = _begun(plan, out)
    if begun is not None and begun["complete"]:
        _require_files(out, begun["files"])
        (out / LOCK).unlink(missing_ok=True)  # of a process that was killed after its last word
        return False
    done = 0 if begun is None else int(begun["shards_done"])
    left = sum(rows for _, rows in plan.shards[done:])
    require_room(out, round(plan.bytes * left / plan.rows), f"the export of {left:,} rows")
    with storage_errors(out):
        make_folder(out)
    with exclusive(out / LOCK, wait=False) as alone:
        if not alone:
            raise InputError(f"{out}: another process is writing this export; wait for it or end it first")
        if _begun(plan, out) is None:
            _note(plan, out, [], 0)
        _write(plan, out, progress)
        with storage_errors(out):
            (out / LOCK).unlink(missing_ok=True)
    return True


def _write(plan: ExportPlan, out: Path, progress: Progress) -> None:
    begun = json.loads((out / NOTE).read_text(encoding="utf-8"))
    files, done = [WrittenFile(**file) for file in begun["files"]], int(begun["shards_done"])
    first = sum(rows for _, rows in plan.shards[:done])
    progress(first, plan.rows)
    with ActivationStore(plan.directory) as store, closing(_Source(plan, store)) as source:
        target: SafetensorsFiles | NpyFiles
        if plan.to == "npy":
            target = NpyFiles(out, plan.arrays, plan.rows, done=first)
        else:
            about = {"format": FORMAT, "model": plan.settings["model"]["fingerprint"]}
            target = SafetensorsFiles(out, plan.arrays, files, about)
        with closing(target):
            for number, (name, rows) in list(enumerate(plan.shards))[done:]:
                target.put(name, first, rows, source.of_shard(number))
                first += rows
                _note(plan, out, getattr(target, "files", []), number + 1)
                progress(first, plan.rows)
            files = target.finish()
    _copy_studies(plan.directory.parent / FILE_NAME, out / FILE_NAME)
    files.append(_record(out / FILE_NAME, plan.settings["studies"]))
    _note(plan, out, files, len(plan.shards), complete=True)


class _Source:
    """The rows of a store that a plan keeps, shard by shard."""

    def __init__(self, plan: ExportPlan, store: ActivationStore) -> None:
        self._keep, self._store = plan.keep, store
        self._shards = SoundShards(store.directory, store.manifest)
        self._starts = np.cumsum([0, *(shard.rows for shard in store.manifest.shards)])

    def close(self) -> None:
        self._shards.close()

    def of_shard(self, number: int) -> Callable[[Array], Iterator[np.ndarray]]:
        """Blocks of any array of that shard; InputError if the shard is damaged."""
        self._shards.require_sound(number)
        start, stop = int(self._starts[number]), int(self._starts[number + 1])
        return lambda array: self._blocks(number, start, stop, array)

    def _blocks(self, number: int, start: int, stop: int, array: Array) -> Iterator[np.ndarray]:
        if not array.name.startswith("sites/"):
            yield self._shards.column(number, array.name)[self._keep[start:stop]]
            return
        site, own = array.name.removeprefix("sites/"), self._store.dtype
        step = block_rows(self._store.width(site), own)
        for first in range(start, stop, step):
            last = min(first + step, stop)
            kept_nd = self._store.stored(site, first, last)[self._keep[first:last]]
            yield kept_nd if array.dtype == own else decode(kept_nd, own).numpy()


def _begun(plan: ExportPlan, out: Path) -> dict[str, Any] | None:
    """``export.json`` of this very export; None if ``out`` is empty; InputError if it is something else."""
    note = out / NOTE
    if not note.exists():
        ours = (LOCK, temporary_name(note).name)  # of a process that was killed before it wrote anything
        if out.exists() and (not out.is_dir() or any(path.name not in ours for path in out.iterdir())):
            raise InputError(f"{out}: there is something already, of no export; choose a new or an empty folder")
        return None
    try:
        begun = json.loads(note.read_text(encoding="utf-8"))
        same = {name: begun[name] for name in plan.settings} == plan.settings
        _ = begun["complete"], begun["shards_done"], [WrittenFile(**file) for file in begun["files"]]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{note} is damaged ({type(error).__name__}); remove {out} and export anew") from error
    if not same:
        raise InputError(
            f"{out} was begun as another export, or its store has changed since; ask for the same, choose another "
            f"folder, or remove {out} to begin anew"
        )
    return dict(begun)


def _require_files(out: Path, files: Sequence[dict[str, Any]]) -> None:
    for file in files:
        path = out / file["file"]
        if not path.is_file() or path.stat().st_size != file["bytes"]:
            raise InputError(f"{path}: this file of the export is gone or cut off; remove {out} and export anew")


def _note(plan: ExportPlan, out: Path, files: Sequence[WrittenFile], done: int, complete: bool = False) -> None:
    content = {**plan.settings, "complete": complete, "shards_done": done, "files": [asdict(file) for file in files]}
    write_atomically(out / NOTE, (json.dumps(content, indent=1) + "\n").encode())


def _copy_studies(source: Path, target: Path) -> None:
    with storage_errors(target):
        shutil.copyfile(source, temporary_name(target))
        publish(temporary_name(target), target)


def _record(path: Path, rows: int) -> WrittenFile:
    return WrittenFile(path.name, rows, path.stat().st_size, checksum(path))
