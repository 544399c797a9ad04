"""Which kernels a training uses: those that were asked for, or the fastest on its first batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from sae.config import TrainConfig
from sae.errors import SAEError
from sae.kernels.choice import Choice, candidates, choose_kernels
from sae.kernels.registry import REFERENCE, Kernels, unavailable

if TYPE_CHECKING:
    from sae.objective import MatryoshkaObjective, Weights


def settled_kernels(config: TrainConfig) -> Kernels | None:
    """The kernels of a training; None if they have to be measured.

    Raises:
        SAEError: those that are asked for cannot run on the device.
    """
    device = torch.device(config.device)
    if config.kernels == "measured" or (config.kernels == "auto" and device.type == "cuda"):
        return None
    if config.kernels == "auto":
        return REFERENCE
    kernels = Kernels.named(config.kernels)
    why = unavailable(kernels, device)
    if why is not None:
        raise SAEError(f"kernels = {config.kernels!r}: {why}; give {REFERENCE.name}, or measured to find the fastest")
    return kernels


def measured_kernels(
    objective: MatryoshkaObjective, weights: Weights, x_nd: torch.Tensor, k: float, widths: tuple[int, ...]
) -> Choice:
    """Time whole steps of the objective, without dead features, with each kernel that runs."""

    def step(kernels: Kernels) -> list[torch.Tensor]:
        objective.use(kernels)
        result = objective.step(weights, x_nd, None, k=k, widths=widths)
        return [result.loss, *(part for part in vars(result.gradient).values() if part is not None)]

    shape = {"B": len(x_nd), "F": len(weights.b_enc), "d": x_nd.shape[1], "k": k}
    return choose_kernels(step, candidates(screening=objective.can_screen), x_nd.device, shape)
