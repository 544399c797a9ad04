"""What is installed, what would fail, and why."""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from interp import __version__

State = Literal["ok", "warn", "fail"]

_NEEDED = (
    "torch", "transformers", "accelerate", "numpy", "pandas", "pyarrow", "duckdb", "h5py", "plotly", "dash", "typer",
    "rich", "pydicom", "safetensors", "scikit-learn", "scipy", "tokenizers", "xxhash", "pillow", "pydantic",
)  # fmt: skip
#: Package → what does not work without it.
_FOR_SOME = {
    "openai": "explain and score with a language model",
    "sae-lens": "comparisons with SAELens",
    "transformer-lens": "bridging text models to TransformerLens",
    "nnsight": "tracing with nnsight",
    "gguf": "language models in GGUF files",
    "hdf5plugin": "compressed activation stores",
    "imagecodecs": "DICOM in JPEG Lossless, JPEG-LS, HTJ2K",
}
_DEMO_DISK_GB = 1.0
_DEMO_MEMORY_GB = 4.0


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report."""

    state: State
    what: str
    detail: str


def examine(run_root: Path = Path()) -> list[Finding]:
    """Look at everything; nothing is changed and nothing is downloaded."""
    checks: tuple[Callable[[], Iterator[Finding]], ...] = (
        _python,
        _packages,
        _imports,
        _weights,
        _accelerator,
        lambda: _disk(run_root),
        _memory,
        _browser,
    )
    return [finding for check in checks for finding in check()]


def _python() -> Iterator[Finding]:
    yield Finding("ok", "Python", f"{platform.python_version()} at {sys.executable}")
    yield Finding("ok", "interp", f"{__version__} on {platform.system()} {platform.machine()}, {_cores()} cores")


def _packages() -> Iterator[Finding]:
    missing = [name for name in _NEEDED if _version(name) is None]
    if missing:
        yield Finding("fail", "packages", f"missing: {', '.join(missing)}. Run make demo, or pip install -e .")
    for name in ("torch", "transformers", "numpy", "pandas", "h5py", "duckdb"):
        if version := _version(name):
            yield Finding("ok", name, version)
    for name, use in _FOR_SOME.items():
        version = _version(name)
        yield Finding("ok", name, version) if version else Finding("warn", name, f"not installed; needed for: {use}")


def _imports() -> Iterator[Finding]:
    """A package can be installed and yet not load (a missing system library, a wrong build)."""
    for name in ("torch", "transformers", "h5py", "duckdb", "pyarrow"):
        if importlib.util.find_spec(name) is None:
            continue
        try:
            importlib.import_module(name)
        except Exception as error:
            yield Finding("fail", name, f"is installed but does not load: {type(error).__name__}: {error}")


def _weights() -> Iterator[Finding]:
    import activations

    folder = Path(str(activations.__file__)).parent / "models" / "weights"
    found = sorted(folder.rglob("*.safetensors"))
    if not found:
        yield Finding(
            "fail",
            "phantom weights",
            f"none under {folder}: `interp demo` cannot run. `interp phantom train` makes them",
        )
    for path in found:
        size = path.stat().st_size
        if size < 10_000:
            yield Finding("fail", "phantom weights", f"{path} has only {size} bytes; was a pointer file checked out?")
        else:
            yield Finding("ok", "phantom weights", f"{path.parent.name}: {size / 1e6:.1f} MB")


def _accelerator() -> Iterator[Finding]:
    if importlib.util.find_spec("torch") is None:
        return
    import torch

    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            about = torch.cuda.get_device_properties(i)
            yield Finding("ok", f"GPU {i}", f"{about.name}, {about.total_memory / 2**30:.0f} GiB")
    else:
        yield Finding("ok", "GPU", "none; the phantom model needs none, MAIRA-2 (7 B parameters) practically does")


def _disk(root: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(root).free / 2**30
    text = f"{free:.1f} GiB free at {root.resolve()}"
    if free < _DEMO_DISK_GB:
        yield Finding("fail", "disk", f"{text}: the demo writes about {_DEMO_DISK_GB:.0f} GiB")
    else:
        yield Finding("ok", "disk", text)
    if not os.access(root, os.W_OK):
        yield Finding("fail", "disk", f"{root.resolve()} is not writable; give --run a folder elsewhere")


def _memory() -> Iterator[Finding]:
    available = available_memory_gb()
    if available is None:
        yield Finding("warn", "memory", "cannot be read on this system; the demo needs 4 GiB")
    elif available < _DEMO_MEMORY_GB:
        yield Finding(
            "warn", "memory", f"{available:.1f} GiB available; the demo needs up to {_DEMO_MEMORY_GB:.0f} GiB"
        )
    else:
        yield Finding("ok", "memory", f"{available:.1f} GiB available")


def _browser() -> Iterator[Finding]:
    names = ("chromium", "chromium-browser", "google-chrome", "firefox")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found:
        yield Finding("ok", "browser", found)
    else:
        yield Finding("warn", "browser", "none found here; open dashboard.html in a browser elsewhere, it is one file")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_memory_gb() -> float | None:
    """Main memory that is free or can be freed, in GiB; None where the system does not say."""
    path = Path("/proc/meminfo")
    if not path.is_file():
        return None
    for line in path.read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) / 2**20
    return None
