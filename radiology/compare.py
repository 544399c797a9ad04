"""What one report says that another does not: findings added, removed, flipped and changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from radiology.findings import STATUS_RANK, Finding, read_report, sides_of
from radiology.findings_text import lower_case, sentence_spans

#: What can differ between two findings of the same status.
_COMPARED = ("side", "location", "severity", "change", "placement")


@dataclass(frozen=True, slots=True)
class FindingChange:
    """The same finding in both reports, and the names of the fields that differ."""

    before: Finding
    after: Finding
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReportChange:
    """The difference between two reports.

    ``added`` / ``removed``: findings that only the later / the earlier report speaks of, whatever it says of them.
    ``flipped``: findings of both reports whose status differs (present, absent, uncertain). ``changed``: findings of
    equal status that differ in side, location, severity, change or placement. A finding on both sides counts once a
    side.
    ``added_sentences`` / ``removed_sentences`` differ in wording; spacing and case do not count.
    """

    added: tuple[Finding, ...] = ()
    removed: tuple[Finding, ...] = ()
    flipped: tuple[FindingChange, ...] = ()
    changed: tuple[FindingChange, ...] = ()
    added_sentences: tuple[str, ...] = ()
    removed_sentences: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether the reports differ in anything, a wording included."""
        return self.findings_differ or bool(self.added_sentences or self.removed_sentences)

    @property
    def findings_differ(self) -> bool:
        """Whether the reports differ in what they say, wording aside."""
        return bool(self.added or self.removed or self.flipped or self.changed)


def compare(before: str, after: str) -> ReportChange:
    """Compare two reports of the same study, e.g. without and with steering."""
    then, now = _by_concept(read_report(before)), _by_concept(read_report(after))
    added: list[Finding] = []
    removed: list[Finding] = []
    pairs: list[tuple[Finding, Finding]] = []
    for concept in sorted({*then, *now}):
        matched, only_then, only_now = _match(then.get(concept, {}), now.get(concept, {}))
        pairs += matched
        removed += only_then
        added += only_now
    differing = [FindingChange(old, new, fields) for old, new in pairs if (fields := _differences(old, new))]
    old_sentences, new_sentences = _sentences(before), _sentences(after)
    return ReportChange(
        added=tuple(added),
        removed=tuple(removed),
        flipped=tuple(change for change in differing if "status" in change.fields),
        changed=tuple(change for change in differing if "status" not in change.fields),
        added_sentences=tuple(_left_over(new_sentences, old_sentences)),
        removed_sentences=tuple(_left_over(old_sentences, new_sentences)),
    )


#: The findings of one concept by side; ``""`` is a finding whose side is not told.
_Sides = dict[str, Finding]


def _by_concept(findings: Iterable[Finding]) -> dict[str, _Sides]:
    """One finding a concept and side: the most affirmative that the report holds, of equals the one that tells more."""
    table: dict[str, _Sides] = {}
    for finding in findings:
        for side in sides_of(finding) or ("",):
            sides = table.setdefault(finding.concept, {})
            known = sides.get(side)
            if known is None or _weight(finding) > _weight(known):
                sides[side] = replace(finding, side=side or None)
    return table


def _weight(finding: Finding) -> tuple[int, int, list[str], str]:
    """How much a finding counts among those of its concept and side; the order of the sentences does not matter."""
    told = [getattr(finding, name) or "" for name in _COMPARED if name != "side"]
    return STATUS_RANK[finding.status], len([text for text in told if text]), told, finding.sentence


def _match(then: _Sides, now: _Sides) -> tuple[list[tuple[Finding, Finding]], list[Finding], list[Finding]]:
    """Pair the findings of one concept: same side first, then a moved or newly told side, then a general "no"."""
    pairs = [(then[side], now[side]) for side in sorted(then.keys() & now.keys())]
    only_then, only_now = sorted(then.keys() - now.keys()), sorted(now.keys() - then.keys())
    while only_then and only_now:
        pairs.append((then[only_then.pop(0)], now[only_now.pop(0)]))
    rest_then, rest_now = [then[side] for side in only_then], [now[side] for side in only_now]
    if (denied := _general_denial(now)) is not None:
        pairs += [(finding, denied) for finding in rest_then]
        rest_then = []
    if (denied := _general_denial(then)) is not None:
        pairs += [(denied, finding) for finding in rest_now]
        rest_now = []
    return pairs, rest_then, rest_now


def _general_denial(sides: _Sides) -> Finding | None:
    """The finding that denies a concept on both sides, if any."""
    finding = sides.get("")
    return finding if finding is not None and finding.status == "absent" else None


def _differences(old: Finding, new: Finding) -> tuple[str, ...]:
    if old.status != new.status:
        return ("status", *(name for name in _COMPARED if _differ(name, old, new)))
    compared = ("change",) if old.status == "absent" else _COMPARED
    return tuple(name for name in compared if _differ(name, old, new))


def _differ(name: str, old: Finding, new: Finding) -> bool:
    if name == "placement":  # a device without further words is taken to be where it belongs
        return (old.placement == "misplaced") != (new.placement == "misplaced")
    return bool(getattr(old, name) != getattr(new, name))


def _sentences(text: str) -> list[str]:
    return [" ".join(text[slice(*span)].split()) for span in sentence_spans(lower_case(text))]


def _left_over(sentences: list[str], others: list[str]) -> Iterator[str]:
    """Sentences beyond those that ``others`` hold as well, each as often as it is in excess."""
    known = Counter(sentence.lower() for sentence in others)
    for sentence in sentences:
        if known[sentence.lower()] > 0:
            known[sentence.lower()] -= 1
        else:
            yield sentence
