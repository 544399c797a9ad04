"""Which pre-activations of a batch are kept: one file per rule, all behind `ActivationFunction`."""

from __future__ import annotations

from sae.activation_functions.base import ActivationFunction
from sae.activation_functions.batch_topk import BatchTopK
from sae.activation_functions.jumprelu import JumpReLU
from sae.activation_functions.topk import TopK
from sae.errors import SAEError

__all__ = ["ActivationFunction", "BatchTopK", "JumpReLU", "TopK", "activation_function"]

_BY_NAME: dict[str, type[ActivationFunction]] = {kind.name: kind for kind in (BatchTopK, TopK, JumpReLU)}


def activation_function(name: str, **settings: float) -> ActivationFunction:
    """The rule of this name.

    Args:
        name: one of `sae.config.ACTIVATIONS`.
        settings: keyword arguments of the rule; only JumpReLU has any.

    Raises:
        SAEError: no such rule.
    """
    if name not in _BY_NAME:
        raise SAEError(f"activation = {name!r}: must be one of {', '.join(_BY_NAME)}")
    return _BY_NAME[name](**settings)
