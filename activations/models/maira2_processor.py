"""MAIRA-2's processor as it lies in the user's own copy: tokenizer, image processor, and the code that writes prompts.

That code (``processing_maira2.py``) belongs to the checkpoint and runs only where the user allowed it.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import xxhash

from activations.models.maira2_config import read_json
from radiology.errors import InputError

#: Small files that decide what a prompt looks like; those that are there are part of a model's fingerprint.
PROMPT_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.json",
    "chat_template.jinja",
    "preprocessor_config.json",
    "processor_config.json",
)
_NAMES_CODE = ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json", "config.json")
_NOT_ARGUMENTS = {"auto_map", "processor_class", "image_processor", "tokenizer", "chat_template"}
REPORTING = "format_and_preprocess_reporting_input"


@dataclass(frozen=True)
class PromptCode:
    """A class in a file of the checkpoint."""

    file: Path
    class_name: str


def prompt_code(folder: Path, trust_remote_code: bool) -> PromptCode:
    """Which code writes this checkpoint's prompts; allowed to run, or an error that says what to do.

    Raises:
        InputError: no file of the folder names such code, the code is not there, or ``trust_remote_code`` is not given.
    """
    reference = next(filter(None, (_auto_processor(folder / name) for name in _NAMES_CODE)), None)
    if reference is None:
        raise InputError(
            f"checkpoint {folder}: no file says which code writes its prompts (auto_map, AutoProcessor); "
            "download the *.json files again"
        )
    module, _, class_name = reference.rpartition("--")[2].rpartition(".")
    file = folder / f"{module}.py"
    if not module.isidentifier() or not file.is_file():
        raise InputError(
            f"checkpoint {folder}: has no {module}.py, which its files name; download the *.py files again"
        )
    if not trust_remote_code:
        raise InputError(
            f"checkpoint {folder}: the wording of its prompts is code that came with it, {file} (class {class_name}). "
            "Read that file; if you trust it, let it run with --trust-remote-code (Python: trust_remote_code=True)"
        )
    return PromptCode(file, class_name)


def load_processor(folder: Path, code: PromptCode, patch_size: int) -> Any:
    """Run the checkpoint's code and build its processor from the folder's own configuration.

    ``tokenizer.json`` is taken as it is. (transformers 5 would build Llama's tokenizer anew from the vocabulary and
    make other tokens around special ones.) Images go through Pillow, as they did when the checkpoint was made.

    Raises:
        InputError: the code does not run with this version of transformers, or a file of the folder is missing.
    """
    processor_class = _class_of(code)
    settings_file = folder / "processor_config.json"
    settings = read_json(settings_file) if settings_file.is_file() else {}
    arguments = {key: value for key, value in settings.items() if key not in _NOT_ARGUMENTS}
    arguments.setdefault("patch_size", patch_size)
    tokenizer = _tokenizer(folder)
    try:
        processor = processor_class(image_processor=_image_processor(folder), tokenizer=tokenizer, **arguments)
    except InputError:
        raise
    except Exception as error:  # foreign code can raise anything
        raise _foreign(code, "cannot be built", error) from error
    if not hasattr(processor, REPORTING):
        raise InputError(f"{code.file}: {code.class_name} has no {REPORTING}; is this MAIRA-2's processor?")
    return processor


def file_hashes(folder: Path, code: PromptCode) -> dict[str, str]:
    """xxh3_128 of every file that decides what a prompt looks like."""
    files = [code.file, *(folder / name for name in PROMPT_FILES)]
    return {file.name: xxhash.xxh3_128(file.read_bytes()).hexdigest() for file in files if file.is_file()}


def _auto_processor(path: Path) -> str | None:
    if not path.is_file():
        return None
    auto_map = read_json(path).get("auto_map")
    value = auto_map.get("AutoProcessor") if isinstance(auto_map, dict) else None
    return value if isinstance(value, str) else None


def _class_of(code: PromptCode) -> type:
    """Import the file under a name of its own, as part of a package so that it can import files beside it."""
    package = f"checkpoint_{xxhash.xxh3_64(bytes(code.file.resolve()) + code.file.read_bytes()).hexdigest()}"
    name = f"{package}.{code.file.stem}"
    if name not in sys.modules:
        home = ModuleType(package)
        home.__path__ = [str(code.file.parent)]
        spec = importlib.util.spec_from_file_location(name, code.file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules.update({package: home, name: module})
        try:
            with _no_bytecode():
                spec.loader.exec_module(module)
        except Exception as error:
            del sys.modules[package], sys.modules[name]
            raise _foreign(code, "cannot be imported", error) from error
    found = getattr(sys.modules[name], code.class_name, None)
    if not isinstance(found, type):
        raise InputError(f"{code.file}: has no class {code.class_name}; download the *.py files again")
    return found


@contextmanager
def _no_bytecode() -> Iterator[None]:
    """Nothing is written into the user's checkpoint."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def _foreign(code: PromptCode, what: str, error: Exception) -> InputError:
    import transformers

    return InputError(
        f"{code.file}: {what} with transformers {transformers.__version__}: {type(error).__name__}: {error}. "
        "Get the checkpoint's newest files"
    )


def _tokenizer(folder: Path) -> Any:
    from transformers import PreTrainedTokenizerFast
    from transformers.tokenization_utils_base import VERY_LARGE_INTEGER

    if not (folder / "tokenizer.json").is_file():
        raise InputError(f"checkpoint {folder}: has no tokenizer.json; download it again")
    with _quiet("transformers.tokenization_utils_base"):  # about the class of the tokenizer, see load_processor
        try:
            tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, padding_side="left")
        except Exception as error:  # tokenizers raises bare Exception for damaged files
            raise InputError(f"{folder / 'tokenizer.json'}: cannot be read ({error}); download it again") from None
    tokenizer.model_max_length = VERY_LARGE_INTEGER  # three images alone are more than the 4,096 tokens of Llama 2
    template = folder / "chat_template.json"
    if tokenizer.chat_template is None and template.is_file():
        tokenizer.chat_template = read_json(template).get("chat_template")
    if tokenizer.chat_template is None:
        raise InputError(f"checkpoint {folder}: has no chat template (tokenizer_config.json); download it again")
    return tokenizer


def _image_processor(folder: Path) -> Any:
    from transformers import AutoImageProcessor

    settings = folder / "preprocessor_config.json"
    if "image_processor_type" not in read_json(settings):
        raise InputError(f"{settings}: 'image_processor_type' is missing; download it again")
    try:
        return AutoImageProcessor.from_pretrained(folder, backend="pil")
    except (ValueError, OSError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{settings}: no image processor can be made of it ({error})") from None


@contextmanager
def _quiet(logger_name: str) -> Iterator[None]:
    import logging

    logger = logging.getLogger(logger_name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
