"""``lunguage:PATH[,images=MIMIC_ROOT][,section=findings|impression|all][,n=N]``: LUNGUAGE (arXiv 2505.21190).

``PATH`` is the table (``Lunguage.csv``) or the folder that holds it: a row for every finding of every sentence. The
rows of a study may stand anywhere in the table, so all of it is kept in memory while the source is open, equal cells
once. Studies are of text alone unless ``images=`` names the MIMIC-CXR-JPG tree that their pictures are in.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from radiology.errors import InputError
from radiology.sources.arguments import PathArguments, path_and_options
from radiology.sources.base import Skipped, safe_id
from radiology.sources.csv_rows import header_of, read_csv
from radiology.sources.image_files import ImageSource
from radiology.sources.labels import merge_labels
from radiology.sources.lunguage.images import MimicPictures, Pictures
from radiology.sources.lunguage.study import (
    REPORT_SECTIONS,
    StudyContent,
    StudyRows,
    group_rows,
    label_statements,
    read_content,
)
from radiology.sources.mimic_cxr.entries import number_id
from radiology.study import Study

_OPTIONS = {
    "images": "root of the MIMIC-CXR-JPG tree with the pictures of the studies",
    "section": "what the report is: findings (default), impression or all",
    "n": "only the first N studies",
}
_REQUIRED = [("study_id",), ("section",), ("ent", "entity"), ("dx_status",), ("dx_certainty",)]


class LunguageSource(ImageSource):
    """Studies in the order in which the table first names them.

    ``decisions`` counts ``label conflicts`` (a finding that rows judge differently), ``rows without an entity`` (they
    only give their sentence) and ``sentence numbers without a row``.
    """

    def __init__(
        self,
        spec: str,
        table: Path,
        studies: list[StudyRows],
        problems: list[Skipped],
        pictures: MimicPictures | None,
        section: str,
        strict: bool,
    ) -> None:
        super().__init__(spec, "credentialed", strict)
        self.section = section
        self._table, self._rows, self._problems, self._pictures = table, studies, problems, pictures

    def __len__(self) -> int:
        return len(self._rows)

    def _studies(self) -> Iterator[Study]:
        for problem in self._problems:
            self._skip(problem.file, problem.row, problem.field, problem.reason)
        for rows in self._rows:
            if rows.conflict is not None:
                reason = f"names another patient for the study of line {rows.line}"
                self._skip(self._table, rows.conflict, "subject_id", reason)
                continue
            content = read_content(rows, partial(self._skip, self._table))
            pictures = self._pictures_of(rows)
            if pictures is None or not self._has_report(rows, content):
                continue
            self.decisions["rows without an entity"] += content.rows_without_entity
            self.decisions["sentence numbers without a row"] += content.missing_sentences
            yield self._study(rows, content, pictures)

    def _has_report(self, rows: StudyRows, content: StudyContent) -> bool:
        """Whether the study has the section that is asked for; if not it is reported."""
        sections = REPORT_SECTIONS[self.section]
        has_one = bool(content.structured(sections)) or content.text(sections) is not None
        if not has_one:
            reason = f"no row of the study is of {' or '.join(sections)}: a report without; section= chooses another"
            self._skip(self._table, rows.line, "section", reason)
        return has_one

    def _pictures_of(self, rows: StudyRows) -> Pictures | None:
        """Pictures of a study, none without ``images=``; None, and reported, if they cannot be used."""
        if self._pictures is None:
            return Pictures({}, {})
        patient, study = number_id(rows.subject_id or "", "p"), number_id(rows.study_id, "s")
        if patient is None or study is None:
            field = "subject_id" if patient is None else "study_id"
            self._skip(self._table, rows.line, field, "is no number as MIMIC-CXR has them: no picture can be found")
            return None
        found = self._pictures.find(patient, study)
        if isinstance(found, str):
            self._skip(self._table, rows.line, "study_id", found)
            return None
        readable = all(self._can_be_read(path, rows.line, "study_id") for path in found.images.values())
        return found if readable else None

    def _study(self, rows: StudyRows, content: StudyContent, pictures: Pictures) -> Study:
        sections = REPORT_SECTIONS[self.section]
        findings = content.structured(sections)
        labels, conflicts = merge_labels(label_statements(findings))
        self.decisions["label conflicts"] += conflicts
        study_id = _mimic_id(rows.study_id, "s")
        return Study(
            study_id=study_id,
            patient_id=_mimic_id(rows.subject_id, "p") if rows.subject_id else study_id,
            images=pictures.images,
            terms="credentialed",
            indication=content.text(("history",)),
            report=content.text(sections),
            labels=labels,
            metadata={"section": self.section, **pictures.metadata},
            structured=(content.structured((*sections, "history")) if self.section == "all" else findings) or None,
        )


def open_source(arguments: str, *, strict: bool) -> LunguageSource:
    """Open a LUNGUAGE table; InputError if there is none, a column is missing, or it cannot be read."""
    given = path_and_options("lunguage", arguments, _OPTIONS)
    section = given.choice("section", tuple(REPORT_SECTIONS), "findings")
    n = given.number("n")
    table = _find_table(given.path)
    rows, row_problems = read_csv(table, _REQUIRED)
    problems = [Skipped(table, one.row, one.field, one.reason) for one in row_problems]
    studies = group_rows(rows, lambda line, field, reason: problems.append(Skipped(table, line, field, reason)))[:n]
    pictures = _pictures(given, table, studies)
    problems += pictures.problems if pictures else []
    return LunguageSource(given.spec, table, studies, problems, pictures, section, strict)


def _pictures(given: PathArguments, table: Path, studies: list[StudyRows]) -> MimicPictures | None:
    if "images" not in given.options:
        return None
    root = Path(given.options["images"]).expanduser()
    if not root.exists():
        raise InputError(f"studies {given.spec!r}: images={root} does not exist; give the root of a MIMIC-CXR-JPG tree")
    if header_of(table).place("subject_id") is None:
        raise InputError(f"table {table}: has no column subject_id, by which images= finds the pictures of a study")
    return MimicPictures(root, {number_id(study.study_id, "s") or 0 for study in studies})


def _mimic_id(text: str, letter: str) -> str:
    """The id as ``mimic-cxr:`` has it, with its letter, so that a patient of both sources is one patient."""
    number = number_id(text, letter)
    return safe_id(text) if number is None else f"{letter}{number}"


def _find_table(path: Path) -> Path:
    """The table itself, or the one CSV in the folder whose header names studies and entities."""
    if path.is_file():
        return path
    found = [one for one in sorted((*path.glob("*.csv"), *path.glob("*.csv.gz"))) if _is_table(one)]
    if len(found) != 1:
        what = f"{len(found)} CSV files" if found else "no CSV file"
        raise InputError(f"folder {path}: holds {what} with the columns study_id and ent; name the file itself")
    return found[0]


def _is_table(path: Path) -> bool:
    try:
        header = header_of(path)
    except InputError:
        return False
    return header.place("study_id") is not None and header.place("ent", "entity") is not None
