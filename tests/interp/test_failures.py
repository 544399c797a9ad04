"""Laws of messages and exit statuses."""

from __future__ import annotations

import errno

import pytest

from interp import failures
from radiology.errors import InputError
from sae.errors import SAEError


@pytest.mark.parametrize("error", [InputError("field x: wrong"), SAEError("field x: wrong")])
def test_bad_input_is_told_in_its_own_words(error: Exception) -> None:
    assert failures.describe(error) == ("Error: field x: wrong", 2)


def test_a_full_disk_is_named() -> None:
    message, status = failures.describe(OSError(errno.ENOSPC, "No space left on device", "/data/shard.h5"))
    assert status == 2
    assert "the disk is full (/data/shard.h5)" in message
    assert "run the same command" in message


def test_a_full_disk_is_named_as_the_rooms_name_it() -> None:
    error = OSError(errno.ENOSPC, "cannot write /data/shard.h5: [Errno 28] No space left on device. Mend it.")
    assert "the disk is full (/data/shard.h5)." in failures.describe(error)[0]


def test_a_full_disk_is_known_behind_another_librarys_words() -> None:
    text = "[Errno 28] Can't write data (errno = 28, error message = 'No space left on device')"
    assert failures.describe(RuntimeError(text))[1] == 2
    assert "disk is full" in failures.describe(OSError(text))[0]


def test_missing_files_and_rights() -> None:
    assert "/x.png does not exist" in failures.describe(FileNotFoundError(errno.ENOENT, "", "/x.png"))[0]
    assert "no permission for /x.png" in failures.describe(PermissionError(errno.EACCES, "", "/x.png"))[0]


def test_a_fault_of_ours_is_one_line_and_a_hint() -> None:
    message, status = failures.describe(KeyError("a\nb"))
    assert status == 1
    assert message.startswith("Internal error: KeyError")
    assert "--debug" in message
    assert "Traceback" not in message


def test_stopping_is_no_error() -> None:
    assert failures.describe(KeyboardInterrupt()) == ("Stopped; run the same command to go on.", 130)


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def raises() -> None:
        raise InputError("nothing there")

    with pytest.raises(InputError) as caught:
        raises()
    assert failures.report(caught.value, debug=True) == 2
    assert "Traceback" in capsys.readouterr().err
    failures.report(caught.value, debug=False)
    assert capsys.readouterr().err == "Error: nothing there\n"
