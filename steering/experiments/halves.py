"""Two halves of the patients: one to choose on, the other to report."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256


def select_half(patients: Iterable[str], seed: int = 0) -> frozenset[str]:
    """Half of the patients (the larger where they are odd), the same ones whatever their order."""
    ranked = sorted(set(patients), key=lambda patient: sha256(f"{seed}:{patient}".encode()).digest())
    return frozenset(ranked[: (len(ranked) + 1) // 2])
