"""``open_model``: from a name or a folder to a model behind the common interface."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radiology.errors import InputError

if TYPE_CHECKING:
    import torch

    from activations.models.base import ReportModel

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
#: ``NAME:random`` is the random-weight twin of a model.
RANDOM_SUFFIX = ":random"
#: Called with tensors loaded and their total.
Progress = Callable[[int, int], None]


def open_model(
    name_or_path: str,
    device: str = "cpu",
    dtype: torch.dtype | None = None,
    *,
    device_map: str | Mapping[str, Any] | None = None,
    trust_remote_code: bool = False,
    progress: Progress | None = None,
) -> ReportModel:
    """Open a model by name or folder.

    ========================  =====================================================================================
    ``phantom``               embedded in the package; also ``phantom:late``, ``phantom:free``, ``phantom:random``
    ``microsoft/maira-2``     MAIRA-2 from the Hugging Face hub (gated) or from a folder with the published files
    another name or folder    any vision-language model, causal language model or Dinov2 encoder of transformers
    ``FILE.gguf``             a causal language model in GGUF
    any of these ``:random``  the same with weights as at the start of training: the control
    ========================  =====================================================================================

    Args:
        device: where to put it.
        dtype: number format of the weights; None is float32 on a CPU and what the checkpoint has elsewhere.
        device_map: ``auto`` or an explicit map spreads it over several devices (accelerate).
        trust_remote_code: allow code that comes with the checkpoint to run. MAIRA-2's prompt is such code.
        progress: called while weights are read.

    Raises:
        InputError: nothing by that name, files missing, or weights that do not fit; the message says what to do.
    """
    if name_or_path == "phantom" or name_or_path.startswith("phantom:"):
        return _phantom(name_or_path, device, dtype)
    if name_or_path.endswith(RANDOM_SUFFIX):
        from activations.models.random_weights import with_random_weights

        trained = name_or_path.removesuffix(RANDOM_SUFFIX)
        return with_random_weights(
            open_model(
                trained,
                device,
                dtype,
                device_map=device_map,
                trust_remote_code=trust_remote_code,
                progress=progress,
            )
        )
    options: dict[str, Any] = {
        "device_map": device_map,
        "trust_remote_code": trust_remote_code,
        "progress": progress,
    }
    config = _config(name_or_path)
    if "vocabulary" in config and "image_read_from" in config:
        from activations.models.phantom import open_phantom_folder

        return open_phantom_folder(Path(name_or_path).expanduser(), name_or_path, device, dtype)
    if config.get("model_type") == "maira2":
        from activations.models.maira2_model import open_maira2

        return open_maira2(name_or_path, device, dtype, **options)
    from activations.models.general import open_general

    return open_general(name_or_path, device, dtype, **options)


def _phantom(name: str, device: str, dtype: torch.dtype | None) -> ReportModel:
    from activations.models.phantom import open_phantom

    return open_phantom(name.partition(":")[2] or "late", device, dtype)


def _config(name_or_path: str) -> Mapping[str, Any]:
    """``config.json`` of a folder or of a hub name; empty for a GGUF file, which has none."""
    path = Path(name_or_path).expanduser()
    if path.is_file() and path.suffix == ".gguf":
        return {}
    if path.is_file():
        raise InputError(f"model {name_or_path!r}: is a file; give the folder that holds config.json and the weights")
    if path.is_dir():
        return _read(path / "config.json", name_or_path)
    if not _HUB_NAME.fullmatch(name_or_path):
        raise InputError(
            f"model {name_or_path!r}: no such folder, and not a name that is known (phantom, phantom:free, "
            "phantom:random, or a Hugging Face name such as microsoft/maira-2)"
        )
    from activations.models.hub import hub_file

    return _read(hub_file(name_or_path, "config.json"), name_or_path)


def _read(path: Path, name: str) -> Mapping[str, Any]:
    if not path.is_file():
        raise InputError(f"model {name!r}: {path.parent} has no config.json; give the folder of a checkpoint")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"model {name!r}: {path} cannot be read as JSON ({type(error).__name__})") from None
    if not isinstance(config, dict):
        raise InputError(f"model {name!r}: {path} holds no JSON object")
    return config
