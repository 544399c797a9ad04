"""What is known before the first residual is read: which rows count, whose they are, and the units they form."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from activations.filters import RoleSpec
from activations.studies_table import StudyIndex
from autointerp.pieces import Pieces
from autointerp.reading import read_findings
from autointerp.reports import findings_of_image
from autointerp.splits import split_of
from autointerp.units import cut_units
from radiology.errors import InputError

if TYPE_CHECKING:
    from activations.models.base import ReportModel
    from activations.store import ActivationStore

_COLUMNS = ("study", "position", "token_id", "role", "image", "row", "col")


class Ground:
    """The rows of a store that are indexed, their studies and patients, and the units of the drawn studies.

    About 50 bytes a row of the store.

    Args:
        run_dir: for the study index.
        model: for its tokenizer and patch grid.
        roles: token roles to index; None for all.
        seed: of the splits and of the draw.
        max_context_studies: units are cut from so many studies at most.

    Attributes:
        kept: (rows,) bool, the rows that are indexed.
        drawn: numbers of the studies that contexts may come from, in the order in which they were drawn.
        study_ids, patient_ids, split: by study number.
        patient_of_study: patient number by study number.

    Raises:
        InputError: the store is empty, no row has the roles, or a study is not in the study index.
    """

    def __init__(
        self,
        run_dir: str | Path,
        store: ActivationStore,
        model: ReportModel,
        roles: RoleSpec | None,
        seed: int,
        max_context_studies: int,
    ) -> None:
        if store.rows == 0:
            raise InputError(f"{store.directory}: the store is empty, there is nothing to index; cache some studies")
        self.store, self._model = store, model
        self.kept = store.select(roles=roles)
        self.tokens: dict[str, np.ndarray] = {name: store.column(name) for name in _COLUMNS}
        self._records = _records(StudyIndex.read(run_dir), self.tokens["study"])
        n_studies = max(self._records) + 1
        self.study_ids, self.patient_ids, self.split = (np.full(n_studies, "", dtype=object) for _ in range(3))
        self.patient_of_study = np.zeros(n_studies, dtype=np.int32)
        number: dict[str, int] = {}
        for study, record in self._records.items():
            patient = str(record["patient_id"])
            self.study_ids[study], self.patient_ids[study] = record["study_id"], patient
            self.patient_of_study[study] = number.setdefault(patient, len(number))
            self.split[study] = split_of(patient, seed).value
        stored = np.unique(self.tokens["study"][self.kept])
        self.drawn = np.random.default_rng(seed).permutation(stored)[:max_context_studies]
        self._cut()

    def _cut(self) -> None:
        tokenizer = self._model.tokenizer
        drawn = np.zeros(len(self.split), dtype=bool)
        drawn[self.drawn] = True
        self.pieces = Pieces(tokenizer, self.tokens["token_id"])
        self.units = cut_units(
            self.tokens,
            self.pieces,
            self.kept & drawn[self.tokens["study"]],
            tokenizer=tokenizer,
            read_sentence=read_findings,
            read_image=lambda study, image: findings_of_image(self._records[study], image),
        )

    @property
    def grid(self) -> tuple[int, int] | None:
        """(rows, columns) of the patch grid; None without image tokens."""
        return self._model.grid if bool((self.tokens["image"] >= 0).any()) else None

    @property
    def nothing_told(self) -> bool:
        """Whether no unit has anything that tells findings: no report, no labels, no sentences."""
        return all(found is None for found in self.units.documents.findings)

    def units_of(self, row_n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Unit of each row (−1 for none), and the place of the row in it."""
        unit_n = self.units.unit_of_row[row_n]
        if len(self.units) == 0:
            return unit_n, np.zeros(len(row_n), dtype=np.int64)
        return unit_n, row_n - self.units.first_row[unit_n]

    def digest(self) -> str:
        """Changes with the rows of the store, with what is kept of them, and with the units."""
        digest = hashlib.blake2b(digest_size=16)
        for shard in self.store.manifest.shards:
            digest.update(f"{shard.file}\0{shard.rows}\0{shard.checksum}\0".encode())
        for array in (self.kept, self.units.first_row, self.units.n_rows, self.patient_of_study):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def _records(studies: StudyIndex, study_column: np.ndarray) -> dict[int, Mapping[str, Any]]:
    """Rows of the study index by study number."""
    records = {int(record["study"]): record for record in studies.frame.to_dict("records")}
    unknown = set(np.unique(study_column).tolist()) - set(records)
    if unknown:
        raise InputError(f"studies.parquet lacks {len(unknown)} studies of the activation store; cache anew")
    return records
