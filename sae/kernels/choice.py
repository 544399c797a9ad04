"""Which kernels are fastest here: all that run are timed on real steps, and must agree with the reference."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from sae.config import ENCODERS, SPARSE_KERNELS
from sae.kernels.registry import REFERENCE, Kernels, unavailable

ROUNDS = 3
#: Farthest a candidate's loss may be from the reference's, relative to it.
LOSS_TOLERANCE = 1e-4
#: The same for each gradient, by its norm. In float32 an entry at the very cut may be exchanged for another.
GRADIENT_TOLERANCE = 1e-2

#: One step with some kernels: the loss and the gradients, fresh tensors.
Step = Callable[[Kernels], Sequence[torch.Tensor]]


@dataclass(frozen=True)
class Trial:
    """What came of one candidate.

    Attributes:
        kernels: its name.
        seconds: median time of a step; None if it did not run.
        difference: largest relative difference of a gradient from the reference's; None if it did not run.
        refused: why it cannot be chosen, if it cannot.
    """

    kernels: str
    seconds: float | None = None
    difference: float | None = None
    refused: str | None = None


@dataclass(frozen=True)
class Choice:
    """The fastest kernels, and how all did.

    Attributes:
        device: name of the device on which they were measured.
        shape: B, F, d and k of the steps.
    """

    kernels: Kernels
    device: str
    shape: dict[str, float]
    trials: tuple[Trial, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON values, for a file."""
        return {
            "kernels": self.kernels.name,
            "device": self.device,
            "shape": self.shape,
            "trials": [asdict(trial) for trial in self.trials],
        }

    def words(self) -> str:
        """One line: what was chosen, and the time of a step by each."""
        times = [
            f"{trial.kernels} {1000 * trial.seconds:.3g} ms" if trial.seconds is not None else f"{trial.kernels} –"
            for trial in self.trials
        ]
        return f"kernels {self.kernels.name} on {self.device} (a step: {', '.join(times)})"


def candidates(*, screening: bool) -> list[Kernels]:
    """All combinations, the reference first; those that screen only where that is possible."""
    encoders = [name for name in ENCODERS if screening or name == REFERENCE.encoder]
    return [Kernels(encoder, sparse) for encoder in encoders for sparse in SPARSE_KERNELS]


def choose_kernels(
    step: Step, among: Sequence[Kernels], device: torch.device, shape: dict[str, float], rounds: int = ROUNDS
) -> Choice:
    """Time the candidates in turn and take the fastest that agrees with the reference.

    What cannot run, fails or disagrees is kept in `Choice.trials` with its reason.

    Args:
        step: does the same step with any kernels, and changes nothing else.
        among: the reference must be one of them; it is never refused.
        shape: what to note of the steps.
    """
    expected = [tensor.clone() for tensor in step(REFERENCE)]
    refused: dict[Kernels, str] = {}
    differences: dict[Kernels, float] = {}
    for kernels in among:
        why = unavailable(kernels, device)
        if why is None:
            why, difference = _compared(step, kernels, expected)
            differences[kernels] = difference
        if why is not None and kernels != REFERENCE:
            refused[kernels] = why
    running = [kernels for kernels in among if kernels not in refused]
    seconds: dict[Kernels, list[float]] = {kernels: [] for kernels in running}
    for number in range(rounds):
        turn = number % len(running)
        for kernels in running[turn:] + running[:turn]:
            seconds[kernels].append(_timed(step, kernels, device))
    medians = {kernels: statistics.median(times) for kernels, times in seconds.items()}
    trials = tuple(
        Trial(kernels.name, medians.get(kernels), differences.get(kernels), refused.get(kernels)) for kernels in among
    )
    return Choice(min(medians, key=lambda kernels: medians[kernels]), _device_name(device), shape, trials)


def _compared(step: Step, kernels: Kernels, expected: Sequence[torch.Tensor]) -> tuple[str | None, float]:
    """Why a candidate is refused, if it is, and how far its gradients are from the reference's."""
    try:
        found = step(kernels)
    except Exception as error:  # whatever a compiler or a driver raises: the training goes on without it
        return f"{type(error).__name__}: {error}".splitlines()[0], float("nan")
    loss, *gradients = (
        float((one - other).norm() / other.norm().clamp(min=1e-30)) for one, other in zip(found, expected, strict=True)
    )
    if not loss <= LOSS_TOLERANCE:
        return f"its loss differs by {loss:.1e} from the reference's", max(gradients)
    if not max(gradients) <= GRADIENT_TOLERANCE:
        return f"a gradient differs by {max(gradients):.1e} from the reference's", max(gradients)
    return None, max(gradients)


def _timed(step: Step, kernels: Kernels, device: torch.device) -> float:
    _wait(device)
    begin = time.perf_counter()
    step(kernels)
    _wait(device)
    return time.perf_counter() - begin


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
