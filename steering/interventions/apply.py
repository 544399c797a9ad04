"""Applying a spec to a model: a hook a site, always removed, that proves what it did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn

from activations.models.base import Generation, ModelInputs, ReportModel
from steering.errors import SteeringError
from steering.interventions.autoencoders import Autoencoders, autoencoders_for
from steering.interventions.changes import SiteChange, moved
from steering.interventions.check import check_spec
from steering.interventions.kinds import Kind
from steering.interventions.proof import Proof, joined
from steering.interventions.running import following
from steering.interventions.schedules import Schedule
from steering.interventions.selection import reads_text
from steering.interventions.spec import Gate, SteeringSpec, Tokens
from steering.interventions.targets import build_spec
from steering.interventions.transcript import Transcript, watching

__all__ = ["Applied", "moved", "steer"]


class Applied:
    """What is being applied, and what it has done so far.

    Attributes:
        spec: the checked spec.
        last: one (study id, proof) for each study of the last ``generate`` or ``forward``.
    """

    def __init__(self, spec: SteeringSpec, model: ReportModel, sae: Autoencoders) -> None:
        saes = autoencoders_for(spec, sae)
        self.spec = spec
        self.last: list[tuple[str, Proof]] = []
        self._transcript = Transcript(model) if any(reads_text(part) for part in spec.resolved) else None
        self._changes = [SiteChange(spec, site, model, saes.get(site), self._transcript) for site in spec.by_site]
        self._inputs: ModelInputs | None = None

    @property
    def changes(self) -> Mapping[str, SiteChange]:
        """Site → what is done there, in the order in which the model computes the sites."""
        return {change.site: change for change in self._changes}

    @property
    def proofs(self) -> dict[str, Proof]:
        """Site → everything inside the ``with`` block so far."""
        return {change.site: change.proof for change in self._changes}

    @property
    def proof(self) -> Proof:
        """Everything inside the ``with`` block so far; of several sites, summed (see :func:`joined`)."""
        return joined([change.proof for change in self._changes])

    def begin(self, inputs: ModelInputs) -> None:
        self._inputs = inputs
        if self._transcript is not None:
            self._transcript.begin(inputs)
        for change in self._changes:
            change.begin(inputs)

    def stop(self) -> None:
        self._inputs = None
        for change in self._changes:
            change.stop()

    def end(self, written: Sequence[Generation] | None) -> None:
        if self._inputs is None:
            raise SteeringError("a batch ended that never began")
        by_site = [change.end(written) for change in self._changes]
        self.last = [
            (study_id, joined(list(proofs)))
            for study_id, proofs in zip(self._inputs.study_ids, zip(*by_site, strict=True), strict=True)
        ]

    @contextmanager
    def reading(self, model: ReportModel) -> Iterator[None]:
        """Follow the words that the model writes, if anything depends on them."""
        with ExitStack() as stack:
            if self._transcript is not None:
                stack.enter_context(watching(model, self._transcript))
            yield

    def check_done(self) -> None:
        for change in self._changes:
            change.check_done(self.spec.effective)


@contextmanager
def steer(
    model: ReportModel,
    sae: Autoencoders,
    what: SteeringSpec | Mapping[Any, Kind],
    *,
    site: str | None = None,
    tokens: Tokens | str | Sequence[str] | None = None,
    maps: Mapping[int, Any] | None = None,
    max_activations: Mapping[int, float] | None = None,
    gate: Gate | None = None,
    schedule: Schedule | None = None,
) -> Iterator[Applied]:
    """Steer everything that ``model`` does inside the ``with`` block.

    Args:
        sae: the autoencoder whose features are named; ``{site: autoencoder}`` where features of several sites are.
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
    options = {
        "site": site,
        "tokens": tokens,
        "maps": maps,
        "max_activations": max_activations,
        "gate": gate,
        "schedule": schedule,
    }
    spec = spec_of(what, sae, options)
    check_spec(spec, model, sae)
    applied = Applied(spec, model, sae)
    with ExitStack() as stack:
        for name, change in applied.changes.items():
            stack.callback(model.sites()[name].register_forward_hook(_hook(change)).remove)
        stack.enter_context(applied.reading(model))
        stack.enter_context(following(model, applied))
        yield applied
    applied.check_done()


def spec_of(what: SteeringSpec | Mapping[Any, Kind], sae: Autoencoders, options: Mapping[str, Any]) -> SteeringSpec:
    """The spec itself, or what :func:`build_spec` makes of the short form."""
    if not isinstance(what, SteeringSpec):
        return build_spec(what, sae, **options)
    if any(option is not None for option in options.values()):
        raise SteeringError("steer: a SteeringSpec says everything; leave the other arguments out")
    return what


def _hook(change: SiteChange) -> Any:
    def hook(module: nn.Module, arguments: Any, output: Any) -> Any:
        whole = isinstance(output, (tuple, list))
        steered_btd = change.act(output[0] if whole else output)
        if steered_btd is None:
            return None
        return (steered_btd, *output[1:]) if whole else steered_btd

    return hook
