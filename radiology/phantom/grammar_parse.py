"""Reading a phantom report back, exactly: every sentence is looked up in the table of the whole language."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

from radiology.phantom.factors import FINDING_KEYS
from radiology.phantom.grammar_meanings import Meaning, sentence_meanings
from radiology.phantom.grammar_words import join_words, tokenize_words


@dataclass
class ParsedReport:
    """What a phantom report says.

    ``status``: finding key → ``present`` / ``absent`` / ``uncertain``, for what the report names.
    ``details``: finding key → size (small, large), severity (mild, marked, severe), zone (upper, mid, lower) or, for
    the nasogastric tube, ``placed`` / ``misplaced``.
    ``change``: finding key → new / worse / improved / unchanged / resolved.
    ``errors``: sentences that are not of the language, and contradictions; each is left out of the other fields.
    """

    status: dict[str, str] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)
    change: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def label_statuses(self) -> dict[str, str]:
        """Status of all :data:`FINDING_KEYS`; what the report does not name is absent."""
        return {key: self.status.get(key, "absent") for key in FINDING_KEYS}

    def concept_statuses(self) -> dict[str, str]:
        """Status per concept without its side: present wins over uncertain, uncertain over absent."""
        rank = ("absent", "uncertain", "present")
        statuses: dict[str, str] = {}
        for key, status in self.label_statuses().items():
            if key == "nasogastric_tube:misplaced":
                continue
            concept = key.split(":")[0]
            statuses[concept] = max(statuses.get(concept, "absent"), status, key=rank.index)
        return statuses


def parse_report(text: str) -> ParsedReport:
    """Read a phantom report; upper and lower case and spacing do not matter."""
    report = ParsedReport()
    for sentence in _split(text):
        meaning = _lower_case_meanings().get(sentence.lower())
        if meaning is None:
            report.errors.append(f"not a sentence of the phantom language: {sentence!r}")
        else:
            _add(report, sentence, meaning)
    return report


def _add(report: ParsedReport, sentence: str, meaning: Meaning) -> None:
    details = dict(meaning.details)
    clash = [
        key
        for key, status in meaning.keys
        if report.status.get(key, status) != status
        or (key in details and report.details.get(key, details[key]) != details[key])
        or (meaning.change and report.change.get(key, meaning.change) != meaning.change)
    ]
    if clash:
        report.errors.append(f"contradicts an earlier sentence about {', '.join(clash)}: {sentence!r}")
        return
    report.status.update(meaning.keys)
    report.details.update(details)
    if meaning.change:
        report.change[meaning.keys[0][0]] = meaning.change


def _split(text: str) -> list[str]:
    """Sentences in canonical spacing; words after the last full stop are one too, which the language does not know."""
    sentences: list[list[str]] = [[]]
    for word in tokenize_words(text):
        sentences[-1].append(word)
        if word == ".":
            sentences.append([])
    return [join_words(words) for words in sentences if words]


@cache
def _lower_case_meanings() -> dict[str, Meaning]:
    return {text.lower(): meaning for text, meaning in sentence_meanings().items()}
