"""Sums over few rows of a table: what replaces a dense product when most of one factor is zero."""

from __future__ import annotations

import torch
from torch.nn import functional


class Workspace:
    """Buffers that live from step to step.

    Large fresh tensors cost a page fault every 4 KB on a CPU; kept ones cost nothing. What a buffer holds is gone when
    the same name is asked for again.
    """

    def __init__(self) -> None:
        self._kept: dict[str, torch.Tensor] = {}

    def get(
        self, name: str, shape: tuple[int, ...], like: torch.Tensor, dtype: torch.dtype | None = None
    ) -> torch.Tensor:
        """An uninitialised tensor of this shape, with like's device, and its type unless dtype says otherwise."""
        dtype = dtype or like.dtype
        size = 1
        for length in shape:
            size *= length
        kept = self._kept.get(name)
        if kept is None or len(kept) < size or kept.dtype != dtype or kept.device != like.device:
            kept = self._kept[name] = torch.empty(size, dtype=dtype, device=like.device)
        return kept[:size].view(shape)


class BagSums:
    """Σ weight · table[index] over bags of consecutive entries, (bags, d), with the gradient for the weights.

    Autograd's backward of the bag takes the dot products without gathering both sides, which is several times faster
    than writing them out.

    Args:
        table: (rows, d).
        index_m: (m,) row of each entry.
        offsets: (bags,) first entry of each bag.
        weights_m: (m,) factor of each entry.
    """

    def __init__(self, table: torch.Tensor, index_m: torch.Tensor, offsets: torch.Tensor, weights_m: torch.Tensor):
        self._weights_m = weights_m.detach().clone().requires_grad_()
        with torch.enable_grad():
            self._sums = bag_sums(table.detach(), index_m, offsets, self._weights_m)
        self.values = self._sums.detach()
        """(bags, d); the backward does not need them, so they may be changed in place."""

    def weights_gradient(self, grad_bd: torch.Tensor) -> torch.Tensor:
        """(m,) gradient of the weights, given that of the sums (bags, d)."""
        return torch.autograd.grad(self._sums, self._weights_m, grad_bd)[0]


def bag_sums(
    table: torch.Tensor, index_m: torch.Tensor, offsets: torch.Tensor, weights_m: torch.Tensor
) -> torch.Tensor:
    """Σ weight · table[index] over each bag of consecutive entries, (bags, d)."""
    return functional.embedding_bag(index_m, table, offsets, mode="sum", per_sample_weights=weights_m)


def row_dots(table: torch.Tensor, index_m: torch.Tensor, rows_nd: torch.Tensor, rows_m: torch.Tensor) -> torch.Tensor:
    """(m,): table[index] · rows[row] for each entry, without gathering either side; row numbers rise."""
    # This is the backward of an embedding bag for its weights, with each entry's bag given.
    none = index_m.new_empty(0)
    return torch.ops.aten._embedding_bag_per_sample_weights_backward(rows_nd, table, index_m, none, rows_m, 0)


def offsets_of(labels_m: torch.Tensor, n_bags: int) -> tuple[torch.Tensor, torch.Tensor]:
    """First entry of each bag and the bag's size, both (n_bags,), for rising bag numbers labels_m."""
    counts = torch.bincount(labels_m, minlength=n_bags)
    return counts.cumsum(0) - counts, counts


def nonzero_flat(mask: torch.Tensor) -> torch.Tensor:
    """Rising positions of the true entries of a flat bool tensor in which few are true.

    Eight entries are looked at at once, which is what a CPU is good at.
    """
    if mask.device.type != "cpu" or len(mask) % 8 or not mask.is_contiguous():
        return torch.nonzero(mask).squeeze(1)
    words = torch.nonzero(mask.view(torch.int64)).squeeze(1)
    inside = torch.nonzero(mask.view(-1, 8)[words].reshape(-1)).squeeze(1)
    return words[inside >> 3] * 8 + (inside & 7)
