"""Whether a run has changed: name, time and size of every file that the dashboard reads."""

from __future__ import annotations

from pathlib import Path

Fingerprint = tuple[tuple[str, int, int], ...]
#: The one file that the dashboard itself writes, under ``RUN/sae/NAME``.
NOTES_FILE = "notes.json"
_READ = (".json", ".parquet", ".safetensors")


def fingerprint(run_dir: Path, sae_name: str) -> Fingerprint:
    """Equal as long as no file of the run that is shown was written anew."""
    folders = (run_dir, run_dir / "trace", run_dir / "activations")
    sae = run_dir / "sae" / sae_name
    paths = [path for folder in folders for path in folder.glob("*") if path.suffix in _READ]
    for folder in (".", "features", "labels", "steering/*"):
        paths += [path for path in sae.glob(f"{folder}/*") if path.suffix in _READ and path.name != NOTES_FILE]
    found = []
    for path in sorted(paths):
        try:
            state = path.stat()
        except FileNotFoundError:  # replaced between listing and looking
            continue
        found.append((str(path), state.st_mtime_ns, state.st_size))
    return tuple(found)
