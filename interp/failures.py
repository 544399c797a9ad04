"""What the command line says, and with which status it ends, when something goes wrong.

Status 2: the input or the machine is at fault, one message says what, where and what to do.
Status 1: the program is at fault, one line and how to see more. Status 130: stopped by Ctrl-C;
143: by SIGTERM, where the work could be kept.
"""

from __future__ import annotations

import errno
import sys

INPUT_ERROR = 2
INTERNAL_ERROR = 1
STOPPED = 130
TERMINATED = 143

#: Exceptions that mean "bad input", by module and name: their rooms are heavy and need not be imported to know them.
_BAD_INPUT = {("radiology.errors", "InputError"), ("sae.errors", "SAEError")}


def is_input_error(error: BaseException) -> bool:
    """Is this an error that the user can mend: bad input, or a refusal of the operating system?"""
    if isinstance(error, OSError):
        return True
    return any((kind.__module__, kind.__name__) in _BAD_INPUT for kind in type(error).__mro__)


def describe(error: BaseException) -> tuple[str, int]:
    """(message for stderr, exit status) of an exception that reached the command line."""
    if isinstance(error, KeyboardInterrupt):
        return "Stopped; run the same command to go on.", STOPPED
    if isinstance(error, MemoryError):
        return "Error: not enough memory. Take fewer studies, fewer sites or a smaller SAE, or a larger machine.", 2
    if isinstance(error, OSError):
        return f"Error: {_of_system(error)}", INPUT_ERROR
    if is_input_error(error):
        return f"Error: {error}", INPUT_ERROR
    if _wraps_disk_full(error):
        return f"Error: {_DISK_FULL}", INPUT_ERROR
    first_line = (str(error).splitlines() or [""])[0]
    return (
        f"Internal error: {type(error).__name__}: {first_line}\n"
        "This is a fault of interp, not of your input. Add --debug to the same command to see where it happened.",
        INTERNAL_ERROR,
    )


_DISK_FULL = "the disk is full. Free some space and run the same command: it goes on where it stopped."


def _of_system(error: OSError) -> str:
    place = error.filename or _told_place(error)
    where = f" ({place})" if place else ""
    if error.errno == errno.ENOSPC or _wraps_disk_full(error):
        return _DISK_FULL.replace(" full.", f" full{where}.", 1)
    if error.errno == errno.EDQUOT:
        return f"your disk quota is used up{where}. Free some space and run the same command: it goes on."
    if isinstance(error, FileNotFoundError):
        return f"{error.filename or error} does not exist. Check the path."
    if isinstance(error, PermissionError):
        return f"no permission for {error.filename or error}. Choose another path or change its rights."
    if isinstance(error, IsADirectoryError | NotADirectoryError):
        return f"{error.filename or error}: {error.strerror}. Check the path."
    return str(error)


def _told_place(error: OSError) -> str:
    """Rooms say "cannot write PATH: …" where the library underneath named no file."""
    told = str(error.strerror or "")
    return told.removeprefix("cannot write ").partition(": ")[0] if told.startswith("cannot write ") else ""


def _wraps_disk_full(error: BaseException) -> bool:
    """HDF5 and Arrow report a full disk in their own words, with the system's text or number inside."""
    text = str(error)
    return "No space left on device" in text or f"errno = {errno.ENOSPC}," in text


def report(error: BaseException, *, debug: bool) -> int:
    """Print what :func:`describe` says (with the traceback if ``debug``) and return the exit status."""
    message, status = describe(error)
    if debug and not isinstance(error, KeyboardInterrupt):
        import traceback

        traceback.print_exception(error, file=sys.stderr)
    print(message, file=sys.stderr, flush=True)
    return status
