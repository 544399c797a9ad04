"""Phrases: the units that RadFact compares, each with one finding and perhaps boxes; and how a report becomes phrases.

The splitter here works by rules and needs nothing; :mod:`radiology.metrics.entailment_llm` asks a language model. Both
keep what can be seen (or is said not to be there) and how it changed, and leave out speculation, recommendations and
remarks on technique (Bannur et al. 2024, arXiv 2406.04449).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from radiology.errors import InputError
from radiology.findings import read_report
from radiology.findings_text import clause_spans, lower_case, sentence_spans
from radiology.study import Box, GroundedSentence


@dataclass(frozen=True)
class GroundedPhrase:
    """One finding in words, and where on the image it is.

    ``boxes`` are x_min, y_min, x_max, y_max in [0, 1], one or more; ``None`` is a phrase without boxes.

    Raises:
        InputError: no words, an empty list of boxes, or a box that is none.
    """

    text: str
    boxes: tuple[Box, ...] | None = None

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise InputError("grounded phrase: 'text' is empty; leave the phrase out")
        if self.boxes is None:
            return
        if not self.boxes:
            raise InputError("grounded phrase: 'boxes' is an empty list; use null for a phrase without boxes")
        for x0, y0, x1, y1 in self.boxes:
            if not (0 <= x0 <= x1 <= 1 and 0 <= y0 <= y1 <= 1):
                raise InputError("grounded phrase: a box is not x_min ≤ x_max, y_min ≤ y_max in [0, 1]")

    @staticmethod
    def of(sentence: GroundedSentence) -> GroundedPhrase:
        """A grounded sentence of a study as a phrase; no boxes there is ``None`` here."""
        return GroundedPhrase(sentence.text, sentence.boxes or None)


_NOT_SEEN_IN_IMAGE = re.compile(
    r"\b(?:recommend(?:ed|ation|s)?|follow[\s-]?up|correlat(?:e|ion)|should\s+be\s+(?:considered|obtained)|"
    r"suggest\s+(?:a\s+)?(?:ct|repeat)"
    r"|is\s+rotated|rotation|positioned\s+with|technique|(?:two|single|one|ap|pa|frontal|lateral|upright|"
    r"portable)\s+(?:\w+\s+){0,3}(?:views?|positions?|radiographs?)"
    r"|(?:compared|comparison)\s+(?:to|with|is\s+made|was\s+made)\s+[^,]*$|were\s+compared|limited\s+(?:evaluation|"
    r"by|study|on)|is\s+limited"
    r"|not\s+adequately\s+evaluated|low\s+lung\s+volumes?|poor\s+inspiration|could\s+be\s+attributed"
    r"|may\s+be\s+(?:due|caused)|if\s+there\s+is|if\s+clinically)\b"
)
_SPECULATION = re.compile(
    r",?\s*\b(?:(?:which|that|and|this)\s+(?:may|might|could|can|is\s+likely|are\s+likely|likely|probably)\s|"
    r"(?:most\s+)?(?:likely|probably|possibly|potentially)\s+(?:due|status\s+post|related|secondary|represent|"
    r"reflect|indicat)"
    r"|(?:may|might|could|can)\s+(?:represent|reflect|indicate|be\s+(?:due|related|secondary))|"
    r"(?:highly\s+)?suggest(?:ive\s+of|ing)\b"
    r"|(?:consistent|compatible|in\s+keeping)\s+with|indicative\s+of|concerning\s+for|worrisome\s+for|"
    r"suspicious\s+for"
    r"|(?<=,\s)(?:most\s+)?(?:likely|probably|possibly|presumably)\s"
    r"|due\s+to|secondary\s+to|related\s+to|attributable\s+to|represent(?:ing|s)\b|reflecting\b|"
    r"(?:if\s+there\s+is)\b).*$"
)
_NOTHING = re.compile(r"^(?:\w+:\s*)?(?:none|n/?a|other:?\s*none|no\s+other\s+significant\s+findings?|[_\W]*)\.?$")
#: "This remains unchanged" means nothing apart from the sentence before it.
_PRONOUN = re.compile(r"(?:this|these|it|they)\s+(?:is|are|remains?|appears?|has|have)\b[\w\s]{0,40}\.?$", re.I)
_LEAD = re.compile(r"^(?:however|in\s+addition|additionally|otherwise|also|furthermore|incidentally),\s*", re.I)

_DENIAL = re.compile(
    r"^(?P<lead>.*?\b)?(?:with\s+)?(?:no|without(?:\s+any)?|free\s+of|negative\s+for)"
    r"(?:\s+(?P<of>(?:evidence|signs?|findings?)\s+of))?\s+(?P<list>.+)$", re.I | re.S
)  # fmt: skip
_NO_DENIAL = re.compile(r"\b(?:no|without)\s+(?:\w+\s+)?change\b|\bno\s+longer\b", re.I)
_GOES_ON = re.compile(r"(?:its?|their|with\s+(?:its|tip)|which|this)\b")
_OPENING = re.compile(r"(?:compared|in\s+comparison|since|as\s+compared)\b[^.]*$")
_SUBJECT_ONLY = re.compile(
    r"^\s*(?:[\w/ ]+:\s*)?(?:there\s+(?:is|are|was|were)|(?:the\s+)?(?:lungs?|lung\s+fields?|chest)\s+(?:show|shows|"
    r"demonstrates?|are|is|reveals?))?\s*$",
    re.I,
)
_OPEN_SUBJECT = re.compile(r"\s*(?:the\s+)?lungs?\s+(?:show|demonstrate)s?$", re.I)
_OPEN_VERB = re.compile(r"\s+(?:is|are|was|were|appears?|which)$", re.I)
_LIST_JOINT = re.compile(r",\s*(?:and/or|and|or|nor)?\s+|\s+(?:and/or|or|nor)\s+|\s+and\s+(?=no\b)", re.I)
_TAIL = re.compile(
    r"\s+(?:(?:is|are|was|were)(?:\s+\w+)*?\s+(?:seen|identified|noted|evident|present|detected|observed|"
    r"visuali[sz]ed|demonstrated|appreciated)"
    r"|(?:is|are)\s+(?:seen|identified|noted|evident|present|detected|observed|visuali[sz]ed|demonstrated|"
    r"appreciated)|seen|identified|noted|evident|present|detected|observed)\s*$", re.I
)  # fmt: skip
_PLACE_ALONE = re.compile(r"^(?:hilar|mediastinal|left|right|upper|lower|pleural|pulmonary|apical)$", re.I)
_QUALITY_ALONE = re.compile(
    r"^(?:acute|focal|suspicious|definite|significant|large|displaced|active|aggressive|destructive)$", re.I
)
_STATE = re.compile(
    r"^(?P<subjects>[^.;:]+?)\s+(?P<state>(?:is|are|appears?|remains?|were|was)\s+(?:to\s+be\s+)?(?:otherwise\s+|"
    r"all\s+|both\s+)?(?:unremarkable|normal|within\s+normal\s+limits|clear|intact|unchanged|stable)\b.*|"
    r"within\s+normal\s+limits)$", re.I
)  # fmt: skip
_JOINT = re.compile(r",\s*(?:and\s+)?|\s+and\s+|\s*&\s*", re.I)
_NEW_FINDING = re.compile(
    r",?\s+(?:and|with)\s+(?=(?:an?|there|no|the|new|small|mild|moderate|large|tiny|trace|left|right|bilateral|"
    r"stable)\b)|;\s*",
    re.I,
)
_ORGAN_ALONE = re.compile(r"\b(?:cardiac|mediastinal|hilar|osseous|pulmonary)$", re.I)
_PLURAL_VERBS = {"are": "is", "were": "was", "appear": "appears", "remain": "remains"}
_SHARED_NOUN = re.compile(r"\b(silhouettes?|contours?|structures?|shadows?)\s*$", re.I)


def split_report(text: str) -> list[str]:
    """The phrases of a report in order, without those that say nothing about the image."""
    phrases: list[str] = []
    for span in sentence_spans(lower_case(text)):
        phrases += _phrases_of_sentence(" ".join(text[slice(*span)].split()))
    return list(dict.fromkeys(phrases))


def grounded_phrases(sentences: Iterable[GroundedSentence]) -> list[GroundedPhrase]:
    """The findings of a grounded report as phrases, as they stand."""
    return [GroundedPhrase.of(sentence) for sentence in sentences]


def _phrases_of_sentence(sentence: str) -> list[str]:
    sentence = _LEAD.sub("", sentence)
    lowered = sentence.lower()
    if _NOTHING.match(lowered) or _NOT_SEEN_IN_IMAGE.search(lowered):
        return []
    if _PRONOUN.match(sentence) and not read_report(sentence):
        return []
    tail = _SPECULATION.search(lowered)
    if tail is not None:
        if not _says_something(lowered[: tail.start()]):
            return [_closed(sentence)]  # "opacity may represent …" without anything before: kept rather than lost
        sentence = _OPEN_VERB.sub("", sentence[: tail.start()])
    return [_closed(piece) for piece in split_phrase(sentence)]


def _says_something(words: str) -> bool:
    return len(re.findall(r"[a-z]{3,}", words)) >= 2


def _closed(phrase: str) -> str:
    """With a capital letter and a full stop."""
    phrase = phrase.strip(" ,;")
    return (phrase[:1].upper() + phrase[1:]).rstrip(" .") + "."


@lru_cache(maxsize=65536)
def split_phrase(phrase: str) -> tuple[str, ...]:
    """A phrase cut into pieces that speak of one thing each; nothing is left out."""
    phrase = " ".join(phrase.split()).strip(" .")
    lowered = lower_case(phrase)
    pieces: list[str] = []
    for clause in _clauses(phrase, lowered):
        pieces += _split_clause(clause)
    return tuple(piece for piece in pieces if re.search(r"\w", piece))


def _clauses(phrase: str, lowered: str) -> list[str]:
    """The clauses; one that cannot stand alone ("and its tip is …", "compared to before, …") stays with another."""
    clauses: list[str] = []
    start = 0
    for begin, end in clause_spans(lowered, (0, len(phrase))):
        if clauses and _GOES_ON.match(lowered[begin:end].strip(" ,")):
            clauses[-1] = phrase[start:end].strip(" ,")
        elif (clauses and not _says_something(lowered[start:begin])) or _OPENING.match(
            lowered[start:begin].strip(" ,")
        ):
            clauses = [*clauses[:-1], phrase[start:end].strip(" ,")]
        else:
            clauses.append(phrase[begin:end].strip(" ,"))
            start = begin
    return clauses


def _split_clause(clause: str) -> Iterator[str]:
    denial = _DENIAL.match(clause)
    if denial is not None and not _NO_DENIAL.search(clause):
        lead = (denial["lead"] or "").strip(" ,")
        items = _items(denial["list"])
        if not _SUBJECT_ONLY.match(lead) and _says_something(lead.lower()) and _is_statement(lead):
            yield from _split_affirmed(_OPEN_SUBJECT.sub("", lead))
            lead = ""
        elif len(items) == 1:
            yield clause
            return
        lead = lead if _SUBJECT_ONLY.match(lead) is None else ""
        no = f"no {denial['of'] or ''}".strip()
        yield from (f"{lead} {no} {item}".strip() for item in items)
        return
    yield from _split_affirmed(clause)


def _is_statement(lead: str) -> bool:
    """Whether the words before "no" or "without" say something of their own."""
    return bool(re.search(r"\b(?:is|are|appears?|remains?|there)\b", lead, re.I)) or bool(read_report(lead))


def _items(listed: str) -> list[str]:
    """The items of a denied list; an adjective alone borrows the noun of the item after it."""
    tail = _TAIL.search(listed)
    end = f" {tail.group().strip()}" if tail else ""
    body = listed[: tail.start()] if tail else listed
    items: list[str] = []
    for item in (part.strip() for part in _LIST_JOINT.split(body)):
        if items and _QUALITY_ALONE.match(items[-1]):  # "acute or suspicious lesion" is one
            items[-1] = f"{items[-1]} or {item}"
        elif item:
            items.append(item)
    named: list[str] = []
    noun = ""
    for item in reversed(items):
        alone = _PLACE_ALONE.match(item) is not None
        named.append(f"{item} {noun}{end}" if alone else f"{item}{end}")
        noun = noun if alone else item.split()[-1]
    return named[::-1]


def _split_affirmed(clause: str) -> Iterator[str]:
    state = _STATE.match(clause)
    if state is not None:
        subjects = [part.strip() for part in _JOINT.split(state["subjects"]) if part.strip()]
        if len(subjects) > 1 and all(len(part.split()) <= 4 for part in subjects):
            noun = _SHARED_NOUN.search(subjects[-1])
            article = "the " if subjects[0].lower().startswith("the ") else ""
            for place, part in enumerate(subjects):
                if place and not part.lower().startswith("the "):
                    part = article + part
                shared = f" {noun.group(1).removesuffix('s')}" if noun and _ORGAN_ALONE.search(part) else ""
                yield _in_number(f"{part}{shared}", state["state"])
            return
    start = 0
    for joint in _NEW_FINDING.finditer(clause):
        before, after = clause[start : joint.start()], clause[joint.end() :]
        if read_report(before) and read_report(after.partition(",")[0]):
            yield before
            start = joint.end()
    yield clause[start:]


def _in_number(subject: str, state: str) -> str:
    """A subject that was one of several, with the verb of one if it is one."""
    if not subject.endswith(("s", "hila", "fields")):
        verb, space, rest = state.partition(" ")
        state = _PLURAL_VERBS.get(verb.lower(), verb) + space + rest
    elif len(subject) > 10 and subject.lower().endswith(("silhouettes", "contours")):
        subject = subject.removesuffix("s")
        return _in_number(subject, state)
    return f"{subject} {state}"
