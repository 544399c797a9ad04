"""Gradients and steps of decoder rows, which keep norm 1."""

from __future__ import annotations

import torch


def remove_parallel(gradient_fd: torch.Tensor, rows_fd: torch.Tensor) -> None:
    """Take from each gradient row, in place, its part along the unit row: moving along it only changes the norm."""
    along_f1 = (gradient_fd * rows_fd).sum(dim=1, keepdim=True)
    gradient_fd.addcmul_(along_f1, rows_fd, value=-1)
