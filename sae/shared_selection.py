"""BatchTopK over a batch, or a dictionary, that several processes hold in parts: exactly the choice of one process.

Each process offers the candidates of its part, the values of all candidates are gathered (a little more than k · B
numbers), and every process finds the same cut in them. Ties at the cut go to the lower position in the (B, F) matrix
that one process would have, as in `sae.selection`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from sae.activation_functions import BatchTopK
from sae.peers import Peers
from sae.selection import Selection, select_largest

_MARGIN = 0.9
Positions = Callable[[torch.Tensor, int], torch.Tensor]


class SharedBatchTopK(BatchTopK):
    """Keeps the round(k · B) largest positive entries over all processes.

    Args:
        parts: how many processes share the rows: B is so many times the rows at hand.
        positions: from flat positions in the matrix at hand, and its width, to those in the whole matrix.
    """

    def __init__(self, peers: Peers, parts: int, positions: Positions) -> None:
        super().__init__()
        self._peers, self._parts, self._positions = peers, parts, positions

    def select(self, pre_nf: torch.Tensor, k: float, log_threshold: torch.Tensor | None = None) -> Selection:
        count = max(1, round(k * len(pre_nf) * self._parts))
        flat = self._candidates(pre_nf, count)
        values = pre_nf.reshape(-1)[flat]
        everywhere = torch.cat(self._peers.gather(values))
        excess = len(everywhere) - count
        if excess <= 0:
            cut = everywhere.min() if len(everywhere) else None
        else:
            cut = torch.kthvalue(everywhere, excess + 1).values
            room = count - int((everywhere > cut).sum())
            flat = flat[self._kept(flat, values, cut, room, int((everywhere == cut).sum()), pre_nf.shape[1])]
        self._hint = None if cut is None else float(cut)
        return Selection(flat, pre_nf.reshape(-1)[flat], cut)

    def _candidates(self, pre_nf: torch.Tensor, count: int) -> torch.Tensor:
        """Rising flat positions that hold all of this process's part of the answer."""
        if self._hint is not None and self._hint > 0:
            # The same bound everywhere: enough candidates together are enough.
            found = torch.nonzero(pre_nf.reshape(-1) > _MARGIN * self._hint).squeeze(1)
            if sum(self._peers.each(len(found))) >= count:
                return found
        return select_largest(pre_nf, count).flat

    def _kept(
        self, flat: torch.Tensor, values: torch.Tensor, cut: torch.Tensor, room: int, ties: int, width: int
    ) -> torch.Tensor:
        """Mask of the candidates above the cut, and of those at it that come first in the whole matrix."""
        if ties <= room:
            return values >= cut
        kept = values > cut
        tied = torch.nonzero(values == cut).squeeze(1)
        places = self._positions(flat[tied], width)
        last = torch.kthvalue(torch.cat(self._peers.gather(places)), room).values
        kept[tied[places <= last]] = True
        return kept
