"""Putting something else in the place of a residual while the model reads and writes.

What is put there: the SAE's reconstruction, or one of its yardsticks. The mean of all such tokens says how bad it is to
know nothing of a token; an error of the same length in a random direction says how bad an error of that size is by
itself (an SAE's errors may hurt more than random ones of their length, arXiv 2406.11944 and others).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from activations.hooks import canonical_site, resolve_sites
from activations.roles import Role

if TYPE_CHECKING:
    from activations.models.base import ModelInputs, ReportModel
    from sae.model import MatryoshkaSAE

Replace = Callable[[torch.Tensor], torch.Tensor]
"""(n, d) float32 residuals → what stands there instead."""


@dataclass(frozen=True)
class Place:
    """Which residuals are replaced.

    Attributes:
        site: a site of the decoder.
        roles: token roles; with ``report`` among them also the tokens that the model writes.
        max_norm: tokens of a larger norm stay as they are, as they were left out of the training.
    """

    site: str
    roles: tuple[Role, ...]
    max_norm: float | None = None


def reconstruction(sae: MatryoshkaSAE) -> Replace:
    """x → what the SAE makes of it."""

    def replace(rows_nd: torch.Tensor) -> torch.Tensor:
        there = sae.W_dec.device
        return sae.decode(sae.encode(rows_nd.to(there))).to(rows_nd.device)

    return replace


def mean_of(mean_d: torch.Tensor) -> Replace:
    """x → the mean, whatever x is."""
    return lambda rows_nd: mean_d.to(rows_nd.device).expand_as(rows_nd)


def random_error(replace: Replace, seed: int) -> Replace:
    """x → x and an error of the same length as that of another replacement, in a direction drawn at random."""
    generator = torch.Generator().manual_seed(seed)

    def with_error(rows_nd: torch.Tensor) -> torch.Tensor:
        direction_nd = torch.randn(rows_nd.shape, generator=generator).to(rows_nd.device)
        length_n1 = (replace(rows_nd) - rows_nd).norm(dim=1, keepdim=True)
        return rows_nd + length_n1 * direction_nd / direction_nd.norm(dim=1, keepdim=True)

    return with_error


def mean_residual(model: ReportModel, place: Place, batches: Sequence[ModelInputs]) -> torch.Tensor:
    """(d,) mean of the residuals that would be replaced in some batches.

    Raises:
        ValueError: no token of the roles is there.
    """
    sums: list[torch.Tensor] = []
    counts: list[int] = []

    def watch(rows_nd: torch.Tensor) -> torch.Tensor:
        sums.append(rows_nd.double().sum(0).cpu())
        counts.append(len(rows_nd))
        return rows_nd

    for inputs in batches:
        with replacing(model, place, inputs, watch):
            model.forward(inputs)
    if not sum(counts):
        raise ValueError(f"no token of the roles {[role.name.lower() for role in place.roles]} is there")
    return (torch.stack(sums).sum(0) / sum(counts)).float()


@contextmanager
def replacing(model: ReportModel, place: Place, inputs: ModelInputs, replace: Replace | None) -> Iterator[None]:
    """Replace residuals in one ``model.forward(inputs)`` or ``model.generate(inputs)`` inside the ``with`` block.

    Raises:
        RuntimeError: the block ended and the site had not run.
    """
    if replace is None:
        yield
        return
    hook = _Hook(place, inputs, replace)
    handle = resolve_sites(model, [place.site])[canonical_site(place.site)].register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
    if not hook.calls:
        raise RuntimeError(f"site {place.site}: the hook never ran; nothing was replaced")


class _Hook:
    """The first call sees the prompt; each call after it one written token a row."""

    def __init__(self, place: Place, inputs: ModelInputs, replace: Replace) -> None:
        self._place, self._replace = place, replace
        self._prompt = _prompt_places(inputs, place.roles)
        self.calls = 0

    def __call__(self, module: Any, arguments: Any, output: Any) -> Any:
        h_btd = output[0] if isinstance(output, (tuple, list)) else output
        self.calls += 1
        if self.calls == 1:
            rows, columns = self._prompt
        elif Role.REPORT in self._place.roles:
            rows = torch.arange(len(h_btd)).repeat_interleave(h_btd.shape[1])
            columns = torch.arange(h_btd.shape[1]).repeat(len(h_btd))
        else:
            return None
        old_nd = h_btd[rows, columns].float()
        new_nd = self._replace(old_nd)
        if self._place.max_norm is not None:
            new_nd = torch.where(old_nd.norm(dim=1, keepdim=True) > self._place.max_norm, old_nd, new_nd)
        new_btd = h_btd.clone()
        new_btd[rows, columns] = new_nd.to(h_btd.dtype)
        return (new_btd, *output[1:]) if isinstance(output, (tuple, list)) else new_btd


def _prompt_places(inputs: ModelInputs, roles: Sequence[Role]) -> tuple[torch.Tensor, torch.Tensor]:
    rows, columns = [], []
    for i, table in enumerate(inputs.tokens):
        chosen = torch.from_numpy(inputs.columns(i, table.where(roles)))
        rows.append(torch.full_like(chosen, i))
        columns.append(chosen)
    return torch.cat(rows), torch.cat(columns)
