"""Which sentences are near-duplicates: nearly the same words, and the same findings told."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import ceil

import numpy as np

#: Sentences are near-duplicates from this Jaccard index of their meaningful words on.
MIN_LIKENESS = 0.8


def near_duplicates(words: Sequence[tuple[str, ...]], told: Sequence[Hashable]) -> np.ndarray:
    """(n,) int64: a number for each text, equal for near-duplicates.

    A text joins the first earlier one that tells the same and has nearly the same words; if there is none, later ones
    may join it. "No" and "not" are words, but in a long sentence they are one of many, so likeness alone would take
    opposites for the same: texts that tell different findings are never near-duplicates.

    Two sets of Jaccard index ≥ t share one of the n − ⌈t · n⌉ + 1 rarest words of either, so that only texts with such
    a word in common are compared (Chaudhuri, Ganti and Kaushik, ICDE 2006).

    Args:
        words: distinct words of each text; a text without words is like nothing but itself.
        told: what each text tells.
    """
    group = np.empty(len(words), dtype=np.int64)
    rarity = _rarity(words)
    same: dict[Hashable, int] = {}
    leaders: list[frozenset[str]] = []
    index: dict[Hashable, list[int]] = {}
    for number, (own, tells) in enumerate(zip(words, told, strict=True)):
        key = (own, tells) if own else (number,)
        if key in same:
            group[number] = same[key]
            continue
        ordered = sorted(own, key=rarity.__getitem__)
        rarest = ordered[: len(ordered) - ceil(MIN_LIKENESS * len(ordered)) + 1]
        mine = frozenset(own)
        candidates = sorted({leader for word in rarest for leader in index.get((tells, word), ())})
        found = next((leader for leader in candidates if _jaccard(mine, leaders[leader]) >= MIN_LIKENESS), None)
        if found is None:
            found = len(leaders)
            leaders.append(mine)
            for word in rarest:
                index.setdefault((tells, word), []).append(found)
        group[number] = same[key] = found
    return group


def _rarity(words: Sequence[tuple[str, ...]]) -> dict[str, tuple[int, str]]:
    """A key by which words can be sorted, rarest first."""
    counts: dict[str, int] = {}
    for own in words:
        for word in own:
            counts[word] = counts.get(word, 0) + 1
    return {word: (count, word) for word, count in counts.items()}


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / max(len(one | other), 1)
