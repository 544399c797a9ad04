"""How the processes of a training share its work: not at all, by rows, or by features.

By rows (data parallel), each process has all weights and its part of every batch, and gradients are averaged. By
features, each process has all rows and its part of the dictionary: weights, Adam's moments and pre-activations of
F / world features, placed as DTensor's `Shard(0)` places rows. Both choose the k · B largest of the whole batch, so
that the result is that of one process up to the rounding of sums. Checkpoints are those of one process.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

import torch

from sae.activation_functions import ActivationFunction, BatchTopK, JumpReLU
from sae.config import SAEConfig
from sae.errors import SAEError
from sae.model import MatryoshkaSAE
from sae.objective import MatryoshkaObjective, StepResult
from sae.peers import Peers
from sae.sharded_objective import ShardedObjective
from sae.shared_jumprelu import SharedJumpReLU
from sae.shared_selection import SharedBatchTopK

_Value = TypeVar("_Value")


class Alone:
    """One process that has all rows and all features; the others say what they do differently.

    Attributes:
        leads: whether this process writes files.
        readers: how many processes read a part of each batch.
    """

    leads = True
    readers = 1

    def objective(self, *arguments: object, **named: object) -> MatryoshkaObjective:
        """The objective for the rows and features at hand."""
        return MatryoshkaObjective(*arguments, **named)  # type: ignore[arg-type]

    def activation(self, activation: ActivationFunction, n_features: int) -> ActivationFunction:
        """The same rule for rows or features of which only a part is at hand."""
        return activation

    def local(self, config: SAEConfig) -> SAEConfig:
        """Shape of the part of the dictionary that is at hand."""
        return config

    def initialise(self, sae: MatryoshkaSAE, config: SAEConfig, seed: int) -> None:
        """The first weights: those of one process, or the part of them."""
        sae.initialise(seed)

    def widths(self, widths: tuple[int, ...]) -> tuple[int, ...]:
        """Prefix widths among the features at hand."""
        return widths

    def most_rows(self, batch_size: int) -> int:
        """Most rows that the reader of this process may give."""
        return batch_size

    def rows(self, x_nd: torch.Tensor) -> torch.Tensor:
        """What this process works on, from what its reader gave."""
        return x_nd

    def batch(self, x_nd: torch.Tensor) -> torch.Tensor:
        """The whole batch, from what this process works on."""
        return x_nd

    def n_rows(self, x_nd: torch.Tensor) -> int:
        """Rows of the whole batch."""
        return len(x_nd)

    def any(self, flag: bool) -> bool:
        """Whether it holds for any feature."""
        return flag

    def of_first(self, value: _Value) -> _Value:
        """What the process that leads has found."""
        return value

    def agree(self, result: StepResult) -> StepResult:
        """The result of the whole step, as far as it concerns the features at hand."""
        return result

    def norm(self, parts: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Norm of all learned tensors together, a scalar tensor, from those at hand."""
        return torch.stack([part.norm() for part in parts.values()]).norm()

    def over_rows(self, total: torch.Tensor) -> torch.Tensor:
        """A sum over the whole batch, from that over the rows at hand."""
        return total

    def over_features(self, total: torch.Tensor) -> torch.Tensor:
        """A sum over all features, from that over those at hand."""
        return total

    def whole(self, name: str, tensor: torch.Tensor) -> torch.Tensor | None:
        """A tensor of the state for a file; None in a process that writes none."""
        return tensor

    def part(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        """What of a tensor in a file is at hand."""
        return tensor


class ByRows(Alone):
    """All weights in every process; row i of process r is row i · world + r of the batch."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self.leads, self.readers = peers.leads, peers.world

    def activation(self, activation: ActivationFunction, n_features: int) -> ActivationFunction:
        if isinstance(activation, BatchTopK):
            return SharedBatchTopK(self._peers, self._peers.world, self._positions)
        if isinstance(activation, JumpReLU):
            return SharedJumpReLU(self._peers, activation)
        return activation  # each row by itself

    def most_rows(self, batch_size: int) -> int:
        if batch_size % self._peers.world:
            raise SAEError(
                f"batch_size = {batch_size}: must be a multiple of the {self._peers.world} processes that share it"
            )
        return batch_size // self._peers.world

    def batch(self, x_nd: torch.Tensor) -> torch.Tensor:
        return self._peers.rows(x_nd)

    def of_first(self, value: _Value) -> _Value:
        return self._peers.from_first(lambda: value)

    def n_rows(self, x_nd: torch.Tensor) -> int:
        return len(x_nd) * self._peers.world

    def agree(self, result: StepResult) -> StepResult:
        for part in vars(result.gradient).values():
            if part is not None:
                self._peers.sum_(part).div_(self._peers.world)
        loss = self._peers.sum_(result.loss.clone()) / self._peers.world
        fired_f = self._peers.sum_(result.fired_f.int()) > 0
        return replace(result, loss=loss, fired_f=fired_f)

    def over_rows(self, total: torch.Tensor) -> torch.Tensor:
        return self._peers.sum_(total.clone())

    def whole(self, name: str, tensor: torch.Tensor) -> torch.Tensor | None:
        return tensor if self.leads else None

    def _positions(self, flat: torch.Tensor, width: int) -> torch.Tensor:
        rows = torch.div(flat, width, rounding_mode="floor")
        return flat + (rows * (self._peers.world - 1) + self._peers.rank) * width


class ByFeatures(Alone):
    """All rows in every process, gathered from what each has read; features first … last − 1 of F are at hand."""

    def __init__(self, peers: Peers, n_features: int) -> None:
        self._peers, self._n_features = peers, n_features
        self.leads, self.readers = peers.leads, peers.world
        each = -(-n_features // peers.world)
        edges = [min(each * rank, n_features) for rank in range(peers.world + 1)]
        self._sizes = [last - first for first, last in itertools.pairwise(edges)]
        self.first, self.last = edges[peers.rank], edges[peers.rank + 1]
        if min(self._sizes) < 1:
            raise SAEError(f"n_features = {n_features}: too few to share among {peers.world} processes")

    def objective(self, *arguments: object, **named: object) -> MatryoshkaObjective:
        return ShardedObjective(self._peers, *arguments, **named)

    def activation(self, activation: ActivationFunction, n_features: int) -> ActivationFunction:
        if isinstance(activation, BatchTopK):
            return SharedBatchTopK(self._peers, 1, self._positions)
        raise SAEError(f"activation = {activation.name!r}: only batch_topk can share its features among processes")

    def local(self, config: SAEConfig) -> SAEConfig:
        size = self.last - self.first
        return replace(config, n_features=size, groups=(size,), k=min(config.k or 1, size))

    def initialise(self, sae: MatryoshkaSAE, config: SAEConfig, seed: int) -> None:
        whole = MatryoshkaSAE(config)
        whole.initialise(seed)
        for name, tensor in sae.state_dict().items():
            tensor.copy_(self.part(name, whole.state_dict()[name]))

    def widths(self, widths: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(min(max(width - self.first, 0), self.last - self.first) for width in widths)

    def most_rows(self, batch_size: int) -> int:
        return ByRows(self._peers).most_rows(batch_size)

    def rows(self, x_nd: torch.Tensor) -> torch.Tensor:
        return self._peers.rows(x_nd)

    def any(self, flag: bool) -> bool:
        return self._peers.largest(int(flag)) > 0

    def of_first(self, value: _Value) -> _Value:
        return self._peers.from_first(lambda: value)

    def agree(self, result: StepResult) -> StepResult:
        self._peers.sum_(result.gradient.b_dec)
        return result

    def norm(self, parts: Mapping[str, torch.Tensor]) -> torch.Tensor:
        squares = [part.square().sum() for name, part in parts.items() if not _is_shared(name, part)]
        together = self._peers.sum_(torch.stack(squares).sum())
        shared = [part.square().sum() for name, part in parts.items() if _is_shared(name, part)]
        return (together + sum(shared)).sqrt()

    def over_features(self, total: torch.Tensor) -> torch.Tensor:
        return self._peers.sum_(total.clone())

    def whole(self, name: str, tensor: torch.Tensor) -> torch.Tensor | None:
        if _is_shared(name, tensor):
            return tensor if self.leads else None
        return self._peers.on_first(tensor, self._sizes)

    def part(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        return tensor if _is_shared(name, tensor) else tensor[self.first : self.last]

    def _positions(self, flat: torch.Tensor, width: int) -> torch.Tensor:
        rows = torch.div(flat, width, rounding_mode="floor")
        return flat + rows * (self._n_features - width) + self.first


def parallel_of(peers: Peers | None, n_features: int, shard_features: bool) -> Alone:
    """How a dictionary of F features is trained by these processes.

    Raises:
        SAEError: features are to be shared and there is nobody to share them with, or there are too few.
    """
    if peers is None:
        if shard_features:
            raise SAEError("shard_features: one process alone has all features; start several with torchrun")
        return Alone()
    return ByFeatures(peers, n_features) if shard_features else ByRows(peers)


def _is_shared(name: str, tensor: torch.Tensor) -> bool:
    """Whether every process has all of it: numbers, and what concerns the residual and no feature."""
    return tensor.ndim == 0 or "b_dec" in name.split(".")
