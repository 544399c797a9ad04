"""The same specs applied by nnsight: inside a trace of the model, by assignments to the outputs of its parts.

Same formulas, same count of tokens, same proof as :func:`steering.interventions.apply.steer`; only who takes hold of
the residual differs. nnsight visits the parts of a model in the order in which they are computed, and a block that asks
for one that has passed waits in vain. So the sites are taken in that order: those of the images once, those of the
decoder at every step.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from activations.hooks import is_image_site
from activations.models.base import ModelInputs
from activations.models.transformer import TransformerReportModel
from activations.models.views import site_of
from steering.errors import SteeringError
from steering.interventions.apply import Applied, spec_of
from steering.interventions.autoencoders import Autoencoders
from steering.interventions.changes import SiteChange
from steering.interventions.check import check_spec
from steering.interventions.kinds import Kind
from steering.interventions.running import following, wrapped
from steering.interventions.spec import SteeringSpec

if TYPE_CHECKING:
    from nnsight import Envoy

_Site = tuple["Envoy", SiteChange]


@contextmanager
def steer_with_nnsight(
    model: TransformerReportModel,
    sae: Autoencoders,
    what: SteeringSpec | Mapping[Any, Kind],
    *,
    view: Envoy | None = None,
    **options: Any,
) -> Iterator[Applied]:
    """Every ``model.generate`` and ``model.forward`` inside the ``with`` block runs in a steered nnsight trace.

    Args:
        view: what ``model.nnsight()`` gave, if it is there already.
        options: those of :func:`steering.interventions.apply.steer`.

    Raises:
        SteeringError: as ``steer``.
    """
    unknown = [name for name in options if name not in _OPTIONS]
    if unknown:
        raise SteeringError(f"steer_with_nnsight: unknown argument {unknown[0]!r}; known are {list(_OPTIONS)}")
    spec = spec_of(what, sae, {name: options.get(name) for name in _OPTIONS})
    check_spec(spec, model, sae)
    applied = Applied(spec, model, sae)
    view = view if view is not None else model.nnsight()
    sites = [(site_of(view, model, site), change) for site, change in applied.changes.items()]
    with applied.reading(model), _traced(model, view, sites), following(model, applied):
        yield applied
    applied.check_done()


_OPTIONS = ("site", "tokens", "maps", "max_activations", "gate", "schedule")


@contextmanager
def _traced(model: TransformerReportModel, view: Envoy, sites: Sequence[_Site]) -> Iterator[None]:
    """Inside the block, the model's methods run in a trace of ``view`` that changes the sites."""
    generate, forward = (partial(_in_trace, view=view, sites=sites, steps=steps) for steps in (True, False))
    with wrapped(model, {"generate": generate, "forward": forward}):
        yield


def _in_trace(method: Callable[..., Any], view: Envoy, sites: Sequence[_Site], *, steps: bool) -> Callable[..., Any]:
    images = [site for site in sites if is_image_site(site[1].site)]
    decoder = [site for site in sites if not is_image_site(site[1].site)]

    def call(inputs: ModelInputs, *args: Any, **options: Any) -> Any:
        results: list[Any] = []

        def run(inputs: ModelInputs) -> Any:
            results.append(method(inputs, *args, **options))
            return results[0]

        with warnings.catch_warnings():
            # an open loop over steps ends when the model has written its last word, which nnsight warns of
            warnings.filterwarnings("ignore", message=".*was never reached.*", category=UserWarning)
            with view.trace(inputs, fn=run) as tracer:
                _change(images)
                if not steps:
                    _change(decoder)
                elif decoder:
                    for _ in tracer.iter[:]:
                        _change(decoder)
        return results[0]

    return call


def _change(sites: Sequence[_Site]) -> None:
    """Take hold of each site's output and put the steered one in its place; runs inside a trace."""
    for envoy, change in sites:
        output = envoy.output
        whole = isinstance(output, (tuple, list))
        steered_btd = change.act(output[0] if whole else output)
        if steered_btd is not None:
            envoy.output = (steered_btd, *output[1:]) if whole else steered_btd
