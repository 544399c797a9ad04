"""Reading a checkpoint with transformers: quietly, whole, and with every refusal in our words."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from radiology.errors import InputError

_T = TypeVar("_T")
#: Called with tensors done and their total.
Progress = Callable[[int, int], None]
_SHOWN = 10
#: What transformers calls the loop over the tensors of a checkpoint, and over those of a GGUF file.
_LOOPS = ("Loading weights", "Converting and de-quantizing")


@dataclass(frozen=True)
class Checkpoint:
    """Where a model is read from.

    Attributes:
        name: what messages call it.
        trust_remote_code: whether code that comes with it may run.
    """

    name: str
    trust_remote_code: bool = False

    @property
    def gguf(self) -> Path | None:
        path = Path(self.name).expanduser()
        return path if path.suffix == ".gguf" else None

    @property
    def source(self) -> dict[str, Any]:
        """The arguments by which ``from_pretrained`` finds it."""
        if self.gguf is not None:
            where = {"pretrained_model_name_or_path": str(self.gguf.parent), "gguf_file": self.gguf.name}
        else:
            folder = Path(self.name).expanduser()
            where = {"pretrained_model_name_or_path": str(folder) if folder.is_dir() else self.name}
        return {**where, "trust_remote_code": self.trust_remote_code}

    def read(self, reader: Callable[..., _T], what: str, **options: Any) -> _T:
        """Call a ``from_pretrained``.

        Args:
            what: names what is read, for messages.

        Raises:
            InputError: whatever stands in the way, with what to do.
        """
        with quiet():
            try:
                return reader(**self.source, **options)
            except InputError:
                raise
            except Exception as error:  # damaged files can raise anything
                raise self._refusal(what, error) from None

    def _refusal(self, what: str, error: Exception) -> InputError:
        text = str(error)
        if "trust_remote_code" in text:
            return InputError(
                f"model {self.name!r}: its {what} is code that comes with the checkpoint and is not executed unasked. "
                "Read that code, then allow it with --trust-remote-code (trust_remote_code=True)"
            )
        reason = next((line.strip() for line in text.splitlines() if line.strip()), "no reason given")
        return InputError(f"model {self.name!r}: its {what} cannot be read ({type(error).__name__}: {reason[:400]})")


def load_module(
    checkpoint: Checkpoint,
    auto_class: Any,
    config: Any,
    device: str,
    dtype: torch.dtype | None,
    *,
    device_map: str | Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    needless: tuple[str, ...] = (),
) -> nn.Module:
    """Read the weights.

    Args:
        auto_class: ``AutoModel…`` of transformers.
        dtype: None is float32 on a CPU and what the checkpoint has elsewhere.
        device_map: for accelerate; ``device`` is then not used.
        progress: called while weights are read.
        needless: beginnings of names of parameters that may be missing, since nothing looks at them.

    Raises:
        InputError: files missing or damaged, or parameters that the checkpoint does not hold; they are listed.
    """
    placed: Any = device_map
    if device_map is None and torch.device(device).type != "cpu":
        placed = {"": device}
    on_cpu = placed is None or not torch.cuda.is_available()
    with _counting(progress):
        module, told = checkpoint.read(
            auto_class.from_pretrained,
            "weights",
            config=config,
            dtype=dtype or (torch.float32 if on_cpu else "auto"),
            device_map=dict(placed) if isinstance(placed, Mapping) else placed,
            output_loading_info=True,
        )
    missing = sorted(name for name in told["missing_keys"] if not name.startswith(needless))
    if missing:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise InputError(
            f"model {checkpoint.name!r}: the checkpoint lacks {len(missing)} parameters of {type(module).__name__}: "
            f"{', '.join(missing[:_SHOWN])}{more}. They would be random; is it a checkpoint of another class?"
        )
    return module


@contextmanager
def parsed_once(checkpoint: Checkpoint) -> Iterator[None]:
    """Parse a GGUF file once for configuration, tokenizer and weights; transformers would parse it for each.

    The same holds of the table of names of tensors, which transformers would make anew for every submodule: seconds.

    Raises:
        InputError: there is no such file, or nothing that reads it.
    """
    if checkpoint.gguf is None:
        yield
        return
    if not checkpoint.gguf.is_file():
        raise InputError(f"model {checkpoint.name!r}: there is no such file")
    try:
        gguf: Any = import_module("gguf")
    except ImportError:
        raise InputError(
            f"model {checkpoint.name!r}: reading GGUF files needs the package gguf: pip install gguf"
        ) from None
    reader, names = gguf.GGUFReader, gguf.get_tensor_name_map
    gguf.GGUFReader, gguf.get_tensor_name_map = lru_cache(maxsize=1)(reader), lru_cache(maxsize=1)(names)
    try:
        yield
    finally:
        gguf.GGUFReader, gguf.get_tensor_name_map = reader, names


@contextmanager
def quiet() -> Iterator[None]:
    """Let transformers say errors only, and draw bars on a terminal only."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


class _Counted:
    """In the place of a progress bar around the loop over tensors: goes through it and tells how far it is."""

    def __init__(self, items: Any, progress: Progress | None) -> None:
        self._items, self._progress = items, progress

    def __iter__(self) -> Iterator[Any]:
        total = len(self._items)
        for done, item in enumerate(self._items, start=1):
            yield item
            if self._progress is not None:
                self._progress(done, total)


@contextmanager
def _counting(progress: Progress | None) -> Iterator[None]:
    """Tell ``progress`` of the loops over tensors inside the block, instead of drawing bars."""
    from transformers import modeling_gguf_pytorch_utils as gguf
    from transformers.utils import logging

    def counted(*args: Any, **options: Any) -> Any:
        return _Counted(args[0], progress)

    def hook(factory: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        named = str(options.get("desc", "")).startswith(_LOOPS)
        return counted(*args) if named and args else factory(*args, **options)

    before, bar = logging.set_tqdm_hook(hook), gguf.tqdm
    gguf.tqdm = counted
    try:
        yield
    finally:
        logging.set_tqdm_hook(before)
        gguf.tqdm = bar
