"""Hard negatives: contexts in which a feature is quiet although they look like those in which it fires.

With random negatives only, "no effusion" passes as "effusion". So a sentence is hard when it speaks of the same finding
with another polarity, or in nearly the same words; an image is hard when the rest of its report says the same.
"""

from __future__ import annotations

import numpy as np

from autointerp.catalogue import Catalogue

#: A reading is what a feature may be about when it is this much more frequent where the feature fires.
_MIN_LIFT = 0.2


def hard_sentences(
    catalogue: Catalogue, firing_docs: np.ndarray, quiet_docs: np.ndarray, noise_q: np.ndarray
) -> np.ndarray:
    """Order of q quiet sentences, hardest first: same finding with another polarity, then nearest by words.

    Sentences in the very words of a firing one are left out: they show that words are not all, but they cannot tell
    two labels apart. (Random negatives keep them.)

    Args:
        firing_docs, quiet_docs: documents of the firing and of the quiet sentences.
        noise_q: (q,) numbers in [0, 1) that break ties.
    """
    target = np.asarray(catalogue.words[firing_docs].mean(axis=0)).reshape(-1)
    score_d = catalogue.words @ target + _contradicts(catalogue, firing_docs, quiet_docs)
    score = score_d[quiet_docs] + 1e-6 * noise_q
    same_words = np.isin(catalogue.duplicate[quiet_docs], catalogue.duplicate[firing_docs])
    order = np.argsort(-score, kind="stable")
    return order[~same_words[order]]


def hard_images(
    catalogue: Catalogue,
    firing_docs: np.ndarray,
    quiet_docs: np.ndarray,
    quiet_studies: np.ndarray,
    noise_q: np.ndarray,
    n: int,
) -> np.ndarray:
    """Up to n of q quiet images: for each firing image in turn, the quiet one whose other findings match it best.

    "Other" leaves out the concept that tells firing and quiet apart most. No study is used twice. Images whose findings
    are unknown on either side are left out.
    """
    firing_docs = firing_docs[catalogue.known[firing_docs]]
    usable = np.flatnonzero(catalogue.known[quiet_docs])
    if len(firing_docs) == 0 or len(usable) == 0 or not catalogue.keys:
        return np.empty(0, dtype=np.int64)
    firing_pk, quiet_qk = catalogue.sees[firing_docs], catalogue.sees[quiet_docs[usable]]
    lift_k = firing_pk.mean(axis=0) - quiet_qk.mean(axis=0)
    concepts = np.array([key.partition(":")[0] for key in catalogue.keys])
    if lift_k.max() >= _MIN_LIFT:
        others = concepts != concepts[lift_k.argmax()]
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
    return np.array(chosen, dtype=np.int64)


def _contradicts(catalogue: Catalogue, firing_docs: np.ndarray, quiet_docs: np.ndarray) -> np.ndarray:
    """(D,) 2 where a document says another status of the concept that marks the firing ones, else 0."""
    says_da = catalogue.says
    if not catalogue.readings:
        return np.zeros(len(says_da))
    n_quiet_d = np.bincount(quiet_docs, minlength=len(says_da)).astype(np.float32)
    lift = says_da[firing_docs].mean(axis=0) - n_quiet_d @ says_da / max(len(quiet_docs), 1)
    best = int(lift.argmax())
    if lift[best] < _MIN_LIFT:
        return np.zeros(len(says_da))
    mark = catalogue.readings[best]
    same_concept = np.array([reading.concept == mark.concept for reading in catalogue.readings])
    same_status = np.array([reading.status == mark.status for reading in catalogue.readings])
    says_other = says_da[:, same_concept & ~same_status].any(axis=1)
    says_same = says_da[:, same_concept & same_status].any(axis=1)
    return np.where(says_other & ~says_same, 2.0, 0.0)
