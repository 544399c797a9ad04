"""Hard negatives: contexts in which a feature is quiet although they look like those in which it fires.

With random negatives only, "no effusion" passes as "effusion". A quiet context is hard in one of three ways
(:class:`~autointerp.schema.Hardness`): it tells the same finding with another polarity, its text is nearly the same, or
the features that usually fire together with this one do fire there. The first catches labels without polarity, the
second labels that name what surrounds the finding, the third labels of what a whole group of features has in common.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from autointerp.catalogue import Catalogue
from autointerp.schema import Hardness

#: A reading is what a feature may be about when it is this much more frequent where the feature fires.
MIN_LIFT = 0.2
#: The order in which the ways to be hard take places: two thirds of them go to the other polarity, where it is told.
TURNS: tuple[Hardness, ...] = (
    *(Hardness.OTHER_POLARITY, Hardness.OTHER_POLARITY, Hardness.NEAREST_TEXT),
    *(Hardness.OTHER_POLARITY, Hardness.OTHER_POLARITY, Hardness.CO_FIRING),
)
Ranking = dict[Hardness, np.ndarray]


def rank_sentences(
    catalogue: Catalogue, firing_docs: np.ndarray, quiet_docs: np.ndarray, noise_q: np.ndarray
) -> Ranking:
    """Places among q quiet sentences, hardest first: those of another polarity, and the others, by nearness of words.

    Nearness is the cosine of tf-idf weights with the mean of the firing sentences. Sentences in the very words of a
    firing one are left out: they show that words are not all, but they cannot tell two labels apart. (Random negatives
    keep them.)

    Args:
        firing_docs, quiet_docs: documents of the firing and of the quiet sentences.
        noise_q: (q,) numbers in [0, 1) that break ties.
    """
    target = np.asarray(catalogue.words[firing_docs].mean(axis=0)).reshape(-1)
    near_q = catalogue.words[quiet_docs] @ target + 1e-6 * noise_q
    order = np.argsort(-near_q, kind="stable")
    same_words = np.isin(catalogue.duplicate[quiet_docs], catalogue.duplicate[firing_docs])
    order = order[~same_words[order]]
    contradicts = _contradicts(catalogue, firing_docs, quiet_docs)[order]
    return {Hardness.OTHER_POLARITY: order[contradicts], Hardness.NEAREST_TEXT: order[~contradicts]}


def rank_images(
    catalogue: Catalogue,
    firing_docs: np.ndarray,
    quiet_docs: np.ndarray,
    quiet_studies: np.ndarray,
    noise_q: np.ndarray,
    n: int,
) -> Ranking:
    """Up to n of q quiet images: for each firing image in turn, the quiet one whose other findings match it best.

    "Other" leaves out the concept that tells firing and quiet apart most; an image whose report tells another status
    of that concept is of the other polarity. No study is used twice. Images whose findings are unknown on either side
    are left out.
    """
    firing_docs = firing_docs[catalogue.known[firing_docs]]
    usable = np.flatnonzero(catalogue.known[quiet_docs])
    if len(firing_docs) == 0 or len(usable) == 0 or not catalogue.keys:
        return {}
    firing_pk, quiet_qk = catalogue.sees[firing_docs], catalogue.sees[quiet_docs[usable]]
    lift_k = firing_pk.mean(axis=0) - quiet_qk.mean(axis=0)
    if lift_k.max() >= MIN_LIFT:
        others = catalogue.key_concepts != catalogue.key_concepts[lift_k.argmax()]
        firing_pk, quiet_qk = firing_pk[:, others], quiet_qk[:, others]
    distance_pq = firing_pk.sum(axis=1)[:, None] + quiet_qk.sum(axis=1)[None] - 2 * firing_pk @ quiet_qk.T
    distance_pq = distance_pq + 0.5 * noise_q[usable]
    chosen: list[int] = []
    free = np.ones(len(usable), dtype=bool)
    for turn in range(n):
        if not free.any():
            break
        best = int(np.where(free, distance_pq[turn % len(distance_pq)], np.inf).argmin())
        chosen.append(int(usable[best]))
        free &= quiet_studies[usable] != quiet_studies[usable[best]]
    order = np.array(chosen, dtype=np.int64)
    contradicts = _contradicts(catalogue, firing_docs, quiet_docs)[order]
    return {Hardness.OTHER_POLARITY: order[contradicts], Hardness.NEAREST_TEXT: order[~contradicts]}


def rank_co_firing(company_q: np.ndarray, same_as_firing_q: np.ndarray, noise_q: np.ndarray) -> np.ndarray:
    """Places among q quiet contexts in which some of a feature's usual company fires, most of it first.

    Args:
        company_q: how much of it fires, 0 for none.
        same_as_firing_q: (q,) bool; contexts that say the same as a firing one are left out.
    """
    order = np.argsort(-(company_q + 1e-6 * noise_q), kind="stable")
    return order[(company_q[order] > 0) & ~same_as_firing_q[order]]


def take_in_turns(ranking: Mapping[Hardness, np.ndarray], same_q: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Up to n places and their hardness, each way to be hard taking the best that is left in its turn.

    Args:
        ranking: for each way, places among q quiet contexts, hardest first; a way that has none left passes.
        same_q: contexts of equal value say the same, and only the first of them is taken.
    """
    left = {hardness: iter(order.tolist()) for hardness, order in ranking.items()}
    places: list[int] = []
    ways: list[str] = []
    seen: set[int] = set()
    while left and len(places) < n:
        for hardness in TURNS:
            place = next((p for p in left.get(hardness, ()) if int(same_q[p]) not in seen), None)
            if place is None:
                left.pop(hardness, None)
            elif len(places) < n:
                seen.add(int(same_q[place]))
                places.append(place)
                ways.append(hardness.value)
    return np.array(places, dtype=np.int64), np.array(ways, dtype=object)


def _contradicts(catalogue: Catalogue, firing_docs: np.ndarray, quiet_docs: np.ndarray) -> np.ndarray:
    """(q,) bool: which quiet contexts tell another status of the concept that marks the firing ones, not its own."""
    quiet_qa = catalogue.says[quiet_docs]
    nothing = np.zeros(len(quiet_docs), dtype=bool)
    if not catalogue.readings or len(firing_docs) == 0:
        return nothing
    lift = catalogue.says[firing_docs].mean(axis=0) - quiet_qa.mean(axis=0)
    best = int(lift.argmax())
    if lift[best] < MIN_LIFT:
        return nothing
    mark = catalogue.readings[best]
    same_concept = np.array([reading.concept == mark.concept for reading in catalogue.readings])
    same_status = np.array([reading.status == mark.status for reading in catalogue.readings])
    says_other = quiet_qa[:, same_concept & ~same_status].any(axis=1)
    says_same = quiet_qa[:, same_concept & same_status].any(axis=1)
    return says_other & ~says_same
