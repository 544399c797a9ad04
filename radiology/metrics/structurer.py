"""Reports as rows of LUNGUAGE (arXiv 2505.21190), from the findings that the rules read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from radiology.findings import Finding, read_report
from radiology.structured import StructuredFinding
from radiology.vocabulary import CONCEPTS

NAME = "findings"

_CHANGE_FIELDS = {
    "new": "onset",
    "improved": "improved",
    "resolved": "improved",
    "worse": "worsened",
    "unchanged": "no_change",
}


def structure_report(text: str, study_id: str, sequence: int | None = None) -> list[StructuredFinding]:
    """One row a finding and sentence.

    ``ent`` and ``entity_group`` are the name of the concept; ``location`` joins side and place. Attributes that the
    reader does not know (morphology, distribution, measurement, past history …) stay empty. ``temporal_group`` is for
    :func:`number_episodes`.
    """
    rows = []
    sentences: dict[str, int] = {}
    for place, finding in enumerate(read_report(text), start=1):
        number = sentences.setdefault(finding.sentence, len(sentences) + 1)
        rows.append(_row(finding, study_id, sequence, number, place))
    return rows


def number_episodes(studies: Sequence[Iterable[StructuredFinding]]) -> Iterator[list[StructuredFinding]]:
    """The rows of one patient's studies, in order of time, with ``temporal_group`` filled in.

    A new episode of a finding begins where it is there (again) after a study that denied it, or is called new.
    """
    episode: dict[str, int] = {}
    gone: set[str] = set()
    for rows in studies:
        numbered = []
        present: set[str] = set()
        absent: set[str] = set()
        started: set[str] = set()
        for row in rows:
            name = row.entity_group or row.ent
            there = row.dx_status == "positive"
            if there and name not in started and name in episode and (name in gone or row.onset is not None):
                episode[name] += 1
                started.add(name)
            (present if there else absent).add(name)
            numbered.append(replace(row, temporal_group=str(episode.setdefault(name, 1))))
        gone = (gone | absent) - present
        yield numbered


def _row(finding: Finding, study_id: str, sequence: int | None, sentence: int, place: int) -> StructuredFinding:
    concept = CONCEPTS[finding.concept]
    where = " ".join(part.replace("_", " ") for part in (finding.side, finding.location) if part)
    row = StructuredFinding(
        study_id=study_id,
        ent=concept.name,
        section="find",
        sequence=sequence,
        sent_idx=sentence,
        sent=finding.sentence,
        ent_idx=place,
        cat="OTH" if concept.kind == "device" else "PF",
        dx_status="negative" if finding.status == "absent" else "positive",
        dx_certainty="tentative" if finding.status == "uncertain" else "definitive",
        location=where or None,
        severity=finding.severity,
        placement=finding.placement,
        entity_group=concept.name,
    )
    if finding.change is None:
        return row
    change: dict[str, Any] = {_CHANGE_FIELDS[finding.change]: finding.change}
    return replace(row, **change)
