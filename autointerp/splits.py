"""Which contexts may be used to explain and which to score: decided by patient, never by context."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from autointerp.schema import Split


def split_of(patient_id: str, seed: int = 0) -> Split:
    """The split of a patient, a function of the identifier and the seed alone; about half of the patients each."""
    digest = hashlib.blake2b(f"{seed}:{patient_id}".encode(), digest_size=1).digest()
    return Split.EXPLAIN if digest[0] % 2 == 0 else Split.SCORE


def in_split(patient_ids: Sequence[str], split: Split, seed: int = 0) -> np.ndarray:
    """(n,) bool: which of the patients are in ``split``."""
    return np.array([split_of(patient, seed) is split for patient in patient_ids], dtype=bool)
