"""Pictures of LUNGUAGE studies in a MIMIC-CXR tree (``files/pXX/pPATIENT/sSTUDY/*``), and what its tables say."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radiology.errors import InputError
from radiology.sources.base import Skipped
from radiology.sources.mimic_cxr.entries import ImageEntry
from radiology.sources.mimic_cxr.tables import read_metadata, read_splits
from radiology.sources.mimic_cxr.tree import image_files, open_tree, table_name


@dataclass(frozen=True)
class Pictures:
    """Images of a study by name, and the metadata that go with them."""

    images: dict[str, Path]
    metadata: dict[str, Any]


class MimicPictures:
    """The pictures below ``root`` of the studies with these numbers; ``problems`` are useless rows of its tables.

    Raises InputError if ``root`` is no MIMIC-CXR tree, or lacks the table that says which picture is the frontal one.
    """

    def __init__(self, root: Path, studies: Collection[int]) -> None:
        self._tree = open_tree(root)
        self.problems: list[Skipped] = []
        if "metadata" not in self._tree.tables:
            name = table_name("metadata")
            raise InputError(f"MIMIC-CXR {root}: has no {name}, which says which picture is the frontal one")
        every = read_metadata(self._tree.tables["metadata"], self.problems)
        self._entries = {entry.study: entry for entry in every if entry.study in studies}
        splits = self._tree.tables.get("split")
        self._splits = {} if splits is None else read_splits(splits, self.problems)

    def find(self, patient: int, study: int) -> Pictures | str:
        """The first PA or AP picture and the first lateral one that are there; else why there is none."""
        entry = self._entries.get(study)
        if entry is None:
            return f"{self._tree.tables['metadata'].name} has no such study"
        files = image_files(self._tree.study(patient, study))
        frontal, lateral = _first(entry.frontals, files), _first(entry.laterals, files)
        if frontal is None:
            return f"there is no PA or AP picture of the study below {self._tree.files}"
        metadata = {"view": frontal.view, "split": self._splits.get(patient), "study_time": entry.study_time}
        chosen = {"frontal": frontal, "lateral": lateral}
        return Pictures(
            {name: files[image.dicom_id] for name, image in chosen.items() if image is not None},
            {name: value for name, value in metadata.items() if value is not None},
        )


def _first(images: list[ImageEntry], files: dict[str, Path]) -> ImageEntry | None:
    return next((image for image in images if image.dicom_id in files), None)
