"""``openi:ROOT[,n=N]``: the chest radiographs of Indiana University in Open-i (National Library of Medicine).

``ROOT`` holds either the two tables ``indiana_reports.csv`` and ``indiana_projections.csv`` or the XML files of the
reports, and the images in any folder below; where there are both, the tables are read, since they name the view of each
image. As far as is known every patient has one report there, so the report's number is the patient too.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from radiology.errors import InputError
from radiology.sources.arguments import path_and_options
from radiology.sources.base import Skipped, safe_id
from radiology.sources.image_files import ImageFolder, ImageSource
from radiology.sources.labels import merge_labels
from radiology.sources.openi.record import OpeniRecord, Views, choose_views, mesh_statements, view_word
from radiology.sources.openi.tables import PROJECTIONS, REPORTS, OpeniTables
from radiology.sources.openi.xml_reports import OpeniXml
from radiology.study import Study

_OPTIONS = {"n": "only the first N reports"}


class OpeniSource(ImageSource):
    """Reports in the order of the table, or of the numbers of the XML files.

    ``decisions`` counts ``view from projection``, ``view from caption``, ``view from order`` (a guess), and ``images of
    no view`` (a second frontal, or no view known), which are left out of the study.
    """

    def __init__(self, spec: str, layout: OpeniTables | OpeniXml, images: ImageFolder, n: int | None, strict: bool):
        super().__init__(spec, "open", strict)
        self._layout, self._images, self._n = layout, images, n

    def __len__(self) -> int:
        return min(len(self._layout), self._n or len(self._layout))

    def _studies(self) -> Iterator[Study]:
        for problem in self._layout.problems:
            self._skip(problem.file, problem.row, problem.field, problem.reason)
        seen: set[str] = set()
        for record in self._layout.records(self._n):
            if isinstance(record, Skipped):
                self._skip(record.file, record.row, record.field, record.reason)
            elif record.uid in seen:
                self._skip(record.file, record.line, "uid", "the same report stands earlier")
            else:
                seen.add(record.uid)
                yield from self._study(record)
        for image in self._layout.images_of_no_report():  # spoils nothing: no error when strict
            self.skipped.append(Skipped(image.file, image.line, "uid", f"has no report in {REPORTS}"))

    def _study(self, record: OpeniRecord) -> Iterator[Study]:
        """The study of a report, or nothing, and reported, if it has no findings or an image cannot be used."""
        if "findings" not in record.sections:
            self._skip(record.file, record.line, "findings", "is empty: a report without findings")
            return
        views = choose_views(record.images)
        if "frontal" not in views.chosen:
            reason = "no image is the frontal one" if record.images else "the report has no image"
            self._skip(record.file, record.line, "uid", reason)
            return
        images = self._find(views)
        if images is None:
            return
        self.decisions[f"view from {views.source}"] += 1
        self.decisions["images of no view"] += views.left_over
        yield _study(record, views, images)

    def _find(self, views: Views) -> dict[str, Path] | None:
        images: dict[str, Path] = {}
        for view, image in views.chosen.items():
            path, problem = self._images.find(image.name) if image.name else (None, "has no id")
            if path is None:
                self._skip(image.file, image.line, image.field, problem)
                return None
            if not self._can_be_read(path, image.line, image.field):
                return None
            images[view] = path
        return images


def open_source(arguments: str, *, strict: bool) -> OpeniSource:
    """Open a copy of Open-i; InputError if it has neither layout, or a table lacks a column."""
    given = path_and_options("openi", arguments, _OPTIONS)
    n = given.number("n")
    images = ImageFolder(given.path)
    return OpeniSource(given.spec, _layout(given.path), images, n, strict)


def _layout(root: Path) -> OpeniTables | OpeniXml:
    texts = sorted(path for path in root.rglob("*") if path.suffix.lower() in (".csv", ".xml"))
    tables = {name: [path for path in texts if path.name.lower() == name] for name in (REPORTS, PROJECTIONS)}
    if any(tables.values()):
        for name, found in tables.items():
            if len(found) != 1:
                raise InputError(f"folder {root}: holds {len(found) or 'no'} {name} where one is needed")
        return OpeniTables(tables[REPORTS][0], tables[PROJECTIONS][0])
    reports = [path for path in texts if path.suffix.lower() == ".xml"]
    if not reports:
        raise InputError(f"folder {root}: holds neither {REPORTS} with {PROJECTIONS} nor XML files of reports")
    return OpeniXml(reports)


def _study(record: OpeniRecord, views: Views, images: dict[str, Path]) -> Study:
    identity = safe_id(f"CXR{record.uid}")
    sections = record.sections
    labels, _ = merge_labels(mesh_statements(record.mesh))
    captions = [views.chosen["frontal"].caption, sections.get("technique")]
    metadata = {"view": view_word(captions), "view_from": views.source, "mesh": list(record.mesh)}
    if "impression" in sections:
        metadata["impression"] = sections["impression"]
    return Study(
        study_id=identity,
        patient_id=identity,
        images=images,
        terms="open",
        indication=sections.get("indication"),
        technique=sections.get("technique"),
        comparison=sections.get("comparison"),
        report=sections["findings"],
        labels=labels,
        metadata=metadata,
    )
