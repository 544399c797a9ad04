"""Open-i as two tables: ``indiana_reports.csv``, a row a report, and ``indiana_projections.csv``, a row an image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from radiology.sources.base import Skipped
from radiology.sources.csv_rows import CsvRow, read_csv
from radiology.sources.openi.record import NamedImage, OpeniRecord, uid_number

REPORTS = "indiana_reports.csv"
PROJECTIONS = "indiana_projections.csv"

_SECTIONS = ("indication", "comparison", "findings", "impression")


class OpeniTables:
    """Both tables in memory: some thousand rows of text. InputError if a column is missing or a file broken."""

    def __init__(self, reports: Path, projections: Path) -> None:
        required = [("uid",), *((name,) for name in _SECTIONS)]
        self.reports, self.projections = reports, projections
        self._rows, report_problems = read_csv(reports, required)
        images, image_problems = read_csv(projections, [("uid",), ("filename",), ("projection",)])
        self.problems = [
            Skipped(path, one.row, one.field, one.reason)
            for path, found in ((reports, report_problems), (projections, image_problems))
            for one in found
        ]
        self._images = self._by_uid(images)

    def __len__(self) -> int:
        return len(self._rows)

    def records(self, n: int | None) -> Iterator[OpeniRecord | Skipped]:
        """The first ``n`` reports in the order of the table, or what is wrong with a row."""
        for row in self._rows[:n]:
            uid = row.get("uid")
            if uid is None:
                yield Skipped(self.reports, row.line, "uid", "is empty")
                continue
            sections = {name: text for name in _SECTIONS if (text := row.get(name)) is not None}
            if (examination := row.get("image")) is not None:
                sections["technique"] = examination
            mesh = tuple(term.strip() for term in (row.get("MeSH") or "").split(";") if term.strip())
            images = tuple(self._images.get(uid_number(uid), ()))
            yield OpeniRecord(uid_number(uid), self.reports, row.line, sections, mesh, images)

    def images_of_no_report(self) -> list[NamedImage]:
        """Rows of the projections whose report is not there."""
        uids = {uid_number(row.get("uid") or "") for row in self._rows}
        return [image for uid, images in self._images.items() if uid not in uids for image in images]

    def _by_uid(self, rows: list[CsvRow]) -> dict[str, list[NamedImage]]:
        images: dict[str, list[NamedImage]] = {}
        for row in rows:
            uid, name, projection = row.get("uid"), row.get("filename"), (row.get("projection") or "").lower()
            if uid is None or name is None:
                field = "uid" if uid is None else "filename"
                self.problems.append(Skipped(self.projections, row.line, field, "is empty"))
            elif projection not in ("frontal", "lateral"):
                reason = "is neither Frontal nor Lateral"
                self.problems.append(Skipped(self.projections, row.line, "projection", reason))
            else:
                image = NamedImage(name, self.projections, row.line, "filename", projection)
                images.setdefault(uid_number(uid), []).append(image)
        return images
