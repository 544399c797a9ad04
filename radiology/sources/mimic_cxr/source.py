"""``mimic-cxr:ROOT``: MIMIC-CXR-JPG or MIMIC-CXR (DICOM) as PhysioNet lends it.

Which of the two it is, is found out. Tables in ROOT, plain or gzipped, of any version:
``mimic-cxr-2.0.0-{metadata,split,chexpert,negbio}.csv`` and ``cxr-{record,study}-list.csv``. Without the metadata
table, views and dates are read from the DICOM headers, patient by patient. Reports: ``mimic-cxr-reports.zip`` in ROOT
(read in place), or text files beside the folders of the studies, or where ``reports=`` says.

- ``frontal`` is the first PA image, else the first AP image, by name; ``lateral`` the first marked LATERAL, LL or RL.
  With ``views=any``, an image of another or of no known view stands in where none is PA or AP, and a study may have
  nothing but a lateral image.
- The prior of a study is the latest study of the same patient that is strictly before it in date and time and has a PA
  or AP image; ``prior_report`` is its findings, else its impression.
- ``indication`` is the section of that name, else the history. Sections are given on one line.
- A study is left out if its frontal image is not there, if what ``report=`` asks for is not there, or if one of its
  images is damaged. If a lateral or prior image is not there it is kept without, and that is told as well.

Memory: one small record an image and a study (about 200 MB for all 377,110 images; a zip file of reports adds about
150 MB for its directory); of reports, those of one patient; of images, the ends of one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from radiology.errors import InputError
from radiology.paths import shown
from radiology.sections import ReportPart
from radiology.sources.arguments import path_and_options
from radiology.sources.base import Skipped, StudySource
from radiology.sources.mimic_cxr.catalogue import OPTIONS, Catalogue, open_catalogue
from radiology.sources.mimic_cxr.entries import ImageEntry, StudyEntry
from radiology.sources.mimic_cxr.images import check_image
from radiology.sources.mimic_cxr.patient import PatientFiles
from radiology.sources.mimic_cxr.tables import labels_of
from radiology.study import Study

#: Image name → its entry and its file.
_Chosen = dict[str, tuple[ImageEntry, Path]]


class MimicSource(StudySource):
    """Studies of MIMIC-CXR by patient, then time. A study holds paths.

    Iterating looks at the beginning and the end of each image; pixels are decoded only where that leaves a doubt.
    """

    def __init__(
        self, spec: str, catalogue: Catalogue, *, any_view: bool, part: ReportPart | None, n: int | None, strict: bool
    ) -> None:
        super().__init__(spec, "credentialed", strict)
        self._catalogue, self._any_view, self._part, self._n = catalogue, any_view, part, n
        self._table_path = catalogue.source if catalogue.source != catalogue.tree.files else None

    def __len__(self) -> int:
        there_are = len(self._catalogue.entries)
        return there_are if self._n is None else min(there_are, self._n)

    def _studies(self) -> Iterator[Study]:
        for problem in self._catalogue.problems:
            self._tell(problem)
        self.skipped.extend(self._catalogue.notes)  # what was not asked for: no error when strict
        for entry, earlier, files in islice(self._in_order(), self._n):
            study = self._study(entry, earlier, files)
            if study is not None:
                yield study

    def _tell(self, problem: Skipped) -> None:
        if self.strict:
            raise InputError(str(problem))
        self.skipped.append(problem)

    def _can_be_read(self, path: Path, row: int | None, field: str | None) -> bool:
        if self._only_list:
            self._named[path] = (row, field)
            return True
        try:
            check_image(path)
        except InputError as error:
            self._skip_image(path, InputError(f"image {shown(path)}: {error}"), row, field)
            return False
        return True

    def _in_order(self) -> Iterator[tuple[StudyEntry, Sequence[StudyEntry], PatientFiles]]:
        """Each study, with those of the same patient that come before it."""
        for _, group in groupby(self._catalogue.entries, key=lambda entry: entry.patient):
            files = PatientFiles(self._catalogue, self._tell)
            entries = list(group)
            if self._catalogue.from_headers:
                entries = self._from_headers(entries, files)
            for place, entry in enumerate(entries):
                yield entry, entries[:place], files

    def _from_headers(self, entries: Sequence[StudyEntry], files: PatientFiles) -> list[StudyEntry]:
        known: list[StudyEntry] = []
        for entry in entries:
            files.tell_missing(entry)
            dated = files.with_headers(entry)
            if dated is None:
                self._skip(files.folder(entry), None, None, "the study has no image with a header that can be read")
            elif not (dated.frontals or self._any_view):
                reason = "the study has no PA or AP image; views=any takes it"
                self.skipped.append(Skipped(files.folder(entry), None, "ViewPosition", reason))
            else:
                known.append(dated)
        return sorted(known, key=lambda entry: entry.order)

    def _study(self, entry: StudyEntry, earlier: Sequence[StudyEntry], files: PatientFiles) -> Study | None:
        sections, missing = files.sections(entry)
        report = sections.report(self._part) if self._part is not None else None
        if not self._report_will_do(entry, report, missing):
            return None
        chosen = self._images(entry, files)
        if chosen is None:
            return None
        prior_report = self._add_prior(entry, earlier, files, chosen)
        self._named.clear()  # only the study at hand is ever asked for
        if not all(self._can_be_read(path, image.row, "dicom_id") for image, path in chosen.values()):
            return None
        labels = labels_of(self._catalogue.labels[entry.study]) if entry.study in self._catalogue.labels else None
        return Study(
            study_id=f"s{entry.study}",
            patient_id=f"p{entry.patient}",
            images={name: path for name, (_, path) in chosen.items()},
            terms="credentialed",
            indication=_one_line(sections.indication or sections.history),
            technique=_one_line(sections.technique),
            comparison=_one_line(sections.comparison),
            prior_report=_one_line(prior_report),
            report=_one_line(report),
            labels=labels or None,
            metadata=self._metadata(entry, chosen),
        )

    def _report_will_do(self, entry: StudyEntry, report: str | None, missing: str | None) -> bool:
        reports = self._catalogue.reports
        if reports is None or report is not None:
            return True
        place = reports.place(entry)
        if self._part is None:
            if missing is not None:
                self.skipped.append(Skipped(place, None, None, missing))  # nobody asked for it
            return True
        asked = "findings or impression" if self._part == "both" else self._part
        self._skip(place, None, None if missing else self._part, missing or f"the report has no {asked}")
        return False

    def _images(self, entry: StudyEntry, files: PatientFiles) -> _Chosen | None:
        frontals = entry.frontals or (entry.others if self._any_view else [])
        wanted = {"frontal": frontals, "lateral": entry.laterals}
        there = {name: files.present(entry, images) for name, images in wanted.items()}
        first = "frontal" if frontals else "lateral"
        if not there[first]:
            reason = f"the study has no {first} image in {files.folder(entry)}"
            self._skip(self._catalogue.source, wanted[first][0].row, "dicom_id", reason)
            return None
        files.tell_missing(entry)
        return {name: images[0] for name, images in there.items() if images}

    def _add_prior(
        self, entry: StudyEntry, earlier: Sequence[StudyEntry], files: PatientFiles, chosen: _Chosen
    ) -> str | None:
        """Put the prior image into ``chosen``; returns its report."""
        prior = next((old for old in reversed(earlier) if old.frontals and old.is_before(entry)), None)
        if prior is None:
            return None
        there = files.present(prior, prior.frontals)
        if not there:
            reason = f"the frontal image is not there; s{entry.study} after it is without prior"
            self._tell(Skipped(files.folder(prior), None, "prior_frontal", reason))
            return None
        chosen["prior_frontal"] = there[0]
        sections, _ = files.sections(prior)
        return sections.findings or sections.impression

    def _metadata(self, entry: StudyEntry, chosen: _Chosen) -> dict[str, Any]:
        sex, born = self._catalogue.patients.get(entry.patient, (None, None))
        current = chosen.get("frontal") or chosen["lateral"]
        found = {
            "view": current[0].view,
            "split": self._catalogue.splits.get(entry.patient),
            "study_time": entry.study_time,
            "sex": sex,
            "age": entry.date // 10_000 - born if born is not None and entry.date is not None else None,
            "dicom_ids": {name: image.dicom_id for name, (image, _) in chosen.items()},
        }
        return {name: value for name, value in found.items() if value is not None}


def open_source(arguments: str, *, strict: bool) -> MimicSource:
    """Open ``ROOT[,split=…][,labels=…][,views=…][,report=…][,reports=…][,patients=…][,n=…]``."""
    given = path_and_options("mimic-cxr", arguments, OPTIONS)
    any_view = given.choice("views", ("frontal", "any"), "frontal") == "any"
    part = given.choice("report", ("findings", "impression", "both", "none"), "findings")
    n = given.number("n")
    catalogue = open_catalogue(given)
    return MimicSource(given.spec, catalogue, any_view=any_view, part=_PARTS.get(part), n=n, strict=strict)


_PARTS: dict[str, ReportPart] = {"findings": "findings", "impression": "impression", "both": "both"}


def _one_line(text: str | None) -> str | None:
    return None if text is None else " ".join(text.split())
