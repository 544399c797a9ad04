"""Proof that steering happened: calls, tokens by role, and the size of the change, exactly counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from activations.models.base import Generation, ModelInputs
from activations.roles import Role
from steering.interventions.positions import Places

#: Columns that a log keeps ready for the next steps.
_SPARE = 64


@dataclass(frozen=True)
class Proof:
    """What one hook did, in one study or in all of a ``with`` block.

    Attributes:
        site: where.
        calls: forward calls in which the hook ran.
        tokens: role → tokens whose residual is not what it was, each counted once. Padding and steps after the end of a
            report do not count; with beams every beam's token counts.
        delta_norm: sum over these tokens of the L2 norm of the change.
        sites: where several sites were steered, the proof of each; then the rest is their sum, and a token counts once
            a site.
    """

    site: str
    calls: int = 0
    tokens: dict[str, int] = field(default_factory=dict)
    delta_norm: float = 0.0
    sites: tuple[Proof, ...] = ()

    @property
    def total(self) -> int:
        """Tokens changed."""
        return sum(self.tokens.values())

    def to_json(self) -> dict[str, Any]:
        own = {"site": self.site, "calls": self.calls, "tokens": self.tokens, "delta_norm": self.delta_norm}
        return own | ({"sites": [proof.to_json() for proof in self.sites]} if self.sites else {})

    def __add__(self, other: Proof) -> Proof:
        tokens = dict(self.tokens)
        for role, count in other.tokens.items():
            tokens[role] = tokens.get(role, 0) + count
        sites = tuple(a + b for a, b in zip(self.sites, other.sites, strict=True))
        return Proof(self.site, self.calls + other.calls, tokens, self.delta_norm + other.delta_norm, sites)


def joined(proofs: Sequence[Proof]) -> Proof:
    """The proofs of several sites as one, theirs kept in ``sites``; a single one as it is."""
    if len(proofs) == 1:
        return proofs[0]
    total = sum(proofs[1:], proofs[0])
    return Proof(", ".join(proof.site for proof in proofs), total.calls, total.tokens, total.delta_norm, tuple(proofs))


class ChangeLog:
    """Length of the change of every (row, slot) of one call of ``generate`` or ``forward``; grows by a slot a step."""

    def __init__(self, site: str, inputs: ModelInputs) -> None:
        self._site = site
        self._studies = len(inputs)
        self._width = int(inputs.input_ids_bt.shape[1])
        self._norms = np.zeros((0, self._width))
        self._roles = np.zeros((0, self._width), dtype=np.int16)

    def note(self, places: Places, rows_m: np.ndarray, norms_m: np.ndarray, copies: int) -> None:
        """Remember the change of elements ``places`` (m,), which lie in the rows ``rows_m`` of the output.

        A slot that is computed again (no cache) replaces what was known of it.
        """
        self._make_room(int(places.slot.max(initial=-1)) + 1, copies)
        self._norms[rows_m, places.slot] = norms_m
        self._roles[rows_m, places.slot] = places.role

    def note_step(self, slot: int, norms_b: np.ndarray, copies: int) -> None:
        """The same for one written token of every row."""
        self._make_room(slot + 1, copies)
        self._norms[:, slot] = norms_b
        self._roles[:, slot] = int(Role.REPORT)

    def _make_room(self, slots: int, copies: int) -> None:
        rows = max(self._studies * copies, len(self._norms))
        if rows > len(self._norms) or slots > self._norms.shape[1]:
            columns = max(self._norms.shape[1], slots + _SPARE if slots > self._width else slots)
            grow = ((0, rows - len(self._norms)), (0, columns - self._norms.shape[1]))
            self._norms, self._roles = np.pad(self._norms, grow), np.pad(self._roles, grow)

    def proofs(self, calls: int, written: Sequence[Generation] | None) -> list[Proof]:
        """One proof a study. ``written`` cuts what was computed for a row after its report had ended."""
        copies = max(len(self._norms) // self._studies, 1)
        return [self._proof(i, calls, copies, written[i] if written else None) for i in range(self._studies)]

    def _proof(self, study: int, calls: int, copies: int, written: Generation | None) -> Proof:
        rows = slice(study * copies, (study + 1) * copies)
        norms, roles = self._norms[rows], self._roles[rows]
        if written is not None and copies == 1:
            fed = max(len(written.token_ids) - (not written.finished), 0)  # the last sampled token is never fed
            norms, roles = norms[:, : self._width + fed], roles[:, : self._width + fed]
        counts = {
            role.name.lower(): count for role in Role if (count := int(((roles == int(role)) & (norms > 0)).sum()))
        }
        return Proof(self._site, calls, counts, float(norms.sum()))
