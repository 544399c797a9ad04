"""Counterfactual pairs: two studies that differ in one finding and in nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from radiology.study import Study
from steering.errors import SteeringError

#: Recipient (without the finding) and donor (with it).
Pair = tuple[Study, Study]

_TEXT = ("indication", "technique", "comparison", "prior_report")


def same_prompt(pair: Pair) -> Pair:
    """The pair with the recipient's words around both images, so that the pictures alone tell them apart."""
    recipient, donor = pair
    return recipient, replace(donor, **{name: getattr(recipient, name) for name in _TEXT})


def phantom_pairs(keys: Sequence[str], n: int, *, seed: int = 0, split: str | None = "test") -> dict[str, list[Pair]]:
    """``n`` phantom pairs for each finding key, drawn from the series ``seed``.

    Recipients are phantoms without the finding, frontal view only; donors are their twins with it, clearly drawn.

    Args:
        split: take patients of this split only; ``None`` takes all.

    Raises:
        SteeringError: a key that cannot be switched by itself.
    """
    from radiology.phantom.cases import counterfactual_pair, phantom_case, study_of
    from radiology.phantom.factors import FIELD_OF_KEY

    out: dict[str, list[Pair]] = {}
    for key in keys:
        if key not in FIELD_OF_KEY:
            raise SteeringError(f"key {key!r}: phantoms can switch {', '.join(FIELD_OF_KEY)}")
        field, index = FIELD_OF_KEY[key], 0
        found: list[Pair] = []
        while len(found) < n:
            case = phantom_case(seed, index)
            index += 1
            plain = not case.has_lateral and case.prior_factors is None and not getattr(case.factors, field)
            if plain and split in (None, case.split):
                recipient, donor = counterfactual_pair(study_of(case), field)
                found.append(same_prompt((recipient, donor)))
        out[key] = found
    return out
