"""The phantom's report language: from what is true to what a report says.

What is random is only the wording: two reports of the same chest (and the same prior) say the same. A report always
covers heart, edema, consolidation, nodule, effusion and pneumothorax; a device or a side that is not named is absent.
Subtle findings are hedged, all others are affirmed. With a prior study every finding and device says how it changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from radiology.phantom.factors import Factors, change_of
from radiology.phantom.grammar_grounded import parse_grounded, write_grounded
from radiology.phantom.grammar_meanings import (
    Meaning,
    absent_meaning,
    device_meaning,
    finding_meaning,
    resolved_meaning,
    sentence_meanings,
)
from radiology.phantom.grammar_parse import ParsedReport, parse_report
from radiology.phantom.grammar_sections import section_sentences, write_sections
from radiology.phantom.grammar_sentences import (
    DEVICES,
    LUNGS,
    NEGATED_LISTS,
    PLEURA,
    clear_lungs_sentences,
    device_sentences,
    finding_sentences,
    negated_sentences,
    normal_heart_sentences,
    resolved_sentences,
)
from radiology.phantom.grammar_words import join_words, tokenize_words

__all__ = [
    "VOCABULARY",
    "ParsedReport",
    "ReportSentence",
    "join_words",
    "parse_grounded",
    "parse_report",
    "report_text",
    "tokenize_words",
    "write_grounded",
    "write_report",
    "write_sections",
]


@dataclass(frozen=True)
class ReportSentence:
    """One sentence: its text, what it says of which finding keys, and the change since the prior study."""

    text: str
    keys: tuple[tuple[str, str], ...]
    change: str | None


def write_report(
    rng: np.random.Generator, factors: Factors, prior_factors: Factors | None = None
) -> list[ReportSentence]:
    """Report of one chest: devices, heart, lungs, pleura; present before negated within a topic."""
    sentences: list[ReportSentence] = []
    for name in DEVICES:
        _write_device(rng, sentences, name, factors, prior_factors)
    _write_heart(rng, sentences, factors, prior_factors)
    for fields, negatable in zip((LUNGS, PLEURA), NEGATED_LISTS, strict=True):
        for name in fields:
            _write_finding(rng, sentences, name, factors, prior_factors)
        _write_negated(rng, sentences, tuple(negatable))
    return sentences


def report_text(sentences: Sequence[ReportSentence]) -> str:
    """The sentences as one text."""
    return " ".join(sentence.text for sentence in sentences)


def _write_device(
    rng: np.random.Generator, out: list[ReportSentence], name: str, now: Factors, prior: Factors | None
) -> None:
    change = None if prior is None else change_of(prior, now, name)
    if change == "resolved":
        out.append(_sentence(rng, resolved_sentences(name), resolved_meaning(name)))
    elif value := getattr(now, name):
        out.append(_sentence(rng, device_sentences(name, value, change), device_meaning(name, value, change)))


def _write_finding(
    rng: np.random.Generator, out: list[ReportSentence], name: str, now: Factors, prior: Factors | None
) -> None:
    change = None if prior is None else change_of(prior, now, name)
    if change == "resolved":
        out.append(_sentence(rng, resolved_sentences(name), resolved_meaning(name)))
    elif value := getattr(now, name):
        subtle = name in now.subtle
        texts = finding_sentences(name, value, subtle, change)
        out.append(_sentence(rng, texts, finding_meaning(name, value, subtle, change)))


def _write_heart(rng: np.random.Generator, out: list[ReportSentence], now: Factors, prior: Factors | None) -> None:
    before = len(out)
    _write_finding(rng, out, "cardiomegaly", now, prior)
    if len(out) == before:
        out.append(_sentence(rng, normal_heart_sentences(), absent_meaning(("cardiomegaly",))))


def _write_negated(rng: np.random.Generator, out: list[ReportSentence], concepts: tuple[str, ...]) -> None:
    """Negate those of ``concepts`` that no sentence has named so far, in one list."""
    named = {key.split(":")[0] for sentence in out for key, _ in sentence.keys}
    absent = tuple(concept for concept in concepts if concept not in named)
    if not absent:
        return
    texts = negated_sentences(absent)
    if absent == tuple(NEGATED_LISTS[0]) and rng.random() < _CLEAR_LUNGS_RATE:
        texts = clear_lungs_sentences()
    out.append(_sentence(rng, texts, absent_meaning(absent)))


_CLEAR_LUNGS_RATE = 0.5


def _sentence(rng: np.random.Generator, texts: tuple[str, ...], meaning: Meaning) -> ReportSentence:
    return ReportSentence(texts[int(rng.integers(len(texts)))], meaning.keys, meaning.change)


def _vocabulary() -> tuple[str, ...]:
    words = {word for text in (*sentence_meanings(), *section_sentences()) for word in tokenize_words(text)}
    return tuple(sorted(words))


#: Every word form and punctuation mark of reports and sections, sorted.
VOCABULARY: tuple[str, ...] = _vocabulary()
