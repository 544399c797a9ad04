"""Which of the elements of an output are in the scope of a spec, and how strongly a map or mask weighs them."""

from __future__ import annotations

import numpy as np

from activations.roles import Role
from steering.interventions.positions import NO_TOKEN, Places, image_number
from steering.interventions.spec import Grid, Tokens

#: Roles that ``prompt.text`` steers: everything of the prompt but images and special tokens.
TEXT_ROLES: tuple[Role, ...] = (Role.TEMPLATE, Role.INDICATION, Role.TECHNIQUE, Role.COMPARISON, Role.PRIOR_REPORT)


def select(places: Places, tokens: Tokens, grid: tuple[int, int]) -> np.ndarray:
    """Elements in scope, (b, s) bool."""
    chosen = np.zeros(places.role.shape, dtype=bool)
    if "prompt.image" in tokens.scopes:
        chosen |= _patches(places, tokens, grid)
    if "prompt.text" in tokens.scopes:
        chosen |= np.isin(places.role, [int(role) for role in TEXT_ROLES]) & ~places.generated
    if "generated" in tokens.scopes:
        chosen |= places.generated
    return chosen & (places.role != NO_TOKEN)


def _patches(places: Places, tokens: Tokens, grid: tuple[int, int]) -> np.ndarray:
    chosen = places.role == Role.IMAGE
    if tokens.image is not None:
        chosen &= places.image == image_number(tokens.image)
    if tokens.mask is not None:
        chosen &= on_grid(tokens.mask, places) > 0
    if tokens.box is not None:
        x0, y0, x1, y1 = tokens.box
        x, y = (places.col + 0.5) / grid[1], (places.row + 0.5) / grid[0]
        chosen &= (x >= x0) & (x <= x1) & (y >= y0) & (y <= y1)
    return chosen


def on_grid(grid: Grid, places: Places) -> np.ndarray:
    """Value of a (rows, columns) table at each element's patch, 0 for text; float32, shape of the places."""
    table = np.asarray(grid, dtype=np.float32)
    inside = places.row >= 0
    values = np.zeros(places.row.shape, dtype=np.float32)
    values[inside] = table[places.row[inside], places.col[inside]]
    return values
