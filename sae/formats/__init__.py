"""Reading and writing autoencoders: our own form, dictionary_learning's and SAELens'."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sae.errors import SAEError

if TYPE_CHECKING:
    from sae.model import MatryoshkaSAE


def open_sae(path: str | Path) -> MatryoshkaSAE:
    """Open an autoencoder in any of the three forms, told apart by the names of the files.

    Args:
        path: the folder, one of the files in it, or a folder (a copy of a Hub repository, say) with one such below it.

    Raises:
        SAEError: no known form is there, or the files cannot be used; the message says which and why.
    """
    from sae.formats import dictionary_learning, native, saelens

    folder = Path(path)
    if folder.is_file():
        folder = folder.parent
    if not folder.is_dir():
        raise SAEError(f"{folder} does not exist: give the folder of an autoencoder")
    if (folder / native.WEIGHTS_FILE).exists():
        return native.read_native(folder)
    if (folder / saelens.WEIGHTS_FILE).exists():
        return saelens.read_saelens(folder)
    if (folder / dictionary_learning.WEIGHTS_FILE).exists():
        return dictionary_learning.read_dictionary_learning(folder)
    names = ", ".join(sorted(entry.name for entry in folder.iterdir())[:8]) or "nothing"
    weights = {native.WEIGHTS_FILE, saelens.WEIGHTS_FILE, dictionary_learning.WEIGHTS_FILE}
    below = sorted({path.parent for name in weights for path in folder.rglob(name)})
    if len(below) == 1:
        return open_sae(below[0])
    if below:
        shown = ", ".join(str(path.relative_to(folder)) for path in below[:8])
        more = f" and {len(below) - 8} more" if len(below) > 8 else ""
        raise SAEError(f"{folder} holds {len(below)} autoencoders in folders of its own; give one of: {shown}{more}")
    raise SAEError(
        f"{folder} holds no autoencoder (found: {names}). Wanted: {native.WEIGHTS_FILE} with cfg.json, "
        f"{saelens.WEIGHTS_FILE} with cfg.json (SAELens), or {dictionary_learning.WEIGHTS_FILE} with config.json"
    )
