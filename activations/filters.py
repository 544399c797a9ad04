"""What a caller may name when asking for some of a store's rows: token roles and studies."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from activations.roles import Role, parse_roles
from radiology.errors import InputError

RoleSpec = str | Iterable[str | Role]


def as_roles(roles: RoleSpec) -> tuple[Role, ...]:
    """Roles from names, presets, or Roles."""
    if isinstance(roles, str):
        return parse_roles(roles)
    return parse_roles([role.name.lower() if isinstance(role, Role) else role for role in roles])


def in_studies(column: np.ndarray, studies: Iterable[int] | np.ndarray) -> np.ndarray:
    """Which rows are of the given studies, (rows,) bool.

    Args:
        column: (rows,) study number of every row.
        studies: study numbers, or a bool mask over study numbers.
    """
    chosen = np.asarray(studies if isinstance(studies, np.ndarray) else list(studies))
    if chosen.dtype == bool:
        if len(column) and int(column.max()) >= len(chosen):
            raise InputError(f"studies: the mask has {len(chosen)} entries, the store has study {int(column.max())}")
        return chosen[column]
    return np.isin(column, chosen)
