"""Activation patching: run a batch with some of its residuals taken from another run.

Teacher-forced cells are replayed from the patched site on: what comes before it in the decoder (or encoder) cannot
matter any more and is passed through, so that a cell costs only the blocks after its site.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from activations.hooks import HookError, canonical_site, resolve_sites
from activations.models.base import Generation, ModelInputs, ReportModel
from steering.errors import SteeringError
from steering.interventions.positions import Ledger, Places
from steering.interventions.running import following

_TOWER = {"vision": 0, "projector": 1, "language": 2}


def record(model: ReportModel, sites: Sequence[str], inputs: ModelInputs) -> tuple[torch.Tensor, dict[str, Any]]:
    """One pass: logits (B, T, V), and the raw output of each site's module.

    Raises:
        HookError: a site that is not part of the pass.
    """
    outputs: dict[str, Any] = {}

    def keep(site: str) -> Callable[..., None]:
        return lambda module, arguments, output: outputs.__setitem__(site, output)

    with ExitStack() as stack:
        for site, module in resolve_sites(model, sites).items():
            stack.callback(module.register_forward_hook(keep(site)).remove)
        logits_btv = model.forward(inputs)
    silent = [site for site in resolve_sites(model, sites) if site not in outputs]
    if silent:
        raise HookError(f"{', '.join(silent)}: the hook never fired; the module was not part of the pass")
    return logits_btv, outputs


def residual(output: Any) -> torch.Tensor:
    """The residual stream in a module's output: the output itself or the first of a tuple."""
    return output[0] if isinstance(output, (tuple, list)) else output


def with_residual(output: Any, new_btd: torch.Tensor) -> Any:
    """The module's output with its residual stream replaced."""
    return (new_btd, *output[1:]) if isinstance(output, (tuple, list)) else new_btd


def swapped(into: Any, donor: Any, chosen_bt: np.ndarray) -> Any:
    """A site's output with the chosen elements taken from the donor's output of the same site."""
    base_btd, donor_btd = residual(into), residual(donor)
    if base_btd.shape != donor_btd.shape:
        raise SteeringError(f"patching: outputs {tuple(base_btd.shape)} and {tuple(donor_btd.shape)} do not line up")
    mask_bt = torch.from_numpy(chosen_bt).to(base_btd.device)
    return with_residual(into, torch.where(mask_bt[..., None], donor_btd, base_btd))


@contextmanager
def replayed(model: ReportModel, site: str, output: Any) -> Iterator[None]:
    """Inside the block, the module of ``site`` gives ``output``, and what feeds only it is not computed."""
    site = canonical_site(site)
    modules = model.sites()
    with ExitStack() as stack:
        for other, module in modules.items():
            if other != "projector" and _before(other, site):
                stack.enter_context(_forward_is(module, _pass_through(module, output, model.width(other))))
        stack.enter_context(_forward_is(modules[site], lambda *args, **kwargs: output))
        yield


@contextmanager
def swapping(model: ReportModel, site: str, donor: Any, choose: Callable[[Places], np.ndarray]) -> Iterator[None]:
    """Inside the block, the prompts of ``model.generate`` carry the donor's residuals at the chosen elements.

    ``choose`` gives, for the places of an output, which of them (b, s) bool.
    """
    hook = _SwapHook(site, donor, choose)
    handle = resolve_sites(model, [site])[hook.site].register_forward_hook(hook)
    try:
        with following(model, hook):
            yield
    finally:
        handle.remove()


class _SwapHook:
    def __init__(self, site: str, donor: Any, choose: Callable[[Places], np.ndarray]) -> None:
        self.site = canonical_site(site)
        self._donor = donor
        self._choose = choose
        self._ledger: Ledger | None = None

    def begin(self, inputs: ModelInputs) -> None:
        self._ledger = Ledger(self.site, inputs)

    def end(self, written: Sequence[Generation] | None) -> None:
        if self._ledger is None or not self._ledger.calls:
            raise SteeringError(f"site {self.site}: the hook never ran; this site is not part of the pass")

    def stop(self) -> None:
        self._ledger = None

    def __call__(self, module: nn.Module, arguments: Any, output: Any) -> Any:
        if self._ledger is None:
            raise SteeringError(f"site {self.site}: run the model through model.generate or model.forward")
        first = self._ledger.calls == 0
        chosen_bt = self._choose(self._ledger.next(tuple(residual(output).shape)))
        return swapped(output, self._donor, chosen_bt) if first and chosen_bt.any() else None


def _before(other: str, site: str) -> bool:
    """Whether ``other`` runs before ``site``."""
    return _place(other) < _place(site)


def _place(site: str) -> tuple[int, int]:
    tower, _, number = site.partition(".")
    return _TOWER[tower], int(number or 0)


@contextmanager
def _forward_is(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    state: Mapping[str, Any] = module.__dict__
    before = state.get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if before is None:
            del module.forward
        else:
            module.forward = before


def _pass_through(module: nn.Module, like: Any, width: int) -> Callable[..., Any]:
    """A forward that gives its input back, in the form of ``like``; the real one where the input is no residual."""
    real = module.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        hidden = args[0] if args else kwargs.get("hidden_states")
        if not isinstance(hidden, torch.Tensor) or hidden.shape[-1] != width:
            return real(*args, **kwargs)
        return (hidden, *like[1:]) if isinstance(like, (tuple, list)) else hidden

    return forward
