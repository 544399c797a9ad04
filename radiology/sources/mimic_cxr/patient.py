"""What lies in the folder of one patient of MIMIC-CXR: image files and reports, each looked for once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from radiology.errors import InputError
from radiology.sections import Sections, read_sections
from radiology.sources.base import Skipped
from radiology.sources.mimic_cxr.catalogue import Catalogue
from radiology.sources.mimic_cxr.entries import ImageEntry, StudyEntry
from radiology.sources.mimic_cxr.images import read_header
from radiology.sources.mimic_cxr.tree import image_files


class PatientFiles:
    """Files of one patient; a study is asked for again by those that have it as their prior.

    ``tell`` takes note of what is missing or cannot be read.
    """

    def __init__(self, catalogue: Catalogue, tell: Callable[[Skipped], None]) -> None:
        self._catalogue, self._tell = catalogue, tell
        self._files: dict[int, dict[str, Path]] = {}
        self._sections: dict[int, tuple[Sections, str | None]] = {}

    def folder(self, entry: StudyEntry) -> Path:
        return self._catalogue.tree.study(entry.patient, entry.study)

    def present(self, entry: StudyEntry, images: Iterable[ImageEntry]) -> list[tuple[ImageEntry, Path]]:
        """Those of ``images`` that are there, in their order; nobody has looked into the files."""
        if entry.study not in self._files:
            self._files[entry.study] = image_files(self.folder(entry))
        files = self._files[entry.study]
        return [(image, files[image.dicom_id]) for image in images if image.dicom_id in files]

    def tell_missing(self, entry: StudyEntry) -> None:
        """Take note of every image of a study that is not there."""
        there = {image.dicom_id for image, _ in self.present(entry, entry.images)}
        for image in entry.images:
            if image.dicom_id not in there:
                reason = f"there is no such image in {self.folder(entry)}"
                self._tell(Skipped(self._catalogue.source, image.row, "dicom_id", reason))

    def sections(self, entry: StudyEntry) -> tuple[Sections, str | None]:
        """The report by sections, and why there is none (then all sections are None)."""
        if entry.study not in self._sections:
            self._sections[entry.study] = self._read_report(entry)
        return self._sections[entry.study]

    def with_headers(self, entry: StudyEntry) -> StudyEntry | None:
        """The study with views, date and time of its DICOM headers; None if none of its images has one."""
        images: list[ImageEntry] = []
        dated = entry
        for image, path in self.present(entry, entry.images):
            try:
                view, date, time = read_header(path)
            except InputError as error:
                self._tell(Skipped(path, None, None, str(error)))
                continue
            images.append(replace(image, view=view))
            moment = replace(dated, date=date, time=time)
            if date is not None and (dated.date is None or moment.is_before(dated)):
                dated = moment
        return replace(dated, images=tuple(images)) if images else None

    def _read_report(self, entry: StudyEntry) -> tuple[Sections, str | None]:
        reports = self._catalogue.reports
        if reports is None:
            return Sections(), None
        try:
            return read_sections(reports.read(entry)), None
        except InputError as error:
            return Sections(), str(error)
