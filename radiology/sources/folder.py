"""``folder:PATH``: a folder of images, with or without a ``studies.csv`` and masks.

Without a table every image is a study of its own patient. With ``studies.csv`` in the folder, or beside the folder that
is named, its rows are the studies; ``radiology/sources/table.py`` says which columns there are. Masks lie in ``masks/``
(:mod:`radiology.sources.mask_files`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import numpy as np

from radiology.errors import InputError
from radiology.images import find_images, image_name
from radiology.paths import shown
from radiology.sources.base import Skipped, StudySource, safe_id
from radiology.sources.mask_files import MaskedStudy, Masks, is_mask, masks_below, read_mask
from radiology.sources.table import StudyRow, StudyTable, read_table
from radiology.study import IMAGE_NAMES, Study

TABLE_NAME = "studies.csv"
_STRAY = "lies among the masks and is of no study here; masks lie in masks/STUDY_ID/ or masks/STUDY_ID/IMAGE/"


class FolderSource(StudySource):
    """Studies of a folder, in the order of the table, or of the names of the images.

    ``ignored_columns`` are the columns of the table that mean nothing here.
    """

    def __init__(
        self,
        spec: str,
        folder: Path,
        images: list[Path],
        masks: list[Path],
        table: StudyTable | None,
        strict: bool,
    ) -> None:
        super().__init__(spec, "own", strict)
        self.folder = folder
        self.ignored_columns: tuple[str, ...] = table.ignored_columns if table else ()
        self._images = images
        self._table = table
        self._table_path = table.path if table else None
        self._by_name = _by_name(images)
        self._masks = masks

    def __len__(self) -> int:
        return len(self._images) if self._table is None else len(self._table.rows)

    def _studies(self) -> Iterator[Study]:
        used: set[Path] = set()
        for study in self._bare_studies() if self._table is None else self._table_studies(self._table):
            masks = masks_below(self.folder, study.study_id) if self._masks else {}
            used.update(file for files in masks.values() for file in files.values())
            yield _with_masks(study, masks) if masks else study
        for path in self._masks:
            if path not in used:
                self.skipped.append(Skipped(path, None, None, _STRAY))

    def _bare_studies(self) -> Iterator[Study]:
        for path in self._images:
            if self._can_be_read(path, None, None):
                name = self._name_of(path)
                yield Study(study_id=name, patient_id=name, images={"frontal": path}, terms="own")

    def _table_studies(self, table: StudyTable) -> Iterator[Study]:
        for problem in table.problems:
            self._skip(table.path, problem.row, problem.field, problem.reason)
        used: set[Path] = set()
        ids: set[str] = set()
        for row in table.rows:
            images = self._images_of_row(table, row)
            if images is None:
                continue
            used.update(path.resolve() for path in images.values())
            study_id = safe_id(row.study_id) if row.study_id else self._name_of(images["frontal"])
            if study_id in ids:
                column = "study_id" if row.study_id else row.image_columns["frontal"]
                self._skip(table.path, row.line, column, "the same study stands in an earlier line")
                continue
            ids.add(study_id)
            columns = row.image_columns
            if all(self._can_be_read(path, row.line, columns[name]) for name, path in images.items()):
                yield _study(row, study_id, images)
        for path in self._images:  # an image too many is worth a note but spoils nothing: no error when strict
            if path.resolve() not in used:
                self.skipped.append(Skipped(path, None, None, f"is not named in {table.path.name}"))

    def decoded(self, study: Study) -> Study | None:
        """As of every source; a mask that cannot be read, or is not of its image, is left out and noted."""
        found = super().decoded(study)
        if not isinstance(found, MaskedStudy):
            return found
        kept: dict[str, dict[str, Path | np.ndarray]] = {}
        for name, files in found.masks.items():
            for finding, file in files.items():
                mask = self._mask(file, found, name) if isinstance(file, Path) else file
                if mask is not None:
                    kept.setdefault(name, {})[finding] = mask
        return replace(found, masks=kept)

    def _mask(self, file: Path, study: Study, image: str) -> np.ndarray | None:
        try:
            if image not in study.images:
                raise InputError(f"the study has no image {image!r}")
            mask, of = read_mask(file), study.pixels(image).shape
            if mask.shape != of:
                raise InputError(f"is {mask.shape[1]} × {mask.shape[0]} pixels, its image {of[1]} × {of[0]}")
        except InputError as error:  # the study is as good without it: a note, and no error when strict
            self.skipped.append(Skipped(file, None, None, str(error).removeprefix(f"image {shown(file)}: ")))
            return None
        return mask

    def _name_of(self, path: Path) -> str:
        """Id from the name of the image; from its path in the folder where several have the same name."""
        name = image_name(path)
        if len(self._by_name.get(name, ())) <= 1:
            return safe_id(name)
        inside = path.relative_to(self.folder) if path.is_relative_to(self.folder) else path
        return safe_id(inside.as_posix())

    def _images_of_row(self, table: StudyTable, row: StudyRow) -> dict[str, Path] | None:
        images: dict[str, Path] = {}
        for name in IMAGE_NAMES:
            if name not in row.images:
                continue
            path, problem = self._find(row.images[name], table.path.parent)
            if path is None:
                self._skip(table.path, row.line, row.image_columns[name], problem)
                return None
            images[name] = path
        return images

    def _find(self, named: str, beside: Path) -> tuple[Path | None, str]:
        """The image that a cell names, by its path from the folder or the table, or by its name without suffix."""
        for base in (self.folder, beside):
            if _is_file(base / named):
                return base / named, ""
        found = self._by_name.get(named, [])
        if len(found) == 1:
            return found[0], ""
        if found:
            return None, f"{len(found)} images have this name; give the path of one of them"
        return None, f"no such image below {shown(self.folder)}"


def open_source(arguments: str, *, strict: bool) -> FolderSource:
    """Open a folder; InputError if it does not exist, is a file, or holds no image."""
    try:
        arguments.encode()
    except UnicodeEncodeError:  # the name goes into tables of UTF-8
        raise InputError(f"folder {shown(arguments)}: its name is not UTF-8; rename it or make a link to it") from None
    folder = Path(arguments).expanduser()
    found = find_images(folder)
    images, masks = ([path for path in found if is_mask(path, folder) == wanted] for wanted in (False, True))
    if not images:
        what = "is empty" if not any(folder.iterdir()) else "holds no images that can be read"
        raise InputError(f"folder {shown(folder)}: {what}; it needs PNG, JPEG, TIFF, BMP or DICOM files")
    return FolderSource(f"folder:{arguments}", folder, images, masks, _table_of(folder, images), strict)


def _table_of(folder: Path, images: list[Path]) -> StudyTable | None:
    """The table in the folder; or the one beside it, if that speaks of images of this folder."""
    if (folder / TABLE_NAME).is_file():
        return read_table(folder / TABLE_NAME)
    beside = folder.resolve().parent / TABLE_NAME
    if not beside.is_file():
        return None
    table = read_table(beside)
    here = {image_name(path) for path in images}
    return table if any(image_name(row.images["frontal"]) in here for row in table.rows) else None


def _with_masks(study: Study, masks: Masks) -> MaskedStudy:
    return MaskedStudy(**{one.name: getattr(study, one.name) for one in fields(study)}, masks=masks)


def _study(row: StudyRow, study_id: str, images: dict[str, Path]) -> Study:
    return Study(
        study_id=study_id,
        patient_id=safe_id(row.patient_id) if row.patient_id else study_id,
        images=images,
        terms="own",
        indication=row.texts.get("indication"),
        technique=row.texts.get("technique"),
        comparison=row.texts.get("comparison"),
        prior_report=row.texts.get("prior_report"),
        report=row.texts.get("report"),
        metadata=row.metadata or None,
    )


def _by_name(images: list[Path]) -> dict[str, list[Path]]:
    table: dict[str, list[Path]] = {}
    for path in images:
        table.setdefault(image_name(path), []).append(path)
    return table


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a cell may hold anything: a name that is too long, a folder without permission
        return False
