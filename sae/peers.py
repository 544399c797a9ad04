"""Several processes that train together, and what they ask of each other: sums, rows, and a word of the first.

A thin layer over `torch.distributed`, so that the rest of the package knows five verbs and one kind of failure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from sae.errors import SAEError

_Value = TypeVar("_Value")


class Peers:
    """The processes of a group that has been set up (`torch.distributed.init_process_group`).

    Every method is a collective: all processes call it, in the same order. Values are the same on all afterwards, bit
    for bit, which keeps copies of the weights equal.

    Raises:
        SAEError: from any method, when another process has ended.
    """

    def __init__(self) -> None:
        self.rank, self.world = dist.get_rank(), dist.get_world_size()

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    def sum_(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum over all processes, in place."""
        _reached(lambda: dist.all_reduce(tensor))
        return tensor

    def largest(self, value: int) -> int:
        """The largest of the values that the processes give."""
        return max(self.each(value))

    def each(self, value: int) -> list[int]:
        """The values of all processes, by rank; they travel through the CPU."""
        mine = torch.tensor([value])
        found = [torch.zeros_like(mine) for _ in range(self.world)]
        _reached(lambda: dist.all_gather(found, mine))
        return [int(one) for one in found]

    def meet(self) -> None:
        """Go on when all have come here: who has sent its part may leave only when the others have taken it."""
        self.each(0)

    def gather(self, tensor_m: torch.Tensor) -> list[torch.Tensor]:
        """The one-dimensional tensors of all processes, by rank; their lengths may differ."""
        lengths = self.each(len(tensor_m))
        padded = tensor_m.new_zeros(max(lengths))
        padded[: len(tensor_m)] = tensor_m
        found = [torch.empty_like(padded) for _ in range(self.world)]
        _reached(lambda: dist.all_gather(found, padded))
        return [one[:length] for one, length in zip(found, lengths, strict=True)]

    def rows(self, x_nd: torch.Tensor) -> torch.Tensor:
        """The whole batch (world · B, d) in the order of one process: row i of process r is row i · world + r.

        Raises:
            SAEError: the parts have different numbers of rows.
        """
        counts = self.each(len(x_nd))
        if len(set(counts)) > 1:
            raise SAEError(f"the processes have batches of {counts} rows: all must have as many")
        parts = [torch.empty_like(x_nd) for _ in range(self.world)]
        _reached(lambda: dist.all_gather(parts, x_nd.contiguous()))
        return torch.stack(parts, dim=1).reshape(-1, x_nd.shape[1])

    def on_first(self, part: torch.Tensor, sizes: list[int]) -> torch.Tensor | None:
        """The parts of all processes one after the other, on the CPU of process 0; None for the others.

        Args:
            part: this process's rows.
            sizes: rows of every process.
        """
        padded = torch.zeros((max(sizes), *part.shape[1:]), dtype=part.dtype)
        padded[: len(part)] = part.cpu()
        parts = [torch.empty_like(padded) for _ in sizes] if self.leads else None
        _reached(lambda: dist.gather(padded, parts))
        if parts is None:
            return None
        return torch.cat([one[:size] for one, size in zip(parts, sizes, strict=True)])

    def from_first(self, make: Callable[[], _Value]) -> _Value:
        """What `make` gives in process 0, told to all; the others do not call it."""
        held: list[Any] = [make() if self.leads else None]
        _reached(lambda: dist.broadcast_object_list(held))
        return held[0]


def _reached(work: Callable[[], Any]) -> None:
    try:
        work()
    except RuntimeError as error:
        if "out of memory" in str(error):
            raise
        raise SAEError(
            "another of the processes that train together has ended. Run the same command: it goes on from the newest "
            "checkpoint"
        ) from error
