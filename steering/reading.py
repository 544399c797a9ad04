"""Reading generated reports: text → status of every finding, and whether the text could be read at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from activations.models.base import ReportModel

_RANK = ("absent", "uncertain", "present")


@dataclass(frozen=True)
class Reading:
    """What a report says: finding key → ``present`` / ``absent`` / ``uncertain``; what it does not name is left out."""

    findings: Mapping[str, str]
    parse_ok: bool

    def status(self, key: str) -> str | None:
        """Status of a finding; a key without a side takes the strongest of its sides where only sides are named."""
        if key in self.findings:
            return self.findings[key]
        sides = [status for name, status in self.findings.items() if name.startswith(f"{key}:")]
        return max(sides, key=_RANK.index, default=None)


Reader = Callable[[str], Reading]


def phantom_reader(text: str) -> Reading:
    """The phantom's exact grammar. A report parses if every sentence is of the language, without contradictions."""
    from radiology.phantom.grammar import parse_report

    report = parse_report(text)
    return Reading(report.label_statuses(), bool(report.status) and not report.errors)


def report_reader(text: str) -> Reading:
    """The rules of :func:`radiology.findings.read_report`. A report counts as readable if it names any finding."""
    from radiology.findings import read_report, statuses

    found = statuses(read_report(text))
    return Reading(found, bool(found))


def reader_for(model: ReportModel) -> Reader:
    """The exact grammar for phantom models, the rules for all others."""
    from activations.models.phantom import PhantomReportModel

    return phantom_reader if isinstance(model, PhantomReportModel) else report_reader


def related(key: str, other: str) -> bool:
    """Whether two keys speak of the same thing: equal, or one is a side of the other (``edema``, ``edema:left``)."""
    return key == other or key.startswith(f"{other}:") or other.startswith(f"{key}:")
