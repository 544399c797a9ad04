"""Hard negatives: contexts in which a feature is quiet although they look like those in which it fires.

With random negatives only, "no effusion" passes as "effusion". A quiet context is hard in one of three ways
(:class:`~autointerp.schema.Hardness`): it tells the same finding with another polarity, its text is nearly the same, or
the features that usually fire together with this one do fire there. The first catches labels without polarity, the
second labels that name what surrounds the finding, the third labels of what a whole group of features has in common.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from autointerp.catalogue import Catalogue
from autointerp.keys import first_of_each, is_among
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
    share_d = np.bincount(firing_docs, minlength=catalogue.words.shape[0]) / max(len(firing_docs), 1)
    near_q = (catalogue.words @ (catalogue.word_documents @ share_d))[quiet_docs] + 1e-6 * noise_q
    other_words = np.flatnonzero(~is_among(catalogue.duplicate[quiet_docs], catalogue.duplicate[firing_docs]))
    order = other_words[np.argsort(-near_q[other_words])]
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
    counts_k = np.ones(len(lift_k), dtype=np.float32)
    if lift_k.max() >= MIN_LIFT:
        counts_k[catalogue.key_concepts == catalogue.key_concepts[lift_k.argmax()]] = 0.0
    firing_pk = firing_pk[:n] * counts_k
    distance_pq = firing_pk.sum(axis=1)[:, None] + (quiet_qk @ counts_k)[None] - 2 * firing_pk @ quiet_qk.T
    distance_pq = distance_pq + 0.5 * noise_q[usable]
    studies, taken_q = quiet_studies[usable], np.zeros(len(usable))
    chosen: list[int] = []
    for turn in range(n):
        best = int((distance_pq[turn % len(distance_pq)] + taken_q).argmin())
        if taken_q[best]:
            break
        chosen.append(best)
        taken_q[studies == studies[best]] = np.inf
    order = usable[chosen]
    contradicts = _contradicts(catalogue, firing_docs, quiet_docs)[order]
    return {Hardness.OTHER_POLARITY: order[contradicts], Hardness.NEAREST_TEXT: order[~contradicts]}


def rank_co_firing(company_q: np.ndarray, same_as_firing_q: np.ndarray, noise_q: np.ndarray) -> np.ndarray:
    """Places among q quiet contexts in which some of a feature's usual company fires, most of it first.

    Args:
        company_q: how much of it fires, 0 for none.
        same_as_firing_q: (q,) bool; contexts that say the same as a firing one are left out.
    """
    some = np.flatnonzero((company_q > 0) & ~same_as_firing_q)
    return some[np.argsort(-(company_q + 1e-6 * noise_q)[some])]


def take_in_turns(ranking: Mapping[Hardness, np.ndarray], same_q: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Up to n places and their hardness, each way to be hard taking the best that is left in its turn.

    Args:
        ranking: for each way, places among q quiet contexts, hardest first; a way that has none left passes.
        same_q: contexts of equal value say the same, and only the first of them is taken.
    """
    left = {hardness: _firsts(order, same_q, n) for hardness, order in ranking.items()}
    places: list[int] = []
    ways: list[str] = []
    seen: set[int] = set()
    while left and len(places) < n:
        for hardness in TURNS:
            found = next((one for one in left.get(hardness, ()) if one[1] not in seen), None)
            if found is None:
                left.pop(hardness, None)
            elif len(places) < n:
                seen.add(found[1])
                places.append(found[0])
                ways.append(hardness.value)
    return np.array(places, dtype=np.int64), np.array(ways, dtype=object)


def _firsts(order: np.ndarray, same_q: np.ndarray, n: int) -> Iterator[tuple[int, int]]:
    """The places of a ranking that can be taken, with what they say: the first of those that say the same.

    At most n are taken, and at most n are passed because another way took them; the tail is not looked at.
    """
    for head in (order[: 8 * n], order):
        firsts = first_of_each(same_q[head])[: 2 * n]
        if len(firsts) == 2 * n or len(head) == len(order):
            break
    places = head[firsts]
    return zip(places.tolist(), same_q[places].tolist(), strict=True)


def _contradicts(catalogue: Catalogue, firing_docs: np.ndarray, quiet_docs: np.ndarray) -> np.ndarray:
    """(q,) bool: which quiet contexts tell another status of the concept that marks the firing ones, not its own."""
    if not catalogue.readings or len(firing_docs) == 0 or len(quiet_docs) == 0:
        return np.zeros(len(quiet_docs), dtype=bool)
    n_documents = len(catalogue.says)
    quiet_d = np.bincount(quiet_docs, minlength=n_documents) / len(quiet_docs)
    firing_d = np.bincount(firing_docs, minlength=n_documents) / len(firing_docs)
    lift = catalogue.documents_saying @ (firing_d - quiet_d)
    best = int(lift.argmax())
    if lift[best] < MIN_LIFT:
        return np.zeros(len(quiet_docs), dtype=bool)
    return catalogue.contradicting(best)[quiet_docs]
