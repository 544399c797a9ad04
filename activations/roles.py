"""What each token of a prompt is for: its role, and for image tokens which patch of which image.

Roles come from how the prompt was built, never from searching words in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum

import numpy as np

from radiology.errors import InputError


class Role(IntEnum):
    """Token roles; the numbers are part of the activation store's format, version 1."""

    SPECIAL = 0
    TEMPLATE = 1
    IMAGE = 2
    INDICATION = 3
    TECHNIQUE = 4
    COMPARISON = 5
    PRIOR_REPORT = 6
    REPORT = 7


#: Images by number in a token table; −1 is "no image".
IMAGE_NAMES: tuple[str, ...] = ("frontal", "lateral", "prior_frontal")

#: Presets for ``--roles``. ``paper`` keeps what MAIRA-2-SAE keeps: no template, no intermediate image tokens.
ROLE_PRESETS: dict[str, tuple[Role, ...]] = {
    "all": tuple(Role),
    "paper": (Role.INDICATION, Role.TECHNIQUE, Role.COMPARISON, Role.PRIOR_REPORT, Role.REPORT),
    "image": (Role.IMAGE,),
    "text": (Role.INDICATION, Role.TECHNIQUE, Role.COMPARISON, Role.PRIOR_REPORT, Role.REPORT),
    "content": (Role.IMAGE, Role.INDICATION, Role.TECHNIQUE, Role.COMPARISON, Role.PRIOR_REPORT, Role.REPORT),
}


def parse_roles(spec: str | Iterable[str]) -> tuple[Role, ...]:
    """``"image,report"`` or a preset name → roles in their numeric order.

    Raises:
        InputError: an unknown role or preset; the message lists what exists.
    """
    names = [part.strip() for part in spec.split(",")] if isinstance(spec, str) else list(spec)
    roles: set[Role] = set()
    for name in names:
        if name in ROLE_PRESETS:
            roles.update(ROLE_PRESETS[name])
        elif name.upper() in Role.__members__:
            roles.add(Role[name.upper()])
        else:
            known = [role.name.lower() for role in Role]
            raise InputError(f"roles: {name!r} is neither a token role {known} nor a preset {list(ROLE_PRESETS)}")
    return tuple(sorted(roles))


@dataclass(frozen=True)
class TokenTable:
    """One row a token of one prompt, padding left out; all arrays have shape (n,).

    ``image`` is an index into :data:`IMAGE_NAMES` or −1; ``row`` and ``col`` are the patch's place on its grid or −1.
    """

    token_id: np.ndarray  # int32
    role: np.ndarray  # uint8, a Role
    image: np.ndarray  # int8
    row: np.ndarray  # int16
    col: np.ndarray  # int16

    def __post_init__(self) -> None:
        lengths = {field.name: len(getattr(self, field.name)) for field in fields(self)}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"token table: columns differ in length: {lengths}")

    def __len__(self) -> int:
        return len(self.token_id)

    @property
    def position(self) -> np.ndarray:
        """Place of each token in its prompt, (n,) int32."""
        return np.arange(len(self), dtype=np.int32)

    def where(self, roles: Sequence[Role], image: str | None = None) -> np.ndarray:
        """Positions whose role is one of ``roles`` (and that belong to ``image``, if given), (m,) int."""
        keep = np.isin(self.role, [int(role) for role in roles])
        if image is not None:
            keep &= self.image == IMAGE_NAMES.index(image)
        return np.flatnonzero(keep)

    @staticmethod
    def concatenate(parts: Sequence[TokenTable]) -> TokenTable:
        return TokenTable(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(TokenTable)))

    @staticmethod
    def text(token_ids: Sequence[int], role: Role) -> TokenTable:
        """Text tokens that all play one role."""
        n = len(token_ids)
        none = np.full(n, -1)
        return TokenTable(
            np.asarray(token_ids, dtype=np.int32).reshape(n),
            np.full(n, int(role), dtype=np.uint8),
            none.astype(np.int8),
            none.astype(np.int16),
            none.astype(np.int16),
        )

    @staticmethod
    def patches(token_id: int, image: str, rows: int, cols: int) -> TokenTable:
        """The patch tokens of one image in row-major order, n = rows · cols."""
        n = rows * cols
        return TokenTable(
            np.full(n, token_id, dtype=np.int32),
            np.full(n, int(Role.IMAGE), dtype=np.uint8),
            np.full(n, IMAGE_NAMES.index(image), dtype=np.int8),
            np.repeat(np.arange(rows), cols).astype(np.int16),
            np.tile(np.arange(cols), rows).astype(np.int16),
        )
