"""Our own form: `cfg.json` and `sae.safetensors`.

`cfg.json` = {"version", "kind": "matryoshka-batch-topk", "sae": `SAEConfig`, "train": `TrainConfig` or null, "extra"}.
`sae.safetensors` = W_enc (F, d), b_enc (F), W_dec (F, d), b_dec (d), threshold () or (F,).
Encode: relu(W_enc (x − b_dec) + b_enc), kept where strictly above the threshold.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from sae.errors import SAEError
from sae.files import read_json, write_atomically, write_json
from sae.formats.tensors import RawSAE, check_json, config_from, fill, load_safetensors, only
from sae.model import MatryoshkaSAE

VERSION = 1
KIND = "matryoshka-batch-topk"
CONFIG_FILE = "cfg.json"
WEIGHTS_FILE = "sae.safetensors"
_TENSORS = ("W_enc", "b_enc", "W_dec", "b_dec", "threshold")


def write_native(sae: MatryoshkaSAE, folder: Path, extra: dict[str, Any] | None = None) -> None:
    """Write both files, the weights first: a `cfg.json` means that the autoencoder is whole."""
    header: dict[str, Any] = {
        "version": VERSION,
        "kind": KIND,
        "sae": sae.config.to_dict(),
        "train": sae.training_config,
        "extra": sae.extra if extra is None else extra,
    }
    check_json(header, header["extra"])
    folder.mkdir(parents=True, exist_ok=True)
    state = sae.state_dict()
    tensors = {name: state[name].detach().cpu().contiguous() for name in _TENSORS}
    write_atomically(folder / WEIGHTS_FILE, lambda path: save_file(tensors, path))
    write_json(folder / CONFIG_FILE, header)


def read_native(folder: Path) -> MatryoshkaSAE:
    """Read what `write_native` wrote.

    Raises:
        SAEError: see `MatryoshkaSAE.load`.
    """
    header = read_config(folder)
    source = folder / WEIGHTS_FILE
    config = config_from(folder / CONFIG_FILE, "sae", header["sae"])
    tensors = load_safetensors(source)
    only(tensors, _TENSORS, source)
    raw = RawSAE(**{name: tensors[name] for name in _TENSORS})
    sae = fill(config, raw, header.get("extra") or {}, source)
    sae.training_config = header.get("train")
    return sae


def read_config(folder: Path) -> dict[str, Any]:
    """`cfg.json` of an autoencoder of our form, version and kind checked."""
    path = folder / CONFIG_FILE
    header = read_json(path)
    version = header.get("version")
    if header.get("kind") != KIND or not isinstance(version, int):
        raise SAEError(f"{path}: kind is {header.get('kind')!r}, version {version!r}: wanted {KIND!r} and a number")
    if version > VERSION:
        raise SAEError(f"{path} has version {version}, this program knows {VERSION}; update the program")
    if not isinstance(header.get("sae"), dict):
        raise SAEError(f"{path}: field 'sae' is missing")
    return header
