"""Which part of a model goes to which device: one for all, or a map by accelerate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from radiology.errors import InputError

_GB = 1e9


@dataclass(frozen=True)
class Placement:
    """Module path → device; the longest path that a name begins with counts, the empty path is everything."""

    devices: Mapping[str, torch.device]

    def device_of(self, name: str) -> torch.device:
        """Where a parameter or buffer goes."""
        fitting = [path for path in self.devices if _below(name, path)]
        return self.devices[max(fitting, key=len)]

    def dispatch(self, module: nn.Module) -> None:
        """Let accelerate move what flows between parts that are on several devices."""
        if len(set(self.devices.values())) > 1:
            from accelerate import dispatch_model

            dispatch_model(module, dict(self.devices), skip_keys="past_key_values")


def place(
    module: nn.Module, device: str, device_map: str | Mapping[str, Any] | None, dtype: torch.dtype, name: str
) -> Placement:
    """Decide where the parts of a module go.

    Args:
        module: built on the ``meta`` device.
        device: for everything, if there is no map.
        device_map: ``auto`` (accelerate fills one device after the other, then main memory) or module path → device.
        dtype: what the weights will be.
        name: what messages call the model.

    Raises:
        InputError: a device that is not here, a map that does not cover the module, or too little memory.
    """
    if device_map is None:
        return Placement({"": _device(device, name)})
    if isinstance(device_map, str):
        if device_map != "auto":
            raise InputError(
                f"model {name!r}: device map {device_map!r}; give auto, or module names with their devices"
            )
        return _automatic(module, dtype, name)
    return _explicit(module, device_map, name)


def _automatic(module: nn.Module, dtype: torch.dtype, name: str) -> Placement:
    from accelerate import infer_auto_device_map

    found = infer_auto_device_map(module, no_split_module_classes=_not_to_split(module), dtype=dtype)
    on_disk = [path for path, where in found.items() if where == "disk"]
    if on_disk:
        missing = sum(_bytes_below(module, path, dtype) for path in on_disk)
        raise InputError(
            f"model {name!r}: {missing / _GB:.1f} GB of its {_bytes_below(module, '', dtype) / _GB:.1f} GB fit neither "
            "on a device nor in main memory; free memory, add a device, or take bfloat16"
        )
    return Placement({path: _device(where, name) for path, where in found.items()})


def _explicit(module: nn.Module, device_map: Mapping[str, Any], name: str) -> Placement:
    paths = dict(module.named_modules())
    unknown = [path for path in device_map if path not in paths]
    if unknown:
        raise InputError(f"model {name!r}: the device map names {unknown}, which are no modules of it")
    keys = list(module.state_dict())
    free = [key for key in keys if not any(_below(key, path) for path in device_map)]
    if free:
        raise InputError(
            f"model {name!r}: the device map says nothing about {len(free)} tensors, such as {free[0]}; add '' for "
            "the rest"
        )
    return Placement({path: _device(where, name) for path, where in device_map.items()})


def _device(where: Any, name: str) -> torch.device:
    """A device that exists; a number is a GPU."""
    try:
        device = torch.device("cuda", where) if isinstance(where, int) else torch.device(where)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError, NotImplementedError):
        raise InputError(
            f"model {name!r}: device {where!r} is not here; there are cpu and {torch.cuda.device_count()} CUDA devices"
        ) from None
    return device


def _not_to_split(module: nn.Module) -> list[str]:
    """Names of classes whose parts have to stay together, as the model and its parts declare them."""
    return sorted({name for part in module.modules() for name in getattr(part, "_no_split_modules", None) or ()})


def _bytes_below(module: nn.Module, path: str, dtype: torch.dtype) -> int:
    return sum(p.numel() for name, p in module.named_parameters() if _below(name, path)) * dtype.itemsize


def _below(name: str, path: str) -> bool:
    return not path or name == path or name.startswith(f"{path}.")
