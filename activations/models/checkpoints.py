"""Published safetensors checkpoints, read tensor by tensor into a module that was built without memory.

All names and shapes are compared before a single tensor is read: not one may be missing and not one left over. Then
the shards are read one after the other, in the order of their bytes; beside the model there is never more than one
tensor in memory.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
import xxhash
from torch import nn

from activations.models.placement import Placement
from radiology.errors import InputError

#: Called with tensors done and their total.
Progress = Callable[[int, int], None]

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
_LFS = b"version https://git-lfs"
_FLOATS = {"F64", "F32", "F16", "BF16"}
_SHOWN = 20


@dataclass(frozen=True)
class StoredTensor:
    """A tensor as it lies in a file; ``dtype`` is safetensors' name of it, ``start`` its first byte."""

    name: str
    path: Path
    dtype: str
    shape: tuple[int, ...]
    start: int


@dataclass(frozen=True)
class KeyRules:
    """How published names become those of a module.

    Attributes:
        renamed: (regular expression, replacement); the first that matches counts. A name that the module has stays.
        ignored: regular expressions for whole names of what modules compute by themselves nowadays.
    """

    renamed: tuple[tuple[str, str], ...] = ()
    ignored: tuple[str, ...] = ()

    def name(self, published: str, own: Mapping[str, Any]) -> str | None:
        """The module's name for a published one; ``None`` if it is to be ignored."""
        if published in own:
            return published
        if any(re.fullmatch(pattern, published) for pattern in self.ignored):
            return None
        for pattern, replacement in self.renamed:
            name, matches = re.subn(pattern, replacement, published)
            if matches:
                return name
        return published


def load_checkpoint(
    module: nn.Module,
    folder: Path,
    *,
    dtype: torch.dtype,
    placement: Placement,
    rules: KeyRules | None = None,
    described: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> str:
    """Read a checkpoint into a module that was built on the ``meta`` device.

    Args:
        module: its buffers that are not stored (rope frequencies) are built anew, in float32.
        folder: holds ``model.safetensors``, or shards with ``model.safetensors.index.json``.
        dtype: bfloat16, float16 or float32; what the weights become.
        placement: where they go.
        described: what else makes this model what it is (configuration, hashes of files); part of the fingerprint.

    Returns:
        The fingerprint: xxh3_128 over ``described``, each tensor's published name, stored number format, shape and
        bytes, and ``dtype``. It does not depend on how the tensors are spread over shards.

    Raises:
        InputError: files missing or damaged, or names, shapes or number formats that do not fit; all are listed.
    """
    if dtype not in (torch.bfloat16, torch.float16, torch.float32):
        raise InputError(f"dtype {dtype}: weights can become bfloat16, float16 or float32")
    matched = match_tensors(module, folder, rules or KeyRules())
    hashes: list[tuple[str, str, tuple[int, ...], str]] = []
    for done, (name, stored, value) in enumerate(_read(matched), start=1):
        hashes.append((stored.name, stored.dtype, stored.shape, _hash(value)))
        _set(module, name, _converted(value, placement.device_of(name), dtype, stored))
        if progress is not None:
            progress(done, len(matched))
    _build_buffers(module, placement)
    placement.dispatch(module)
    whole = json.dumps([described or {}, sorted(hashes), str(dtype)], sort_keys=True)
    return xxhash.xxh3_128(whole.encode()).hexdigest()


def stored_tensors(folder: Path) -> list[StoredTensor]:
    """What a checkpoint holds, shard by shard, from the headers of its files alone.

    Raises:
        InputError: no safetensors there, a shard that is missing, cut off or a git-lfs pointer, or an index that does
            not say what its shards hold.
    """
    if (folder / SINGLE).is_file():
        return _header(folder / SINGLE)
    if not (folder / INDEX).is_file():
        other = " There is a .bin file, which can hold code and is not read." if any(folder.glob("*.bin")) else ""
        raise InputError(f"checkpoint {folder}: has neither {SINGLE} nor {INDEX}.{other}")
    shards = _index(folder / INDEX)
    missing = [shard for shard in shards if not (folder / shard).is_file()]
    if missing:
        raise InputError(
            f"checkpoint {folder}: {len(missing)} of {len(shards)} files that {INDEX} names are not there: "
            f"{_some(missing)}; download the checkpoint again"
        )
    tensors: list[StoredTensor] = []
    for shard, names in shards.items():
        held = _header(folder / shard)
        _same_names(folder / shard, names, {tensor.name for tensor in held})
        tensors += held
    return tensors


def _index(path: Path) -> dict[str, set[str]]:
    """File → names of its tensors, files in order of their names."""
    try:
        weight_map = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        pairs = [(str(shard), str(name)) for name, shard in weight_map.items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise InputError(
            f"{path}: is not an index of a checkpoint (JSON with 'weight_map'); download it again"
        ) from None
    shards: dict[str, set[str]] = {}
    for shard, name in sorted(pairs):
        if Path(shard).name != shard:
            raise InputError(f"{path}: names the file {shard!r}, which is not one beside it")
        shards.setdefault(shard, set()).add(name)
    return shards


def _same_names(path: Path, promised: set[str], held: set[str]) -> None:
    if lacking := sorted(promised - held):
        raise InputError(
            f"{path}: lacks {len(lacking)} tensors that {INDEX} promises: {_some(lacking)}; download it again"
        )
    if extra := sorted(held - promised):
        raise InputError(
            f"{path}: holds {len(extra)} tensors that {INDEX} does not know: {_some(extra)}; download it again"
        )


def _header(path: Path) -> list[StoredTensor]:
    """The tensors of one safetensors file: 8 bytes length (little endian), JSON of that length, then the bytes."""
    again = "download it again"
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(len(_LFS))
        if start == _LFS:
            raise InputError(f"{path}: is a git-lfs pointer, not the weights; run `git lfs pull`, or download it again")
        length = int.from_bytes(start[:8], "little")
        if size < 8 or length > size - 8:
            raise InputError(f"{path}: is cut off or no safetensors file ({size} bytes); {again}")
        file.seek(8)
        try:
            entries = json.loads(file.read(length))
            entries.pop("__metadata__", None)
            tensors = [
                StoredTensor(name, path, str(e["dtype"]), tuple(e["shape"]), int(e["data_offsets"][0]))
                for name, e in entries.items()
            ]
            end = max((int(e["data_offsets"][1]) for e in entries.values()), default=0)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            raise InputError(f"{path}: has no readable safetensors header; {again}") from None
    if size != 8 + length + end:
        raise InputError(f"{path}: has {size} bytes, its header promises {8 + length + end}: cut off; {again}")
    return sorted(tensors, key=lambda tensor: tensor.start)


def match_tensors(module: nn.Module, folder: Path, rules: KeyRules) -> list[tuple[str, StoredTensor]]:
    """(name in the module, tensor in the file), in reading order, from headers alone.

    Raises:
        InputError: a tensor is missing, left over, or of another shape or kind; all of them are listed.
    """
    own = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    found: dict[str, StoredTensor] = {}
    unexpected: list[str] = []
    unfit: list[str] = []
    for tensor in stored_tensors(folder):
        name = rules.name(tensor.name, own)
        if name is None:
            continue
        if name not in own or name in found:
            unexpected.append(tensor.name)
            continue
        found[name] = tensor
        if tensor.shape != own[name]:
            unfit.append(f"{tensor.name} is {tensor.shape}, the model's {own[name]}")
        elif tensor.dtype not in _FLOATS:
            unfit.append(f"{tensor.name} is stored as {tensor.dtype}, not as floating-point numbers")
    missing = [name for name in own if name not in found]
    problems = [
        f"{len(names)} {what}: {_some(names, '; ')}"
        for what, names in (("missing", missing), ("unexpected", unexpected), ("of another kind", unfit))
        if names
    ]
    if problems:
        raise InputError(f"checkpoint {folder}: does not fit {type(module).__name__}. Tensors " + ". ".join(problems))
    return list(found.items())


def _read(matched: Sequence[tuple[str, StoredTensor]]) -> Iterator[tuple[str, StoredTensor, torch.Tensor]]:
    """Tensors one at a time; each is a view into its file and good until the next."""
    from safetensors import SafetensorError, safe_open

    for path, tensors in groupby(matched, key=lambda pair: pair[1].path):
        try:
            with safe_open(path, framework="pt", device="cpu") as file:
                for name, stored in tensors:
                    yield name, stored, file.get_tensor(stored.name)
        except SafetensorError as error:
            raise InputError(f"{path}: cannot be read ({error}); download it again") from None


def _hash(value: torch.Tensor) -> str:
    return xxhash.xxh3_128(value.contiguous().reshape(-1).view(torch.uint8).numpy().data).hexdigest()


def _converted(value: torch.Tensor, device: torch.device, dtype: torch.dtype, stored: StoredTensor) -> torch.Tensor:
    """A copy on a device in a number format."""
    out = torch.empty(value.shape, device=device, dtype=dtype)
    out.copy_(value)
    if dtype is torch.float16 and not bool(torch.isfinite(out).all()):
        raise InputError(f"{stored.path}: {stored.name} holds values beyond float16; take bfloat16 or float32")
    return out


def _set(module: nn.Module, name: str, value: torch.Tensor) -> None:
    owner, _, leaf = name.rpartition(".")
    part = module.get_submodule(owner)
    if leaf in part._parameters:
        part._parameters[leaf] = nn.Parameter(value, requires_grad=False)
    else:
        part._buffers[leaf] = value


def _build_buffers(module: nn.Module, placement: Placement) -> None:
    """Buffers that no file holds, such as rope frequencies, as their modules build them from their configuration."""
    for path, part in module.named_modules():
        unbuilt = [name for name, value in part._buffers.items() if value is not None and value.is_meta]
        if unbuilt:
            fresh: Any = type(part)(part.config)
            for name in unbuilt:
                part._buffers[name] = fresh._buffers[name].to(placement.device_of(f"{path}.{name}"))


def _some(names: Sequence[str], between: str = ", ") -> str:
    """The first names of a list, and how many more there are."""
    more = f"{between}and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return between.join(names[:_SHOWN]) + more
