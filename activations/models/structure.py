"""Finding the parts of a transformer by its structure: decoder blocks, image blocks, projector, norm, head.

No list of model families: blocks are a ``ModuleList`` of equal modules that hold attention. The decoder's blocks are
those nearest to the token embedding, the encoder's those nearest to the patch embedding (a convolution whose stride is
its kernel). What cannot be found is refused with the module tree.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from radiology.errors import InputError

_TREE_DEPTH = 4


@dataclass(frozen=True)
class Parts:
    """The parts of a model; ``None`` or empty where it has none.

    Attributes:
        language_blocks: decoder blocks; the output of block L is the residual stream after it.
        vision_blocks: blocks of the image encoder.
        projector: encoder width → decoder width, if it is a module of its own.
        token_embedding, final_norm, head: the decoder's.
        patch_embedding: the encoder's convolution.
    """

    language_blocks: tuple[nn.Module, ...]
    vision_blocks: tuple[nn.Module, ...]
    projector: nn.Module | None
    token_embedding: nn.Embedding | None
    final_norm: nn.Module | None
    head: nn.Module | None
    patch_embedding: nn.Module | None


def find_parts(module: nn.Module, name: str) -> Parts:
    """Look a model over.

    Args:
        name: what messages call the model.

    Raises:
        InputError: neither decoder blocks nor encoder blocks are found, or several could be meant.
    """
    paths = dict(module.named_modules())
    lists = {path: child for path, child in paths.items() if _is_block_list(child)}
    token_path = _path_of(paths, _token_embedding(module))
    patch_path = next((path for path, child in paths.items() if _is_patch_embedding(child)), None)
    language = None if token_path is None else _nearest(lists, token_path, patch_path, name, module)
    vision = None if patch_path is None else _nearest(lists, patch_path, token_path, name, module)
    if language is None and vision is None:
        raise InputError(
            f"model {name!r}: no blocks found (a list of equal modules with attention beside a token embedding or a "
            f"patch embedding). Its modules are:\n{module_tree(module)}"
        )
    return Parts(
        language_blocks=tuple(lists[language]) if language is not None else (),
        vision_blocks=tuple(lists[vision]) if vision is not None else (),
        projector=_projector(paths, language, vision, _head(module)),
        token_embedding=paths[token_path] if language is not None and token_path is not None else None,
        final_norm=_norm_after(paths, language) if language is not None else None,
        head=_head(module) if language is not None else None,
        patch_embedding=paths[patch_path] if vision is not None and patch_path is not None else None,
    )


def encoder_of(module: nn.Module, name: str) -> nn.Module:
    """The smallest part of a model that makes an image encoder: it holds patch embedding and blocks and takes pixels.

    Raises:
        InputError: there is none.
    """
    paths = dict(module.named_modules())
    parts = find_parts(module, name)
    inside = [path for path, child in paths.items() if child in (parts.patch_embedding, *parts.vision_blocks[:1])]
    for path in sorted(paths, key=len, reverse=True) if parts.vision_blocks else ():
        takes_pixels = "pixel_values" in inspect.signature(paths[path].forward).parameters
        if takes_pixels and all(_below(one, path) for one in inside):
            return paths[path]
    raise InputError(
        f"model {name!r}: no image encoder found (a patch embedding and blocks below a module that takes "
        f"pixel_values). Its modules are:\n{module_tree(module)}"
    )


def module_tree(module: nn.Module, depth: int = _TREE_DEPTH) -> str:
    """The module tree as indented lines; of a list of equal modules only the first is shown."""
    return "\n".join(_tree_lines(module, depth, ""))


def _tree_lines(module: nn.Module, depth: int, indent: str) -> Iterator[str]:
    children = list(module.named_children())
    alike = isinstance(module, nn.ModuleList) and len({type(child) for _, child in children}) == 1
    for name, child in children[:1] if alike else children:
        times = f" × {len(children)}" if alike and len(children) > 1 else ""
        yield f"{indent}{name}: {type(child).__name__}{times}"
        if depth > 1:
            yield from _tree_lines(child, depth - 1, indent + "  ")


def _is_block_list(module: nn.Module) -> bool:
    if not isinstance(module, nn.ModuleList) or not len(module) or len({type(block) for block in module}) != 1:
        return False
    # of hybrid models only some blocks hold attention, or one that has another name
    names = (f"{name} {type(part).__name__}".lower() for block in module for name, part in block.named_modules())
    return any("attention" in name or "attn" in name for name in names)


def _is_patch_embedding(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Conv2d | nn.Conv3d) and module.stride == module.kernel_size and module.kernel_size[-1] > 1
    )


def _token_embedding(module: nn.Module) -> nn.Module | None:
    getter = getattr(module, "get_input_embeddings", None)
    try:
        found = getter() if getter is not None else None
    except (NotImplementedError, AttributeError):
        found = None
    return found if isinstance(found, nn.Embedding) else None


def _head(module: nn.Module) -> nn.Module | None:
    getter = getattr(module, "get_output_embeddings", None)
    try:
        return getter() if getter is not None else None
    except (NotImplementedError, AttributeError):
        return None


def _path_of(paths: dict[str, nn.Module], wanted: nn.Module | None) -> str | None:
    return next((path for path, child in paths.items() if child is wanted), None) if wanted is not None else None


def _ancestors(path: str) -> Iterator[str]:
    """The path's parents, nearest first; the root is the empty path."""
    while path:
        path = path.rpartition(".")[0]
        yield path


def _below(path: str, ancestor: str) -> bool:
    return not ancestor or path == ancestor or path.startswith(f"{ancestor}.")


def _nearest(
    lists: dict[str, nn.ModuleList], embedding: str, other: str | None, name: str, module: nn.Module
) -> str | None:
    """The block list under the nearest ancestor of an embedding, as long as that does not hold the other one, too."""
    for ancestor in _ancestors(embedding):
        if other is not None and _below(other, ancestor):
            return None
        found = [path for path in lists if _below(path, ancestor)]
        outer = [path for path in found if not any(_below(path, around) and path != around for around in found)]
        if len(outer) > 1:
            raise InputError(
                f"model {name!r}: {', '.join(outer)} could all be its blocks. Its modules are:\n{module_tree(module)}"
            )
        if outer:
            return outer[0]
    return None


def _norm_after(paths: dict[str, nn.Module], blocks: str) -> nn.Module | None:
    """The norm that stands beside the blocks."""
    parent = blocks.rpartition(".")[0]
    beside = [child for path, child in paths.items() if path.rpartition(".")[0] == parent and path != parent]
    norms = [child for child in beside if "norm" in type(child).__name__.lower() and hasattr(child, "weight")]
    return norms[-1] if norms else None


def _projector(
    paths: dict[str, nn.Module], language: str | None, vision: str | None, head: nn.Module | None
) -> nn.Module | None:
    """The one module with parameters beside the branches of encoder and decoder that is not the head."""
    if language is None or vision is None:
        return None
    common = next(ancestor for ancestor in _ancestors(language) if _below(vision, ancestor))
    children = {path: child for path, child in paths.items() if path and path.rpartition(".")[0] == common}
    between = [
        child
        for path, child in children.items()
        if not _below(language, path)
        and not _below(vision, path)
        and child is not head
        and not isinstance(child, nn.Embedding)
        and next(child.parameters(), None) is not None
    ]
    return between[0] if len(between) == 1 else None
