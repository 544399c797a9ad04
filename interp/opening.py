"""Where and how a run's model is opened: matters of the machine and of trust, not of the result.

They are asked for anew by every command that opens the model and never kept in the run directory: a run is data, and
opening somebody else's run must not execute code because its ``run.json`` says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from interp.progress import Progress, silent
from radiology.errors import InputError

if TYPE_CHECKING:
    from activations.models.base import ReportModel

DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Opening:
    """How to open a model.

    Attributes:
        device: ``cpu``, ``cuda``, ``cuda:1`` …
        device_map: ``auto`` spreads a large model over all devices (accelerate); ``device`` is then not used.
        trust_remote_code: whether code that comes with a checkpoint may be executed.
    """

    device: str = "cpu"
    device_map: str | None = None
    trust_remote_code: bool = False

    def open(self, name: str, dtype: str | None = None, progress: Progress = silent) -> ReportModel:
        """Open a model by name or folder; ``dtype`` None is the model's own default.

        ``progress`` is told how many tensors of its weights are read.

        Raises:
            InputError: no such model, device or number format.
        """
        import torch

        from activations import open_model

        if dtype is not None and dtype not in DTYPES:
            raise InputError(f"dtype: {dtype!r} is not one of {list(DTYPES)}")
        _check_device(self.device)
        return open_model(
            name,
            self.device,
            None if dtype is None else getattr(torch, dtype),
            device_map=self.device_map,
            trust_remote_code=self.trust_remote_code,
            progress=lambda done, total: progress(done, total, "reading weights"),
        )


def _check_device(device: str) -> None:
    import torch

    try:
        kind = torch.device(device)
    except RuntimeError:
        raise InputError(f"device: {device!r} is none; write cpu, cuda, cuda:1 …") from None
    if kind.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device: {device!r}, but torch {torch.__version__} finds no GPU; `interp doctor` says more")
    if kind.type == "cuda" and (kind.index or 0) >= torch.cuda.device_count():
        raise InputError(f"device: {device!r}, but there are {torch.cuda.device_count()} GPUs, counted from cuda:0")
