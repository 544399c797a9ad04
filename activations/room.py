"""Room on a disk: refusing before the first byte what would not fit, and sizes as people say them."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

from radiology.errors import InputError

#: So much more than expected must be free where the size is known from what is copied.
MARGIN = 1.02
_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def require_room(folder: Path, needed: int, what: str) -> None:
    """Refuse before anything is written if the disk of ``folder`` (which need not exist yet) has too little room.

    Args:
        needed: bytes to be written; 2 % more must be free.
        what: that these are for, for the message.

    Raises:
        InputError: with both sizes.
    """
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free, wanted = shutil.disk_usage(there).free, math.ceil(needed * MARGIN)
    if free < wanted:
        raise InputError(
            f"{folder}: the disk has too little room: {what} needs about {size(wanted)} ({wanted:,} bytes), "
            f"{size(free)} ({free:,} bytes) are free. Free space and run the same command again, or choose a folder "
            "on another disk"
        )


def size(count: float) -> str:
    """Bytes as a person says them: ``1.5 GB``."""
    power = 0
    while count >= 1000 and power < len(_UNITS) - 1:
        count, power = count / 1000, power + 1
    return f"{count:,.{1 if power and count < 100 else 0}f} {_UNITS[power]}"
