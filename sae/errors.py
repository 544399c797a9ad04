"""The one exception of this room."""

from __future__ import annotations


class SAEError(ValueError):
    """A configuration, a file or a tensor that an autoencoder cannot be made of, trained on or read from.

    The message says what was wrong, where, and what to do; it is written for the person who meets it.
    """
