"""The errors of steering."""

from __future__ import annotations

from radiology.errors import InputError


class SteeringError(InputError):
    """An intervention that cannot be applied, or that did not do what it was asked to (changed no token, say)."""
