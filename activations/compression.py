"""Optional compression of a store's site datasets by HDF5 filters of the package ``hdf5plugin``.

Importing that package makes its filters known to HDF5, for writing and for reading. It is optional; without it stores
that are not compressed are written and read as ever.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from radiology.errors import InputError

NONE = "none"
#: What a store may be compressed with; the document names the HDF5 filters.
COMPRESSIONS = (NONE, "blosc2", "bitshuffle")


def require_plugin(compression: str, where: object) -> Any:
    """The package that has the filter, or None if the rows are not compressed.

    Args:
        where: what is to be read or written, for the message.

    Raises:
        InputError: the package is not installed.
    """
    if compression == NONE:
        return None
    try:
        return import_module("hdf5plugin")
    except ImportError as error:
        raise InputError(
            f"{where}: compression {compression!r} needs the package hdf5plugin, which is not installed; "
            "run: pip install hdf5plugin"
        ) from error


def dataset_options(compression: str, where: object) -> dict[str, Any]:
    """Arguments of ``h5py.Group.create_dataset``; InputError as :func:`require_plugin`.

    Both sort what is alike together before they compress: sign and exponent of neighbouring activations repeat, the
    ends of their fractions are noise. Blosc2 does so by bytes (of bfloat16 one byte compresses, the other hardly does),
    Bitshuffle by bits.
    """
    plugin = require_plugin(compression, where)
    if plugin is None:
        return {}
    if compression == "blosc2":
        return dict(plugin.Blosc2(cname="zstd", clevel=1, filters=plugin.Blosc2.SHUFFLE))
    return dict(plugin.Bitshuffle(cname="lz4"))
