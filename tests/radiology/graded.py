"""Sentences whose findings were written down by hand, and whether a reading of them is right.

``graded_sentences.txt`` grew together with the rules. ``graded_held_out.txt`` was written when the rules were finished,
and no rule was changed after a look at it: it shows how the rules do on sentences that they do not know.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from radiology.findings import Finding
from radiology.vocabulary import CONCEPTS

_FILES = {False: "graded_sentences.txt", True: "graded_held_out.txt"}
_STATUS = {"+": "present", "-": "absent", "?": "uncertain"}
#: "@clear": what "the lungs are clear" denies.
_SHORT = {"@clear": ("-consolidation", "-pulmonary_edema", "-lung_nodule", "-lung_opacity")}
_FIELDS: dict[str, frozenset[str]] = {
    "side": frozenset({"left", "right", "bilateral"}),
    "location": frozenset(
        {"upper", "mid", "lower", "apical", "basal", "perihilar", "retrocardiac", "lingula", "subpulmonic"}
    ),
    "change": frozenset({"new", "worse", "improved", "unchanged", "resolved"}),
    "placement": frozenset({"placed", "misplaced"}),
}


@dataclass(frozen=True, slots=True)
class Said:
    """One finding that a sentence states; ``attributes`` holds those that the grader wrote down."""

    concept: str
    status: str
    attributes: tuple[tuple[str, str], ...] = ()

    def told_by(self, finding: Finding) -> bool:
        same = (finding.concept, finding.status) == (self.concept, self.status)
        return same and all(getattr(finding, name) == value for name, value in self.attributes)


@dataclass(frozen=True, slots=True)
class Graded:
    """A sentence, what kind of language it tries, and what it says."""

    phenomenon: str
    text: str
    said: tuple[Said, ...]

    def mistakes(self, findings: Sequence[Finding]) -> list[str]:
        """What a reading lacks, and what it has too much; attributes count only where the grader wrote them down."""
        lacks = [f"lacks {said}" for said in self.said if not any(said.told_by(finding) for finding in findings)]
        known = {(said.concept, said.status) for said in self.said}
        read = sorted({(finding.concept, finding.status) for finding in findings} - known)
        return lacks + [f"has {status} {concept}" for concept, status in read]


def graded_sentences(held_out: bool) -> list[Graded]:
    """The sentences of a file in its order; those of the known ones or those that were held out."""
    sentences: list[Graded] = []
    phenomenon = ""
    for line in Path(__file__).with_name(_FILES[held_out]).read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            phenomenon = line[2:]
        elif line:
            text, _, said = line.rpartition("|")
            items = [item.strip() for item in said.split(";") if item.strip()]
            sentences.append(Graded(phenomenon, text.strip(), tuple(_said(items))))
    return sentences


def _said(items: Sequence[str]) -> Iterator[Said]:
    for item in items:
        for entry in _SHORT.get(item, (item,)):
            head, *words = entry.split()
            if head[1:] not in CONCEPTS:
                raise ValueError(f"{item!r} names no concept of the vocabulary")
            yield Said(head[1:], _STATUS[head[0]], tuple((_field_of(word), word) for word in words))


def _field_of(word: str) -> str:
    return next((name for name, words in _FIELDS.items() if word in words), "severity")
