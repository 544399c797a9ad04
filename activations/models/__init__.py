"""Opening a model: ``open_model("phantom")``, and what every opened model can do (:class:`ReportModel`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from radiology.errors import InputError

if TYPE_CHECKING:
    import torch

    from activations.models.base import ReportModel


def open_model(name_or_path: str, device: str = "cpu", dtype: torch.dtype | None = None) -> ReportModel:
    """Open a model by name or folder.

    ``phantom`` (or ``phantom:late``), ``phantom:free`` and ``phantom:random`` are embedded in the package; a
    folder with phantom weights (written by ``interp phantom train``) is opened by its path.

    Raises:
        InputError: nothing by that name; the message says what there is.
    """
    from pathlib import Path

    import torch

    from activations.models.phantom import open_phantom, open_phantom_folder

    dtype = dtype or torch.float32
    if name_or_path == "phantom" or name_or_path.startswith("phantom:"):
        return open_phantom(name_or_path.partition(":")[2] or "late", device, dtype)
    folder = Path(name_or_path)
    if (folder / "model.safetensors").is_file() and (folder / "config.json").is_file():
        return open_phantom_folder(folder, str(folder), device, dtype)
    raise InputError(
        f"model {name_or_path!r}: not a known name (phantom, phantom:free, phantom:random) and not a folder with "
        "config.json and model.safetensors"
    )
