"""One resumable optimisation loop for both stages of the recipe."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn


@dataclass(frozen=True)
class LoopConfig:
    """Steps, learning rate (linear warm-up, then cosine to a twentieth), weight decay, checkpoint distance.

    ``stop`` ends the run early without making the schedule shorter.
    """

    steps: int
    learning_rate: float
    warmup: int = 200
    weight_decay: float = 0.01
    clip: float = 1.0
    checkpoint_every: int = 250
    stop: int | None = None


def optimise(
    module: nn.Module,
    loss_of_step: Callable[[int], torch.Tensor],
    config: LoopConfig,
    checkpoint: Path,
    progress: Callable[[int, int, str], None] | None = None,
) -> None:
    """Run ``config.steps`` steps of AdamW; ``loss_of_step`` must depend on the step number only.

    The state is kept in ``checkpoint``; a run that finds one continues after it. The same seed and steps give the same
    weights up to the floating-point differences of the machine.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        parameters, lr=config.learning_rate, betas=(0.9, 0.95), weight_decay=config.weight_decay, fused=True
    )
    first, last = _resume(module, optimizer, checkpoint), config.stop or config.steps
    average, started = float("nan"), time.monotonic()
    for step in range(first, last):
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * _schedule(step, config)
        loss = loss_of_step(step)
        if not torch.isfinite(loss):
            raise FloatingPointError(f"phantom training: loss is {loss.item()} at step {step}")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, config.clip)
        optimizer.step()
        average = loss.item() if math.isnan(average) else 0.98 * average + 0.02 * loss.item()
        if progress and step % 25 == 24:
            rate = (step + 1 - first) / (time.monotonic() - started)
            progress(step + 1, last, f"loss {average:.4f}, {rate:.1f} steps/s")
        if (step + 1) % config.checkpoint_every == 0 or step + 1 == last:
            _save(module, optimizer, step + 1, checkpoint)


def _schedule(step: int, config: LoopConfig) -> float:
    if step < config.warmup:
        return (step + 1) / config.warmup
    share = (step - config.warmup) / max(1, config.steps - config.warmup)
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * share))


def _save(module: nn.Module, optimizer: torch.optim.Optimizer, step: int, checkpoint: Path) -> None:
    temporary = checkpoint.with_suffix(".tmp")
    torch.save({"module": module.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, temporary)
    temporary.replace(checkpoint)


def _resume(module: nn.Module, optimizer: torch.optim.Optimizer, checkpoint: Path) -> int:
    if not checkpoint.exists():
        return 0
    saved = torch.load(checkpoint, weights_only=True)
    module.load_state_dict(saved["module"])
    optimizer.load_state_dict(saved["optimizer"])
    return int(saved["step"])
