"""The rows of one LUNGUAGE study: what becomes its report, its structured findings and its labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from radiology.errors import InputError
from radiology.sources.csv_rows import CsvRow
from radiology.sources.labels import concept_key
from radiology.sources.mimic_cxr.entries import number_id
from radiology.structured import COLUMNS, StructuredFinding, whole_number
from radiology.study import Status

Section = Literal["findings", "impression", "history"]
#: What LUNGUAGE calls the sections, and what others do; by how they begin.
_BEGINNINGS: dict[str, Section] = {
    "find": "findings",
    "impr": "impression",
    "conc": "impression",
    "hist": "history",
    "indi": "history",
}
#: Sections of the report by the option ``section=``; history is what the radiologist was told, not what was seen.
REPORT_SECTIONS: dict[str, tuple[Section, ...]] = {
    "findings": ("findings",),
    "impression": ("impression",),
    "all": ("findings", "impression"),
}
#: Kinds of entity that the image shows (see StructuredFinding).
_SEEN = frozenset({"pf", "cf", "oth"})
_TEXT_OF_SECTION = ("section_report", "report")

#: Told what is wrong: the line, the field, the reason.
Report = Callable[[int, str | None, str], None]


@dataclass
class StudyRows:
    """The rows of a study in the order of the file, wherever they stood."""

    study_id: str
    subject_id: str | None
    rows: list[CsvRow] = field(default_factory=list)
    conflict: int | None = None  # line of a row that names another patient

    @property
    def line(self) -> int:
        return self.rows[0].line


def group_rows(rows: Sequence[CsvRow], report: Report) -> list[StudyRows]:
    """Rows by study, in the order in which studies first come; those without a study are reported."""
    studies: dict[str | int, StudyRows] = {}
    for row in rows:
        study_id, subject_id = row.get("study_id"), row.get("subject_id")
        if study_id is None:
            report(row.line, "study_id", "is empty")
            continue
        study = studies.setdefault(number_id(study_id, "s") or study_id, StudyRows(study_id, subject_id))
        study.rows.append(row)
        study.subject_id = study.subject_id or subject_id
        if subject_id is not None and study.subject_id != subject_id:
            study.conflict = study.conflict or row.line
    return list(studies.values())


@dataclass
class StudyContent:
    """What the rows of a study hold: sentences by section and number, whole sections, findings with their section."""

    sentences: dict[Section, dict[int, str]] = field(default_factory=dict)
    sections: dict[Section, str] = field(default_factory=dict)
    findings: list[tuple[Section, StructuredFinding]] = field(default_factory=list)
    rows_without_entity: int = 0

    def text(self, sections: Sequence[Section]) -> str | None:
        """These sections one after the other: their sentences in order, else the text of the section."""
        parts = [self._section(section) for section in sections]
        return " ".join(dict.fromkeys(part for part in parts if part)) or None

    def structured(self, sections: Sequence[Section]) -> tuple[StructuredFinding, ...]:
        """The findings of these sections, in the order of the file."""
        return tuple(finding for section, finding in self.findings if section in sections)

    @property
    def missing_sentences(self) -> int:
        """How many numbers between the first and last sentence of a section no row has."""
        return sum(max(numbers) - min(numbers) + 1 - len(numbers) for numbers in self.sentences.values())

    def _section(self, section: Section) -> str | None:
        numbered = self.sentences.get(section, {})
        return " ".join(numbered[number] for number in sorted(numbered)) or self.sections.get(section)


def read_content(study: StudyRows, report: Report) -> StudyContent:
    """Read the rows of a study; a row that cannot be read is reported and left out."""
    content = StudyContent()
    for row in study.rows:
        section = _section_of(row)
        if section is None:
            report(row.line, "section", f"begins with none of {', '.join(_BEGINNINGS)}")
            continue
        try:
            number = whole_number("sent_idx", row.get("sent_idx") or "")
            if row.get(*COLUMNS["ent"]) is None:
                content.rows_without_entity += 1
            else:
                content.findings.append((section, StructuredFinding.from_row(row.as_dict())))
        except InputError as error:
            report(row.line, None, str(error).removeprefix("structured finding: "))
            continue
        if (row.get("dx_status") or "positive").lower() not in ("positive", "negative"):
            report(row.line, "dx_status", "is neither positive nor negative; the row gives no label")
        _add_text(content, section, number, row, report)
    return content


def label_statements(findings: Sequence[StructuredFinding]) -> Iterator[tuple[str, Status]]:
    """What findings say of the image: no past history, nothing seen elsewhere, nothing the vocabulary lacks."""
    for finding in findings:
        kinds = {kind.strip().lower() for kind in (finding.cat or "").split("/") if kind.strip()}
        if (kinds and not kinds & _SEEN) or finding.past_hx:
            continue
        key = concept_key(finding.ent, finding.extra.get("normed_ent"))
        if key is not None and finding.status is not None:
            yield key, finding.status


def _section_of(row: CsvRow) -> Section | None:
    return _BEGINNINGS.get((row.get("section") or "").lower()[:4])


def _add_text(content: StudyContent, section: Section, number: int | None, row: CsvRow, report: Report) -> None:
    whole = row.get(*_TEXT_OF_SECTION)
    if whole is not None:
        content.sections.setdefault(section, whole)
    sentence = row.get(*COLUMNS["sent"])
    if sentence is None:
        return
    numbered = content.sentences.setdefault(section, {})
    if number is None:  # without numbers, sentences are told apart by their words
        if sentence not in numbered.values():
            numbered[len(numbered)] = sentence
    elif numbered.setdefault(number, sentence) != sentence:
        report(row.line, COLUMNS["sent"][0], "differs from the sentence of the same number in an earlier row")
