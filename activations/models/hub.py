"""Files of a model on the Hugging Face hub: fetched once, and refused with a message that says what to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from radiology.errors import InputError

_T = TypeVar("_T")


def hub_file(name: str, filename: str) -> Path:
    """One file of a model, from the local cache or fetched into it.

    Raises:
        InputError: there is no such model or file, it is gated, or the hub cannot be reached.
    """
    from huggingface_hub import hf_hub_download

    return Path(_asked(name, lambda: hf_hub_download(name, filename)))


def hub_folder(name: str, patterns: Sequence[str]) -> Path:
    """A folder with those files of a model that match one of ``patterns``; others are not fetched.

    Raises:
        InputError: as :func:`hub_file`.
    """
    from huggingface_hub import snapshot_download

    return Path(_asked(name, lambda: snapshot_download(name, allow_patterns=list(patterns))))


def _asked(name: str, ask: Callable[[], _T]) -> _T:
    """Ask the hub, and say in one message what stands in the way."""
    from huggingface_hub import errors

    page = f"https://huggingface.co/{name}"
    try:
        return ask()
    except errors.GatedRepoError:
        raise InputError(
            f"model {name!r}: its licence has to be accepted first. Accept it on {page}, log in with `hf auth login`, "
            "and try again; or give the folder of a copy"
        ) from None
    except errors.RepositoryNotFoundError:
        raise InputError(
            f"model {name!r}: not on the Hugging Face hub, or private. Check the name on {page}; for a private model "
            "log in with `hf auth login`; or give the folder of a copy"
        ) from None
    except errors.LocalEntryNotFoundError:
        raise InputError(f"model {name!r}: not in the local cache, and {_unreachable()}") from None
    except errors.EntryNotFoundError as error:
        raise InputError(f"model {name!r}: a file is missing on the hub ({_first_line(error)})") from None
    except errors.HfHubHTTPError as error:
        if error.response is not None and error.response.status_code == 401:
            raise InputError(
                f"model {name!r}: the hub does not know who is asking. Log in with `hf auth login`; or give the folder "
                "of a copy"
            ) from None
        raise InputError(f"model {name!r}: the hub refused ({_first_line(error)})") from None
    except errors.HFValidationError:
        raise InputError(f"model {name!r}: not a name on the hub; names look like microsoft/maira-2") from None
    except Exception as error:
        if not isinstance(error, OSError) and not type(error).__module__.startswith("httpx"):
            raise
        raise InputError(
            f"model {name!r}: its files could not be fetched ({type(error).__name__}: {_first_line(error)}); look at "
            "the disk and the connection, and run the same command again"
        ) from None


def _unreachable() -> str:
    from huggingface_hub import constants

    if constants.is_offline_mode():
        return "HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) forbids fetching it: unset it, or give the folder of a copy"
    return "the hub cannot be reached: check the connection, or give the folder of a copy"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
