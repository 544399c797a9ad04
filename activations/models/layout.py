"""Which rows of an encoder's blocks, and of a projector, are which patches: looked at once, when a model is opened.

One patch of the input is changed at a time. The row of the first block's input that changes with it is that patch's,
for rows meet each other in the blocks only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from activations.hooks import MAX_LEADING_ROWS

if TYPE_CHECKING:
    from activations.models.base import ModelInputs
    from activations.models.transformer import TransformerReportModel


class _Seen(Exception):  # noqa: N818 - not an error: ends a forward pass that has shown what it should
    pass


def leading_rows(model: TransformerReportModel, inputs: ModelInputs) -> int | None:
    """Rows that stand before the patches in the encoder's blocks; what follows are the patches in row-major order.

    Args:
        inputs: a prompt with one image, (1, 3, H, W) pixels.

    Returns:
        None where the blocks' rows are not the image tokens of the prompt one to one.
    """
    rows, cols = model.grid
    pixels = inputs.pixel_values_nchw
    if not model.parts.vision_blocks or pixels is None:
        return None
    plain = _first_input(model, inputs)
    if plain is None or plain.dim() != 3 or len(plain) != 1:
        return None
    leading = plain.shape[1] - rows * cols
    if not 0 <= leading <= MAX_LEADING_ROWS:
        return None
    for row, col in ((0, 0), (0, cols - 1), (rows - 1, 0)):
        changed = _first_input(model, _with_patch_changed(model, inputs, row, col))
        if changed is None or changed.shape != plain.shape:
            return None
        moved_t = (changed - plain).float().norm(dim=-1)[0]
        if torch.nonzero(moved_t > 0.01 * moved_t.max()).flatten().tolist() != [leading + row * cols + col]:
            return None
    blocks = model.parts.vision_blocks
    kept = _output_shapes(blocks, model, inputs) == [tuple(plain.shape)] * len(blocks)
    return leading if kept else None  # some encoders merge patches between blocks


def projects_patches(model: TransformerReportModel, inputs: ModelInputs) -> bool:
    """Whether the projector puts out one row an image token, (1, patches, d), for a prompt with one image."""
    projector, blocks = model.parts.projector, model.parts.language_blocks
    if projector is None or not blocks:
        return False
    expected = (1, model.grid[0] * model.grid[1], model.width("projector"))
    return _output_shapes((projector,), model, inputs) == [expected]


def _output_shapes(
    modules: Sequence[nn.Module], model: TransformerReportModel, inputs: ModelInputs
) -> list[tuple[int, ...]]:
    """Shapes that modules put out, in order of computation, in a pass that ends where the decoder begins."""
    shapes: list[tuple[int, ...]] = []

    def note(module: nn.Module, arguments: Any, output: Any) -> None:
        output = output[0] if isinstance(output, (tuple, list)) and output else output
        shapes.append(tuple(output.shape) if isinstance(output, torch.Tensor) else ())

    handles = [module.register_forward_hook(note) for module in modules]
    try:
        if model.parts.language_blocks:
            _until(model.parts.language_blocks[0], lambda first: None, model, inputs)
        else:
            model.forward(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return shapes


def _first_input(model: TransformerReportModel, inputs: ModelInputs) -> torch.Tensor | None:
    """What goes into the encoder's first block, (images, rows, d)."""
    seen: list[torch.Tensor] = []
    _until(model.parts.vision_blocks[0], seen.append, model, inputs)
    return seen[0] if seen else None


def _until(
    module: nn.Module, take: Callable[[torch.Tensor], None], model: TransformerReportModel, inputs: ModelInputs
) -> None:
    """Run a forward pass up to a module and hand its input to ``take``."""

    def stop(module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        take(arguments[0] if arguments else named["hidden_states"])
        raise _Seen

    handle = module.register_forward_pre_hook(stop, with_kwargs=True)
    try:
        model.forward(inputs)
    except _Seen:
        pass
    finally:
        handle.remove()


def _with_patch_changed(model: TransformerReportModel, inputs: ModelInputs, row: int, col: int) -> ModelInputs:
    assert inputs.pixel_values_nchw is not None
    height, width = model.parts.patch_embedding.stride[-2:]  # type: ignore[union-attr, index]
    pixels = inputs.pixel_values_nchw.clone()
    pixels[:, :, row * height : (row + 1) * height, col * width : (col + 1) * width] += 1.0
    return replace(inputs, pixel_values_nchw=pixels)
