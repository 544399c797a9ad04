"""RadGraph F1 and GREEN, computed by their authors' packages where the user has them and their weights.

Neither package is installed with this project: RadGraph brings a frozen copy of AllenNLP, GREEN a language model of
seven billion parameters. Where one is missing, asking for it is an error that says what to install.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from typing import Any

from radiology.errors import InputError

GREEN_MODEL = "StanfordAIMI/GREEN-radllama2-7b"
RADGRAPH_MODEL = "radgraph-xl"


def radgraph_f1(
    candidates: Sequence[str], references: Sequence[str], model: str = RADGRAPH_MODEL, package: str = "radgraph"
) -> list[float]:
    """RadGraph F1 over entities and relations of each report (Jain et al. 2021, arXiv 2106.14463).

    Raises:
        InputError: the package or its weights are not there.
    """
    module = _package(package, "radgraph", "RadGraph F1")
    try:
        scorer = module.F1RadGraph(reward_level="all", model_type=model)
    except Exception as error:  # whatever the package meets when its weights are neither there nor to be had
        raise _no_weights("RadGraph F1", model, error) from error
    _, rewards, _, _ = scorer(hyps=list(candidates), refs=list(references))
    return [float(value) for value in rewards[1]]  # simple, partial, complete: partial is entities with relations


def green(
    candidates: Sequence[str], references: Sequence[str], model: str = GREEN_MODEL, package: str = "green_score"
) -> list[float]:
    """GREEN of each report (Ostmeier et al. 2024, arXiv 2405.03595).

    Args:
        model: name on the hub, or a folder with the weights.

    Raises:
        InputError: the package or its weights are not there.
    """
    module = _package(package, "green-score", "GREEN")
    try:
        scorer = module.GREEN(model, output_dir=".")
    except Exception as error:
        raise _no_weights("GREEN", model, error) from error
    _, _, scores, _, _ = scorer(list(references), list(candidates))
    return [float(score) for score in scores]


def _package(name: str, install: str, metric: str) -> Any:
    if importlib.util.find_spec(name) is None:
        raise InputError(
            f"metric {metric}: the package {name!r} is not installed. Install it in an environment of its own "
            f"(pip install {install}), or leave the metric out"
        )
    return importlib.import_module(name)


def _no_weights(metric: str, model: str, error: Exception) -> InputError:
    return InputError(
        f"metric {metric}: its model {model!r} could not be opened ({type(error).__name__}); its weights are "
        "downloaded at first use, so this needs network access once, or leave the metric out"
    )
