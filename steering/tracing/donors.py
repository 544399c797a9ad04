"""Pairs from any set of studies: a recipient without the finding and a donor with it, whose prompts line up.

Two patients differ in more than one finding, so their own reports would be a poor ruler. Both reports of a pair are
therefore the recipient's, which differ in one sentence: it says that the finding is not there, or, in the donor's own
words, that it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from radiology.findings import Finding, read_report, statuses
from radiology.findings_text import sentence_spans
from radiology.study import Study
from steering.errors import SteeringError
from steering.reading import Reading, related, report_reader
from steering.tracing.pairs import Pair, same_prompt

#: So many candidates a side are kept for each pair that is wanted.
_SPARE = 4


def donor_pairs(studies: Iterable[Study], keys: Sequence[str], n: int, *, seed: int = 0) -> dict[str, list[Pair]]:
    """Up to ``n`` pairs for each finding key, of different patients with the same kinds of images.

    Whether a study has the finding is taken from its labels, and from its report where it has none for the key.

    Args:
        studies: with reports; those without are passed over.

    Raises:
        SteeringError: a key for which no pair was found, with what was missing.
    """
    pools = {key: _Pool([], [], Counter()) for key in keys}
    for study in studies:
        if study.report is None or not study.images:
            continue
        sentences = [(text, read_report(text)) for text in sentences_of(study.report)]
        for key, pool in pools.items():
            pool.add(study, sentences, key, _SPARE * n)
    out = {}
    for key, pool in pools.items():
        found = list(_paired(pool, key, n, np.random.default_rng(seed)))
        if not found:
            raise SteeringError(
                f"pairs of {key!r}: no donor fits ({len(pool.without)} studies without it, {len(pool.donors)} with a "
                "sentence that says it is there); give more studies with reports, of the same kinds of images"
            )
        out[key] = found
    return out


def sentences_of(report: str) -> list[str]:
    """The sentences of a report, spelled as they are."""
    return [" ".join(report[slice(*span)].split()) for span in sentence_spans(report)]


def contrast(report: str, negative: str | None, positive: str, key: str, place_share: float = 1.0) -> tuple[str, str]:
    """Two versions of a report: one that denies the finding and one that states it, else equal.

    What the report itself says of the finding makes place for the sentence. If it says nothing, the sentence comes
    ``place_share`` of the way through the report, and nobody denies it: the first version is the report itself, as it
    is without ``negative``.
    """
    kept: list[str] = []
    place: int | None = None
    for sentence in sentences_of(report):
        if any(related(key, name) for name in report_reader(sentence).findings):
            place = len(kept) if place is None else place
        else:
            kept.append(sentence)
    if place is None:
        negative, place = None, round(place_share * len(kept))

    def with_sentence(sentence: str) -> str:
        return " ".join([*kept[:place], sentence, *kept[place:]])

    return report if negative is None else with_sentence(negative), with_sentence(positive)


@dataclass
class _Pool:
    """Studies of both sides, donors with their sentence and its place, and how often each plain denial was written."""

    without: list[Study]
    donors: list[tuple[Study, str, float]]
    denials: Counter[str]

    def add(self, study: Study, sentences: list[tuple[str, list[Finding]]], key: str, most: int) -> None:
        alone = [(text, _says(statuses(found), key)) for text, found in sentences if _only(found, key)]
        self.denials.update(text for text, status in alone if status == "absent")
        places = {text: number / len(sentences) for number, (text, _) in enumerate(sentences)}
        stated = [text for text, status in alone if status == "present"]
        status = (study.labels or {}).get(key) or _of_report([statuses(found) for _, found in sentences], key)
        if status == "present" and stated and len(self.donors) < most:
            self.donors.append((study, stated[0], places[stated[0]]))
        elif status == "absent" and len(self.without) < most:
            self.without.append(study)


def _says(found: Mapping[str, str], key: str) -> str | None:
    """What a sentence says of a key; a side is absent where the whole finding is."""
    reading = Reading(found, True)
    concept = reading.status(key.split(":")[0])
    return reading.status(key) or ("absent" if concept == "absent" else None)


def _only(found: list[Finding], key: str) -> bool:
    """Whether a sentence speaks of this finding and of no other, and of no change that wants an earlier picture."""
    names = statuses(found)
    return bool(names) and all(related(key, name) for name in names) and not any(one.change for one in found)


def _of_report(sentences: list[dict[str, str]], key: str) -> str:
    """``present`` if any sentence says so, ``uncertain`` if one hedges, else ``absent``: not named is not there."""
    stated = {_says(found, key) for found in sentences}
    return next((status for status in ("present", "uncertain") if status in stated), "absent")


def _paired(pool: _Pool, key: str, n: int, rng: np.random.Generator) -> Iterator[Pair]:
    denial = pool.denials.most_common(1)[0][0] if pool.denials else None
    left = [pool.donors[number] for number in rng.permutation(len(pool.donors))]
    made = 0
    for recipient in pool.without:
        if made == n:
            return
        fits = (i for i, (donor, _, _) in enumerate(left) if _line_up(recipient, donor))
        chosen = next(fits, None)
        if chosen is None:
            continue
        donor, stated, place = left.pop(chosen)
        without, with_it = contrast(recipient.report or "", denial, stated, key, place)
        yield same_prompt((replace(recipient, report=without), replace(donor, report=with_it)))
        made += 1


def _line_up(recipient: Study, donor: Study) -> bool:
    return recipient.patient_id != donor.patient_id and set(recipient.images) == set(donor.images)
