"""Three ways to look at a model, hooks, nnsight and TransformerLens, read and edit the same numbers: the comparison.

nnsight runs the module itself, so it agrees to the bit. TransformerLens computes the same attention from its parts
(scores, softmax, weighted sum), so it agrees to the rounding of float32: ``ROUNDING`` of a token's largest number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nnsight
import numpy as np
import torch
from nnsight import NNsight

from activations.hooks import capture
from activations.models.base import ModelInputs
from activations.models.transformer import TransformerReportModel
from activations.models.views import bridge_arguments, site_of, trace_arguments

ROUNDING = 2e-5
Edit = Callable[[torch.Tensor], torch.Tensor]


def alike(theirs: torch.Tensor, ours: torch.Tensor, inputs: ModelInputs) -> None:
    """Equal to rounding at every token, some of which are a hundred times as large as others; padding is nobody's."""
    real_bt = inputs.attention_mask_bt.bool()
    largest_n1 = ours[real_bt].abs().amax(-1, keepdim=True)
    apart = ((theirs[real_bt] - ours[real_bt]).abs() / largest_n1).max().item()
    assert apart < ROUNDING


def hooked(model: TransformerReportModel, site: str, edit: Edit, inputs: ModelInputs) -> torch.Tensor:
    """Logits with the output of a site edited by a hook."""
    handle = model.sites()[site].register_forward_hook(lambda _module, _arguments, output: edit(output))
    try:
        return model.forward(inputs)
    finally:
        handle.remove()


def state(model: TransformerReportModel) -> Any:
    """What a view could have left behind."""
    hooks = [len(part._forward_hooks) + len(part._forward_pre_hooks) for part in model.module.modules()]
    kinds = [type(part) for part in model.module.modules()]
    weights = [(name, id(tensor), tensor.data_ptr()) for name, tensor in model.module.named_parameters()]
    tokenizer = None if model.tokenizer is None else (model.tokenizer.padding_side, model.tokenizer.pad_token)
    return hooks, kinds, weights, model.module.config.to_dict(), tokenizer


def blocks(model: TransformerReportModel) -> list[str]:
    return [site for site in model.sites() if site.startswith("language")]


def resid_post(site: str) -> str:
    return f"blocks.{site.removeprefix('language.')}.hook_resid_post"


def added(there_bt: torch.Tensor, width: int) -> Edit:
    """Adds one vector to some tokens."""
    vector_d = torch.from_numpy(np.random.default_rng(5).standard_normal(width).astype(np.float32))
    return lambda output: torch.where(there_bt[..., None], output + vector_d, output)


def zeroed(there_bt: torch.Tensor) -> Edit:
    return lambda output: output.masked_fill(there_bt[..., None], 0)


def three_ways(model: TransformerReportModel, bridge: Any, inputs: ModelInputs) -> None:
    """The three read the same residuals at every block, and the same logits."""
    with capture(model, blocks(model)) as recorder:
        logits = model.forward(inputs)
    ours = {site: recorder.take(site) for site in blocks(model)}

    view = NNsight(model.module)
    with view.trace(**trace_arguments(model, inputs)):
        theirs = nnsight.save({site: site_of(view, model, site).output for site in blocks(model)})
        of_nnsight = view.output.logits.save()
    assert torch.equal(of_nnsight, logits)
    assert all(torch.equal(theirs[site], output) for site, output in ours.items())

    names = [resid_post(site) for site in ours]
    of_bridge, cache = bridge.run_with_cache(**bridge_arguments(model, inputs), names_filter=names)
    alike(of_bridge, logits, inputs)
    for site, output in ours.items():
        alike(cache[resid_post(site)], output, inputs)


def three_edits(model: TransformerReportModel, bridge: Any, inputs: ModelInputs, site: str, edit: Edit) -> None:
    """An edit of a residual gives the same logits through each of the three, and not those without it."""
    expected = hooked(model, site, edit, inputs)
    assert (expected - model.forward(inputs))[inputs.attention_mask_bt.bool()].abs().max() > 0.1

    view = NNsight(model.module)
    with view.trace(**trace_arguments(model, inputs)):
        site_of(view, model, site).output = edit(site_of(view, model, site).output)
        of_nnsight = view.output.logits.save()
    assert torch.equal(of_nnsight, expected)

    of_bridge = bridge.run_with_hooks(
        **bridge_arguments(model, inputs), fwd_hooks=[(resid_post(site), lambda output, hook: edit(output))]
    )
    alike(of_bridge, expected, inputs)
