"""Applying a spec to a model: one hook, always removed, that proves what it did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from activations.hooks import canonical_site
from activations.models.base import Generation, ModelInputs, ReportModel
from sae.model import MatryoshkaSAE
from steering.errors import SteeringError
from steering.interventions.check import check_spec
from steering.interventions.deltas import DeltaRule
from steering.interventions.kinds import Kind
from steering.interventions.positions import Ledger
from steering.interventions.proof import ChangeLog, Proof
from steering.interventions.running import following
from steering.interventions.selection import select
from steering.interventions.spec import Gate, SteeringSpec, Tokens
from steering.interventions.targets import build_spec


class Applied:
    """What is being applied, and what it has done so far.

    Attributes:
        spec: the checked spec.
        proof: everything inside the ``with`` block so far.
        last: one (study id, proof) for each study of the last ``generate`` or ``forward``.
    """

    def __init__(self, spec: SteeringSpec) -> None:
        self.spec = spec
        self.proof = Proof(canonical_site(spec.site))
        self.last: list[tuple[str, Proof]] = []


@contextmanager
def steer(
    model: ReportModel,
    sae: MatryoshkaSAE | None,
    what: SteeringSpec | Mapping[Any, Kind],
    *,
    site: str | None = None,
    tokens: Tokens | str | Sequence[str] | None = None,
    maps: Mapping[int, Any] | None = None,
    max_activations: Mapping[int, float] | None = None,
    gate: Gate | None = None,
) -> Iterator[Applied]:
    """Steer everything that ``model`` does inside the ``with`` block.

    Args:
        what: a spec, or ``{feature: Clamp(2.0)}``; then the other arguments are those of
            :func:`steering.interventions.targets.build_spec`.

    Raises:
        SteeringError: before anything runs, a spec that does not fit; while it runs, an output whose tokens cannot be
            told, or a call in which nothing was in scope; on leaving, a hook that never ran, or a change that was asked
            for and never happened.

    Example:
        >>> with steer(model, sae, {412: Add(0.5)}, max_activations={412: 7.1}) as applied:
        ...     steered = model.generate(inputs)
        >>> applied.proof.tokens
        {'image': 100}
    """
    if isinstance(what, SteeringSpec):
        if any(option is not None for option in (site, tokens, maps, max_activations, gate)):
            raise SteeringError("steer: a SteeringSpec says everything; leave the other arguments out")
        spec = what
    else:
        spec = build_spec(what, sae, site=site, tokens=tokens, maps=maps, max_activations=max_activations, gate=gate)
    check_spec(spec, model, sae)
    applied = Applied(spec)
    hook = _Hook(applied, model, sae)
    handle = model.sites()[hook.site].register_forward_hook(hook)
    try:
        with following(model, hook):
            yield applied
    finally:
        handle.remove()
    _check_done(applied)


def _check_done(applied: Applied) -> None:
    proof = applied.proof
    if not proof.calls:
        raise SteeringError(
            f"site {proof.site}: the hook never ran; call model.generate or model.forward inside the block"
        )
    if applied.spec.effective and not proof.total:
        raise SteeringError(
            f"site {proof.site}: no token was changed in {proof.calls} calls; the features never fired there, the gate "
            "never opened, or the change is lost in rounding"
        )


class _Hook:
    """The forward hook; follows the running batch."""

    def __init__(self, applied: Applied, model: ReportModel, sae: MatryoshkaSAE | None) -> None:
        self.site = canonical_site(applied.spec.site)
        self._applied = applied
        self._spec = applied.spec
        self._grid = model.grid
        self._rule = DeltaRule(applied.spec, sae, model.device)
        self._inputs: ModelInputs | None = None
        self._ledger: Ledger | None = None
        self._log: ChangeLog | None = None
        self._selected = 0

    def begin(self, inputs: ModelInputs) -> None:
        self._inputs = inputs
        self._ledger = Ledger(self.site, inputs)
        self._log = ChangeLog(self.site, inputs)
        self._selected = 0

    def stop(self) -> None:
        self._inputs = self._ledger = self._log = None

    def end(self, written: Sequence[Generation] | None) -> None:
        if self._inputs is None or self._ledger is None or self._log is None:
            raise SteeringError(f"site {self.site}: a batch ended that never began")
        calls = self._ledger.calls
        if not calls:
            raise SteeringError(f"site {self.site}: the hook never ran; this site is not part of the pass")
        if not self._selected:
            raise SteeringError(
                f"site {self.site}: none of the tokens {list(self._spec.tokens.scopes)} was there to steer"
            )
        proofs = self._log.proofs(calls, written)
        batch = sum(proofs, Proof(self.site))
        self._applied.last = list(zip(self._inputs.study_ids, proofs, strict=True))
        self._applied.proof += Proof(self.site, calls, batch.tokens, batch.delta_norm)
        if self._spec.unconditional and not batch.total:
            raise SteeringError(
                f"site {self.site}: no token was changed; the change is lost in rounding, or the map is empty"
            )

    def __call__(self, module: nn.Module, arguments: Any, output: Any) -> Any:
        if self._ledger is None or self._log is None:
            raise SteeringError(
                f"site {self.site}: run the model through model.generate or model.forward while it is steered"
            )
        h_btd = output[0] if isinstance(output, (tuple, list)) else output
        places = self._ledger.next(tuple(h_btd.shape))
        rows, columns = np.nonzero(select(places, self._spec.tokens, self._grid))
        if not len(rows):
            return None
        here = places[rows, columns]
        old_nd = h_btd[rows, columns]
        new_nd = moved(old_nd, self._rule(old_nd, here))
        norms_n = (new_nd.double() - old_nd.double()).norm(dim=-1).cpu().numpy()
        if not np.isfinite(norms_n).all():
            raise SteeringError(
                f"site {self.site}: the steered residual is not finite; the strength is too large for {h_btd.dtype}"
            )
        self._selected += len(rows)
        own_rows = here.study if self._ledger.by_image else rows
        self._log.note(here, own_rows, norms_n, self._ledger.copies)
        if not norms_n.any():
            return None
        steered_btd = h_btd.clone()
        steered_btd[rows, columns] = new_nd
        return (steered_btd, *output[1:]) if isinstance(output, (tuple, list)) else steered_btd


def moved(old_nd: torch.Tensor, delta_nd: torch.Tensor) -> torch.Tensor:
    """old + delta, added in float32; bit for bit the old value wherever the delta is zero."""
    new_nd = (old_nd.float() + delta_nd).to(old_nd.dtype)
    return torch.where(delta_nd != 0, new_nd, old_nd)
