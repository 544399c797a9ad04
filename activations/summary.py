"""What a store holds once it is written, in the few numbers that are told and kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from activations import studies_files
from activations.manifest import StoreConfig
from activations.passes import GENERATED
from activations.store import ActivationStore
from radiology.errors import InputError


@dataclass(frozen=True)
class StoreSummary:
    """What a call that wrote a store left behind.

    Attributes:
        studies, rows, bytes: of the whole store.
        rows_by_role: role name → rows; a wanted role that no token had is there with 0.
        studies_without_rows: studies of which no token had a wanted role.
        generated_reports: studies whose report the model wrote, since the source has none or in mode ``generate``.
        written_now: studies that this call added; the others were there.
        complete: False while other writers are at work.
        waited: seconds in which whoever gave the rows stood still because the disk did not keep up.
    """

    directory: Path
    studies: int
    rows: int
    bytes: int
    rows_by_role: Mapping[str, int]
    studies_without_rows: int
    generated_reports: int
    written_now: int
    complete: bool
    waited: float


def summarize(directory: Path, *, written_now: int, waited: float) -> StoreSummary:
    """Count through a store, complete or not; 1 byte a row in memory.

    Raises:
        InputError: it is complete and has no row.
    """
    with ActivationStore(directory, allow_incomplete=True) as store:
        roles, manifest, rows = store.column("role"), store.manifest, store.rows
        by_role = {role.name.lower(): int((roles == int(role)).sum()) for role in manifest.config.roles}
    without = generated = 0
    for record in studies_files.all_records(directory, manifest, ("rows", "report_source")):
        without += record["rows"] == 0
        generated += record["report_source"] == GENERATED
    require_rows(rows, manifest.complete, directory, manifest.config)
    size = sum(shard.bytes for shard in manifest.shards)
    return StoreSummary(
        directory,
        manifest.n_studies,
        rows,
        size,
        by_role,
        without,
        generated,
        written_now,
        manifest.complete,
        waited,
    )


def require_rows(rows: int, known: bool, directory: Path, config: StoreConfig) -> None:
    """Raise InputError if it is known that a store has no rows."""
    if known and not rows:
        wanted = ", ".join(role.name.lower() for role in config.roles)
        raise InputError(f"roles: no token of any study has one of the roles {wanted}; ask for others ({directory})")
