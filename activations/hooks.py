"""Reading what a model's modules put out, without changing anything."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from activations.models.base import ModelInputs, ReportModel
from activations.roles import Role, TokenTable
from radiology.errors import InputError

#: Rows that an encoder may have before its patches (CLS, registers); they belong to no token of a prompt.
MAX_LEADING_ROWS = 16
_ALIAS = re.compile(r"blocks\.(\d+)\.hook_resid_post")


class HookError(RuntimeError):
    """A hook did not see what it was promised: it never fired, or the output has an unknown form."""


def canonical_site(site: str) -> str:
    """``blocks.15.hook_resid_post`` → ``language.15``; other names as they are."""
    match = _ALIAS.fullmatch(site)
    return f"language.{match[1]}" if match else site


def is_image_site(site: str) -> bool:
    """Whether a site has rows for image tokens only (``projector``, ``vision.L``)."""
    return canonical_site(site).split(".")[0] in ("vision", "projector")


def resolve_sites(model: ReportModel, sites: Sequence[str]) -> dict[str, nn.Module]:
    """Canonical site name → module, in the order asked for.

    Raises:
        InputError: a site that the model has not, or one asked for twice.
    """
    known = model.sites()
    names = [canonical_site(site) for site in sites]
    for name in names:
        if name not in known:
            raise InputError(f"site: {model.name} has no {name!r}; it has {', '.join(known)}")
    if len(set(names)) != len(names):
        raise InputError(f"site: {', '.join(sites)} names the same site twice")
    return {name: known[name] for name in names}


class Recorder:
    """Outputs of the watched sites since they were last taken; made by :func:`capture`."""

    def __init__(self, sites: Sequence[str]) -> None:
        self._outputs: dict[str, list[tuple[torch.Tensor, int | None]]] = {site: [] for site in sites}
        self._fired: dict[str, int] = dict.fromkeys(sites, 0)

    @property
    def fired(self) -> dict[str, int]:
        """How often each site's hook fired so far."""
        return dict(self._fired)

    def take(self, site: str) -> torch.Tensor:
        """The site's output since the last ``take``, and forget it.

        One forward pass gives (B, T, d), or (images, patches, d) for vision sites; the steps of a cached generation
        are joined along the second axis. The tensor is the model's own, detached: do not write into it.

        Raises:
            HookError: the hook did not fire since the last ``take``; or the model overwrote its output in place.
        """
        site = canonical_site(site)
        if site not in self._outputs:
            raise InputError(f"site: {site!r} is not being captured; captured are {', '.join(self._outputs)}")
        outputs, self._outputs[site] = self._outputs[site], []
        if not outputs:
            raise HookError(f"{site}: the hook never fired; the module was not part of this forward pass")
        for tensor, version in outputs:
            if version is not None and tensor._version != version:
                raise HookError(f"{site}: the model changed this output in place after it was recorded")
        tensors = [tensor for tensor, _ in outputs]
        return tensors[0] if len(tensors) == 1 else torch.cat(tensors, dim=1)

    def clear(self) -> None:
        """Forget all outputs."""
        for outputs in self._outputs.values():
            outputs.clear()

    def _record(self, site: str, output: Any) -> None:
        tensor = _residual(site, output)
        # inference tensors keep no version counter
        self._outputs[site].append((tensor, None if tensor.is_inference() else tensor._version))
        self._fired[site] += 1


class _AllFired(Exception):  # noqa: N818 - not an error: ends a forward pass that has shown all it should
    pass


@contextmanager
def capture(model: ReportModel, sites: Sequence[str], *, stop: bool = False) -> Iterator[Recorder]:
    """Record the outputs of ``sites`` of everything that runs inside the ``with`` block.

    Args:
        stop: end the block as soon as every site has fired once; what comes after it in the forward pass (later
            blocks, logits) is not computed. Take the outputs after the block.

    Raises:
        InputError: unknown site.
        HookError: on leaving the block, a site whose hook never fired.
    """
    modules = resolve_sites(model, sites)
    recorder = Recorder(list(modules))
    handles = []
    try:
        for site, module in modules.items():
            handles.append(module.register_forward_hook(_hook(recorder, site, stop)))
        yield recorder
    except _AllFired:
        pass
    finally:
        for handle in handles:
            handle.remove()
    silent = [site for site, count in recorder.fired.items() if not count]
    if silent:
        raise HookError(f"{', '.join(silent)}: the hook never fired; the module was not part of any forward pass")


def _hook(recorder: Recorder, site: str, stop: bool) -> Any:
    def hook(module: nn.Module, arguments: Any, output: Any) -> None:
        recorder._record(site, output)
        if stop and all(recorder.fired.values()):
            raise _AllFired

    return hook


def _residual(site: str, output: Any) -> torch.Tensor:
    if isinstance(output, (tuple, list)) and output:
        output = output[0]
    if not isinstance(output, torch.Tensor) or output.dim() != 3:
        shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        raise HookError(f"{site}: expected an output of three axes (rows, tokens, width), got {shape}")
    return output.detach()


def positions_for(site: str, tokens: TokenTable) -> np.ndarray:
    """Prompt positions that have a row at a site: all for ``language.L``, image tokens for vision sites; (n,) int."""
    return tokens.where([Role.IMAGE]) if is_image_site(site) else np.arange(len(tokens))


def rows_for(
    site: str, output: torch.Tensor, inputs: ModelInputs, tables: Sequence[TokenTable] | None = None
) -> list[torch.Tensor]:
    """Cut a site's output into the rows of each study, as views where possible.

    Args:
        output: (B, T, d), or for vision sites (images, rows, d), where the patches are the last rows.
        inputs: the batch that was run.
        tables: token tables if they are longer than ``inputs.tokens``, as after a generation.

    Returns:
        For each study (n, d): row j belongs to token ``positions_for(site, table)[j]``. Padding and what an encoder
        has before its patches (CLS, registers) are left out.
    """
    tables = inputs.tokens if tables is None else tables
    if is_image_site(site):
        return _image_rows(site, output, tables)
    longest = max(pad + len(table) for pad, table in zip(inputs.padding, tables, strict=True))
    if output.shape[0] != len(inputs) or output.shape[1] < longest:
        raise HookError(f"{site}: output {tuple(output.shape)} does not hold {len(inputs)} rows of {longest} tokens")
    return [
        output[i, pad : pad + len(table)] for i, (pad, table) in enumerate(zip(inputs.padding, tables, strict=True))
    ]


def _image_rows(site: str, output: torch.Tensor, tables: Sequence[TokenTable]) -> list[torch.Tensor]:
    rows: list[torch.Tensor] = []
    taken = 0
    for table in tables:
        parts = []
        for patches in _patches_of_images(table):
            if taken >= output.shape[0] or not 0 <= output.shape[1] - patches <= MAX_LEADING_ROWS:
                raise HookError(
                    f"{site}: output {tuple(output.shape)} does not fit image {taken} with {patches} patch tokens"
                )
            parts.append(output[taken, output.shape[1] - patches :])
            taken += 1
        rows.append(torch.cat(parts) if parts else output.new_empty(0, output.shape[2]))
    if taken != output.shape[0]:
        raise HookError(f"{site}: output holds {output.shape[0]} images, the prompts have {taken}")
    return rows


def _patches_of_images(table: TokenTable) -> list[int]:
    """Number of patch tokens of each image of a prompt, in prompt order."""
    images = table.image[table.where([Role.IMAGE])]
    _, first, counts = np.unique(images, return_index=True, return_counts=True)
    return [int(n) for n in counts[np.argsort(first)]]
