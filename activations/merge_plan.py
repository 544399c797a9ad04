"""What joining stores would come to: looked at as a whole before anything is copied (:mod:`activations.merge`)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from activations.copying import store_digest
from activations.manifest import Manifest, StoreConfig, open_manifest
from activations.studies_files import FILE_NAME, read_records
from radiology.errors import InputError

#: Beside the merged ``studies.parquet``: which stores it was joined from.
NOTE = "merge.json"
FORMAT, VERSION = "activation-store-merge", 1


@dataclass(frozen=True)
class Duplicate:
    """A study that is left out, since an input before has one of the same id."""

    study: int
    study_id: str
    source: str | None
    first: Path


@dataclass(frozen=True)
class Part:
    """One input: its store, what of it is left out, and how much of it is copied."""

    directory: Path
    manifest: Manifest
    left_out: tuple[Duplicate, ...]
    rows: int

    @property
    def studies(self) -> int:
        return self.manifest.n_studies - len(self.left_out)

    def note(self) -> dict[str, Any]:
        """For ``merge.json``."""
        return {
            "store": str(self.directory.absolute()),
            "model": self.manifest.config.model_name,
            "digest": store_digest(self.directory, self.manifest),
            "studies": self.studies,
            "rows": self.rows,
            "left_out": [duplicate.study for duplicate in self.left_out],
        }


@dataclass(frozen=True)
class MergePlan:
    """What will be joined: ``parts`` in their order, the configuration of the result, the sources of its studies."""

    parts: tuple[Part, ...]
    config: StoreConfig
    sources: tuple[str, ...]

    @property
    def studies(self) -> int:
        return sum(part.studies for part in self.parts)

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts)

    def note(self) -> dict[str, Any]:
        """The content of ``merge.json``."""
        return {"format": FORMAT, "version": VERSION, "inputs": [part.note() for part in self.parts]}

    def require_place(self, out: Path) -> bool:
        """Whether ``out`` holds this very merge, begun or done; InputError if it holds another store or merge."""
        note = out / NOTE
        if not note.exists():
            for name in ("activations", FILE_NAME):
                if (out / name).exists():
                    raise InputError(f"{out}: there is {name} already, of no merge; choose a new or an empty folder")
            return False
        try:
            begun = json.loads(note.read_text(encoding="utf-8"))["inputs"]
            there = [(part["digest"], part["left_out"]) for part in begun]
            stores = ", ".join(part["store"] for part in begun)
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{note} is damaged ({type(error).__name__}); remove {out} and merge anew") from error
        if there != [(part["digest"], part["left_out"]) for part in self.note()["inputs"]]:
            raise InputError(
                f"{out} was begun as a merge of other stores, or they have changed since ({stores}); "
                f"give the same, choose another folder, or remove {out} to begin anew"
            )
        return True


def plan(inputs: Sequence[Path], *, skip_duplicates: bool = False) -> MergePlan:
    """Look at the stores that are to be joined; nothing is written.

    In memory are the ids of all their studies.

    Args:
        inputs: folders with ``manifest.json``, in the order in which their studies shall come.
        skip_duplicates: of studies with the same id keep the first; otherwise they are an error, since a study that
            is there twice may be learnt from and tested on.

    Raises:
        InputError: no inputs, the same twice, an incomplete one, stores that differ in what they hold of which model,
            a study id that comes twice, or patients whose split differs from input to input.
    """
    if not inputs:
        raise InputError("merge: no stores given; name at least one")
    resolved = [directory.resolve() for directory in inputs]
    for number, directory in enumerate(resolved):
        if directory in resolved[:number]:
            raise InputError(f"{inputs[number]} is given twice; name each store once")
    manifests = [open_manifest(directory, allow_incomplete=False) for directory in inputs]
    for directory, manifest in zip(inputs[1:], manifests[1:], strict=True):
        _require_alike(inputs[0], manifests[0].config, directory, manifest.config)
    scan = _Scan(skip_duplicates)
    parts = [scan.part(directory, manifest) for directory, manifest in zip(inputs, manifests, strict=True)]
    scan.require_one_split_a_patient()
    return MergePlan(tuple(parts), replace(manifests[0].config, writers=1), tuple(scan.sources))


def _require_alike(one: Path, ours: StoreConfig, other: Path, theirs: StoreConfig) -> None:
    """The number of writers may differ, and the name of the model, since paths differ between machines."""
    first, second = ({**config.compared(), "grid": config.grid} for config in (ours, theirs))
    for name in first:
        if name != "writers" and first[name] != second[name]:
            raise InputError(
                f"{name} differs: {one / 'manifest.json'} has {first[name]!r}, {other / 'manifest.json'} has "
                f"{second[name]!r}. Only stores that hold the same of the same model can be merged"
            )


class _Scan:
    """Goes through the study tables of all inputs, one after the other."""

    def __init__(self, skip_duplicates: bool) -> None:
        self.sources: dict[str, None] = {}
        self._skip = skip_duplicates
        self._seen: dict[str, Path] = {}
        self._splits: dict[str, tuple[str, Path, int]] = {}
        self._conflicts: dict[str, str] = {}

    def part(self, directory: Path, manifest: Manifest) -> Part:
        """Take in one input; InputError if a study of it is there already, unless those are skipped."""
        columns = ["study", "study_id", "patient_id", "split", "source", "rows"]
        left_out, kept, total, count = [], 0, 0, 0
        for record in read_records(directory.parent / FILE_NAME, columns):
            first = self._seen.get(record["study_id"])
            if record["study"] != count or first == directory:
                raise _damaged(directory)
            count, total = count + 1, total + record["rows"]
            if first is not None:
                left_out.append(self._duplicate(record, first, directory))
                continue
            self._seen[record["study_id"]] = directory
            kept += record["rows"]
            self._patient(record, directory)
            if record["source"] is not None:
                self.sources[record["source"]] = None
        if count != manifest.n_studies or total != manifest.rows:
            raise _damaged(directory)
        return Part(directory, manifest, tuple(left_out), kept)

    def _duplicate(self, record: dict[str, Any], first: Path, directory: Path) -> Duplicate:
        if not self._skip:
            raise InputError(
                f"study_id {record['study_id']!r} is in both {first} and {directory}: merged, the study could be "
                "learnt from and tested on. Add --skip-duplicates to keep the first of each"
            )
        return Duplicate(record["study"], record["study_id"], record["source"], first)

    def _patient(self, record: dict[str, Any], directory: Path) -> None:
        split, store, study = self._splits.setdefault(
            record["patient_id"], (record["split"], directory, record["study"])
        )
        if split != record["split"] and store != directory:
            where = f"study {study} of {store} is in {split!r}, study {record['study']} of {directory} in"
            self._conflicts.setdefault(record["patient_id"], f"{where} {record['split']!r}")

    def require_one_split_a_patient(self) -> None:
        """Splits are by patient: one who is in two of them would be learnt from and tested on."""
        if self._conflicts:
            count = len(self._conflicts)
            raise InputError(
                f"split: {count} patient{' is' if count == 1 else 's are'} in different splits of the inputs; the "
                f"first: {next(iter(self._conflicts.values()))}. Cache them from sources that split patients alike"
            )


def _damaged(directory: Path) -> InputError:
    return InputError(
        f"{directory.parent / FILE_NAME}: its studies are not those of the shards; "
        f"`interp store verify --run {directory}` lists the damage"
    )
