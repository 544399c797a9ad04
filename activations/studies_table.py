"""The study index of a run: one row of ``studies.parquet`` per cached study, and what the rooms ask of it."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from PIL import Image

from activations.manifest import open_manifest
from activations.roles import IMAGE_NAMES
from activations.studies_files import FILE_NAME, LARGE, SCHEMA, TEXT_SECTIONS, open_table, part_records, read_records
from radiology.errors import InputError
from radiology.masks import decode_mask

if TYPE_CHECKING:
    from radiology.study import GroundedSentence, Study

#: Shares of patients in each split where the source names none.
SPLITS = (("train", 0.8), ("validate", 0.1), ("test", 0.1))
_JSON_COLUMNS = ("labels", "grounded", "metadata", "structured", "crops")
_LABEL_VALUES = {"present": 1.0, "absent": 0.0, "uncertain": np.nan}


def patient_share(patient_id: str, salt: str = "") -> float:
    """A number in [0, 1) that depends on nothing but the patient and ``salt``."""
    digest = hashlib.sha256(f"{salt}\0{patient_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def split_of(study: Study) -> str:
    """The split that the source names in its metadata, otherwise one by patient (80 / 10 / 10)."""
    named = (study.metadata or {}).get("split")
    if named is not None:
        return str(named)
    share, upper = patient_share(study.patient_id, "split"), 0.0
    for name, part in SPLITS:
        upper += part
        if share < upper:
            return name
    return SPLITS[-1][0]


def base_record(study: Study, number: int, source: str | None) -> dict[str, Any]:
    """The columns of ``studies.parquet`` that come from the study alone, without pixels."""
    sections = {name: getattr(study, name) for name in TEXT_SECTIONS}
    grounded = None if study.grounded is None else [_sentence(sentence) for sentence in study.grounded]
    structured = None if study.structured is None else [row.to_row() for row in study.structured]
    return {
        "study": number,
        "study_id": study.study_id,
        "patient_id": study.patient_id,
        "source": source,
        "terms": study.terms,
        "split": split_of(study),
        **sections,
        "reference_report": study.report,
        "labels": _json(study, "labels", study.labels),
        "grounded": _json(study, "grounded", grounded),
        "metadata": _json(study, "metadata", study.metadata),
        "structured": _json(study, "structured", structured),
    }


def _sentence(sentence: GroundedSentence) -> dict[str, Any]:
    """Text, boxes and label, and of the rest what the source gave."""
    values = dataclasses.asdict(sentence)
    always = ("text", "boxes", "label")
    return {name: value for name, value in values.items() if name in always or value not in (None, (), [])}


def _json(study: Study, field: str, value: Any) -> str | None:
    if value is None:
        return None
    try:
        return json.dumps(value, default=_plain, ensure_ascii=False)
    except TypeError as error:
        raise InputError(f"study {study.study_id!r}: {field} cannot be written as JSON ({error})") from error


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Path) or hasattr(value, "isoformat"):
        return str(value)
    raise TypeError(f"a {type(value).__name__} has no JSON form")


class StudyIndex:
    """The studies of a run, in the order of their numbers.

    Attributes:
        frame: one row a study, indexed by study number; what is stored as JSON (``labels``, ``grounded``,
            ``metadata``, ``structured``, ``crops``) is decoded (None where the source has none), previews and masks
            are left out (see :meth:`preview` and :meth:`masks`). In a complete store row i is study i.
    """

    def __init__(self, frame: pd.DataFrame, path: Path | None = None) -> None:
        self.frame = frame
        self._path = path
        self._group = lru_cache(maxsize=8)(self._read_group)

    @staticmethod
    def read(run_dir: str | Path, *, allow_incomplete: bool = False) -> StudyIndex:
        """Read ``studies.parquet`` of a run directory.

        Args:
            allow_incomplete: while the store is being written, read the studies of its finished shards (no previews).

        Raises:
            InputError: there is no study index, or the store is not complete.
        """
        path = Path(run_dir) / FILE_NAME
        columns = [name for name in SCHEMA.names if name not in LARGE]
        if path.is_file() or not allow_incomplete:
            return StudyIndex(_decoded(list(read_records(path, columns)), columns), path)
        directory = Path(run_dir) / "activations"
        manifest = open_manifest(directory, allow_incomplete=True)
        records = [
            record
            for writer in range(manifest.config.writers)
            for record in part_records(directory, manifest, writer, columns)
        ]
        return StudyIndex(_decoded(sorted(records, key=lambda record: record["study"]), columns))

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def terms(self) -> frozenset[str]:
        """Terms of all sources, for exports that must refuse ``credentialed`` ones."""
        return frozenset(self.frame["terms"])

    @property
    def keys(self) -> tuple[str, ...]:
        """Every label that some study has, sorted."""
        return tuple(sorted({key for labels in self.frame["labels"] for key in labels or ()}))

    def label_matrix(self, keys: Sequence[str] | None = None) -> np.ndarray:
        """(studies, keys) float32: 1 present, 0 absent, NaN uncertain or not labelled.

        Args:
            keys: labels for the columns; all of :attr:`keys` unless given.

        Raises:
            InputError: a key that no study has.
        """
        known = self.keys
        chosen = known if keys is None else tuple(keys)
        unknown = [key for key in chosen if key not in known]
        if unknown:
            raise InputError(f"labels: no study has {', '.join(unknown)}; there are {', '.join(known) or 'none'}")
        matrix = np.full((len(self), len(chosen)), np.nan, dtype=np.float32)
        for row, labels in enumerate(self.frame["labels"]):
            for column, key in enumerate(chosen):
                if labels and key in labels:
                    matrix[row, column] = _LABEL_VALUES[labels[key]]
        return matrix

    def halves(self, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Two bool masks over studies, (select, report): what is chosen on one is reported on the other.

        Split by patient through a hash, so that it does not depend on which other studies there are.
        """
        select = np.array([patient_share(p, f"half {seed}") < 0.5 for p in self.frame["patient_id"]], dtype=bool)
        return select, ~select

    def preview_png(self, study: int, image: str) -> bytes | None:
        """PNG bytes of the crop of an image that the encoder saw; None if the study has no such image."""
        if image not in IMAGE_NAMES:
            raise InputError(f"image: {image!r} is not one of {list(IMAGE_NAMES)}")
        picture: bytes | None = self._large(study, f"preview_{image}")
        return picture

    def preview(self, study: int, image: str) -> np.ndarray | None:
        """The crop as (size, size) uint8 grey; patch (r, c) covers the r-th and c-th of equal parts of it."""
        png = self.preview_png(study, image)
        return None if png is None else np.asarray(Image.open(io.BytesIO(png)).convert("L"))

    def masks(self, study: int) -> dict[str, dict[str, np.ndarray]]:
        """Image → finding → (size, size) bool of the pixels of its preview that show it; empty if none are known."""
        text: str | None = self._large(study, "masks")
        images = {} if text is None else json.loads(text)
        return {image: {key: decode_mask(one) for key, one in found.items()} for image, found in images.items()}

    def _large(self, study: int, column: str) -> Any:
        if self._path is None:
            raise InputError(
                "previews and masks are read once the store is complete; run the same `interp cache` command again"
            )
        group, offset = self._place(study)
        return self._group(group, column)[offset]

    def _place(self, study: int) -> tuple[int, int]:
        row = int(self.frame.index.get_indexer([study])[0])
        if row < 0:
            raise InputError(
                f"study {study}: the index has studies {self.frame.index.min()} … {self.frame.index.max()}"
            )
        ends = self._group_ends()
        group = int(np.searchsorted(ends, row, side="right"))
        return group, row - (int(ends[group - 1]) if group else 0)

    def _group_ends(self) -> np.ndarray:
        sizes = self._group(-1, "")
        return np.cumsum(sizes)

    def _read_group(self, group: int, column: str) -> list[Any]:
        """One column of one row group; group −1 gives the numbers of rows of all groups."""
        assert self._path is not None
        with open_table(self._path) as file:
            if group < 0:
                return [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
            table = file.read_row_group(group, columns=[column])
            if not table.num_columns:  # written before there was such a column
                return [None] * file.metadata.row_group(group).num_rows
            values: list[Any] = table.column(0).to_pylist()
            return values


def _decoded(records: list[dict[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    data: dict[str, Any] = {name: [record.get(name) for record in records] for name in columns}
    for name in _JSON_COLUMNS:
        data[name] = [None if text is None else json.loads(text) for text in data[name]]
    frame = pd.DataFrame({name: pd.Series(values, dtype=_dtype(name)) for name, values in data.items()})
    return frame.set_index("study", drop=False).rename_axis(None)


def _dtype(column: str) -> str:
    return "int64" if column in ("study", "rows") else "object"
