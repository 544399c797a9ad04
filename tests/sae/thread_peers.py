"""Processes that are threads: the collectives of `sae.peers.Peers` without launching anything."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

import torch

from sae.peers import Peers

_Value = TypeVar("_Value")


class ThreadPeers(Peers):
    """Peers that meet at a barrier; what they gather goes through a list."""

    def __init__(self, rank: int, table: list[Any], barrier: threading.Barrier) -> None:
        self.rank, self.world = rank, len(table)
        self._table, self._barrier = table, barrier

    def _all(self, value: Any) -> list[Any]:
        self._table[self.rank] = value
        self._barrier.wait()
        found = list(self._table)
        self._barrier.wait()
        return found

    def sum_(self, tensor: torch.Tensor) -> torch.Tensor:
        total = torch.stack(self._all(tensor.clone())).sum(0).to(tensor.dtype)
        tensor.copy_(total)
        return tensor

    def each(self, value: int) -> list[int]:
        return self._all(value)

    def gather(self, tensor_m: torch.Tensor) -> list[torch.Tensor]:
        return self._all(tensor_m)

    def rows(self, x_nd: torch.Tensor) -> torch.Tensor:
        return torch.stack(self._all(x_nd), dim=1).reshape(-1, x_nd.shape[1])

    def on_first(self, part: torch.Tensor, sizes: list[int]) -> torch.Tensor | None:
        parts = self._all(part)
        assert [len(one) for one in parts] == sizes
        return torch.cat(parts) if self.leads else None

    def from_first(self, make: Callable[[], _Value]) -> _Value:
        return self._all(make() if self.leads else None)[0]


def together(world: int, work: Callable[[Peers], _Value]) -> list[_Value]:
    """What each of so many peers gives; the first error that one raises."""
    table: list[Any] = [None] * world
    barrier = threading.Barrier(world)
    found: list[Any] = [None] * world
    errors: list[BaseException] = []

    def one(rank: int) -> None:
        try:
            found[rank] = work(ThreadPeers(rank, table, barrier))
        except threading.BrokenBarrierError:
            pass
        except BaseException as error:
            errors.append(error)
            barrier.abort()

    threads = [threading.Thread(target=one, args=(rank,)) for rank in range(world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return found
