"""What a checkpoint holds and whether it fits, from its small files and the headers of its weights alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from radiology.errors import InputError


@dataclass(frozen=True)
class CheckpointFacts:
    """A checkpoint as it lies in its folder.

    Attributes:
        kind: what it is, for people.
        parameters: numbers in all stored tensors.
        files: files that hold them.
        fits: names and shapes were compared with the architecture's.
        code: code of the checkpoint that runs when it is opened, if any.
    """

    kind: str
    parameters: int
    files: int
    fits: bool
    code: Path | None


def inspect_checkpoint(name_or_path: str) -> CheckpointFacts:
    """Look at a checkpoint without loading it; a hub name is looked for in the local cache only.

    Raises:
        InputError: not there, damaged, or another architecture than it says.
    """
    from activations.models.checkpoints import stored_tensors

    if name_or_path.endswith(".gguf"):
        return _gguf(Path(name_or_path).expanduser())
    folder = _folder(name_or_path)
    config = _config(folder, name_or_path)
    tensors = stored_tensors(folder)
    parameters = sum(prod(tensor.shape) for tensor in tensors)
    files = len({tensor.path for tensor in tensors})
    if config.get("model_type") == "maira2":
        from activations.models.maira2_model import check_maira2

        return CheckpointFacts("MAIRA-2", parameters, files, True, check_maira2(folder))
    kind = ", ".join(config.get("architectures") or [str(config.get("model_type", "unknown"))])
    code = next(iter(sorted(folder.glob("*.py"))), None) if "auto_map" in config else None
    return CheckpointFacts(kind, parameters, files, False, code)


def _gguf(path: Path) -> CheckpointFacts:
    if not path.is_file():
        raise InputError(f"model {path}: there is no such file")
    try:
        from gguf import GGUFReader
    except ModuleNotFoundError:
        raise InputError(f"model {path}: GGUF files are read with the package gguf; run: pip install gguf") from None
    try:
        tensors = GGUFReader(path).tensors
    except (ValueError, IndexError, OSError) as error:
        raise InputError(f"model {path}: is not a whole GGUF file ({type(error).__name__})") from None
    return CheckpointFacts("GGUF", sum(int(tensor.n_elements) for tensor in tensors), 1, False, None)


def _folder(name_or_path: str) -> Path:
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise InputError(f"model {name_or_path!r}: is a file; give the folder that holds config.json and the weights")
    from huggingface_hub import errors, try_to_load_from_cache

    try:
        found = try_to_load_from_cache(name_or_path, "config.json")
    except errors.HFValidationError:
        raise InputError(f"model {name_or_path!r}: no such folder, and no name on the Hugging Face hub") from None
    if not isinstance(found, str):
        raise InputError(
            f"model {name_or_path!r}: not in the local cache, and nothing is downloaded here. Fetch it with "
            f"`hf download {name_or_path}`, or give the folder of a copy"
        )
    return Path(found).parent


def _config(folder: Path, name: str) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"model {name!r}: {path} cannot be read as JSON ({type(error).__name__})") from None
    if not isinstance(config, dict):
        raise InputError(f"model {name!r}: {path} holds no JSON object")
    return config
