"""Reports of two sides, paired by study: what the metrics work on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from radiology.errors import InputError
from radiology.metrics.phrases import GroundedPhrase, split_report
from radiology.metrics.structurer import number_episodes, structure_report
from radiology.structured import StructuredFinding


@dataclass(frozen=True)
class ReportText:
    """The report of one study, in as many forms as its file has it.

    ``phrases`` are given where a file holds them, else cut from ``text``; ``rows`` likewise. ``patient_id`` and
    ``sequence`` place the study in time.
    """

    study_id: str
    text: str
    phrases: tuple[GroundedPhrase, ...] | None = None
    rows: tuple[StructuredFinding, ...] | None = None
    patient_id: str | None = None
    sequence: int | None = None

    @property
    def empty(self) -> bool:
        """Whether it says nothing in any form."""
        return not self.text.strip() and not self.phrases and not self.rows

    def as_phrases(self, split: Callable[[str], list[str] | None] = split_report) -> tuple[GroundedPhrase, ...] | None:
        """Its phrases, cut from the text by ``split`` if it has none; ``None`` if ``split`` could not."""
        if self.phrases is not None:
            return self.phrases
        found = split(self.text)
        return None if found is None else tuple(GroundedPhrase(phrase) for phrase in found)

    def as_rows(self) -> tuple[StructuredFinding, ...]:
        """Its rows, read from the text if it has none."""
        if self.rows is not None:
            return self.rows
        return tuple(structure_report(self.text, self.study_id, self.sequence))


@dataclass(frozen=True)
class ReportPair:
    """Candidate and reference of one study; ``missing`` marks a candidate that is not there and counts as empty."""

    candidate: ReportText
    reference: ReportText
    missing: bool = False

    @property
    def study_id(self) -> str:
        return self.reference.study_id


@dataclass(frozen=True)
class Pairing:
    """Pairs in the order of the reference; ids that only one side has."""

    pairs: tuple[ReportPair, ...]
    missing: tuple[str, ...] = ()
    without_reference: tuple[str, ...] = field(default=())


def pair_reports(
    candidates: Mapping[str, ReportText], references: Mapping[str, ReportText], keep_missing: bool = True
) -> Pairing:
    """Pair reports by study.

    A study that only the reference has is compared with an empty report, or left out if not ``keep_missing``; one that
    only the candidates have cannot be compared. Both are listed.
    """
    pairs: list[ReportPair] = []
    for study_id, reference in references.items():
        candidate = candidates.get(study_id)
        if candidate is not None:
            pairs.append(ReportPair(candidate, reference))
        elif keep_missing:
            nothing = ReportText(study_id, "", (), (), reference.patient_id, reference.sequence)
            pairs.append(ReportPair(nothing, reference, missing=True))
    missing = tuple(study_id for study_id in references if study_id not in candidates)
    extra = tuple(study_id for study_id in candidates if study_id not in references)
    return Pairing(tuple(pairs), missing, extra)


Rows = dict[str, list[StructuredFinding]]


def rows_by_patient(pairs: Sequence[ReportPair]) -> tuple[Rows, Rows]:
    """The rows of all studies of each patient in order of ``sequence``, reference and candidate, with episodes.

    A patient whose candidates are all missing is in the first alone.

    Raises:
        InputError: a reference that does not say its patient or its place in time.
    """
    reference: Rows = {}
    candidate: Rows = {}
    for patient, found in _by_patient(pairs).items():
        reference[patient] = _numbered([pair.reference for pair in found])
        if not all(pair.missing for pair in found):
            candidate[patient] = _numbered([pair.candidate for pair in found])
    return reference, candidate


def _by_patient(pairs: Sequence[ReportPair]) -> dict[str, list[ReportPair]]:
    patients: dict[str, list[ReportPair]] = {}
    for pair in pairs:
        told = pair.reference
        if told.patient_id is None or told.sequence is None:
            field = "patient_id" if told.patient_id is None else "sequence"
            raise InputError(
                f"reference of study {told.study_id!r}: has no {field!r}; comparing over time needs patient_id and "
                "sequence (1, 2, …) beside every report"
            )
        patients.setdefault(told.patient_id, []).append(pair)
    return {patient: sorted(found, key=_place) for patient, found in patients.items()}


def _place(pair: ReportPair) -> int:
    return pair.reference.sequence or 0


def _numbered(reports: Sequence[ReportText]) -> list[StructuredFinding]:
    """Rows of one patient; those without any episode get theirs from what the reports say."""
    studies = [report.as_rows() for report in reports]
    if not any(row.temporal_group for rows in studies for row in rows):
        return [row for rows in number_episodes(studies) for row in rows]
    return [row for rows in studies for row in rows]
