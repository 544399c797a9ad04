from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from activations.direct import OPEN_FILES, DirectRows

ROWS_ND = np.arange(230 * 6, dtype="<u2").reshape(230, 6)


def written(path: Path, **options: object) -> Path:
    """A dataset that grew by uneven parts beside another one, so that its chunks lie scattered."""
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("x", (0, 6), "<u2", maxshape=(None, 6), **options)
        other = file.create_dataset("y", (0,), "<u2", maxshape=(None,), chunks=(16,))
        for stop in (1, 40, 64, 199, 230):
            start = len(dataset)
            dataset.resize(stop, axis=0)
            dataset[start:] = ROWS_ND[start:stop]
            other.resize(stop, axis=0)
            other[start:] = 7
    return path


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("direct") / "plain.h5", chunks=(32, 6))


@given(start=st.integers(0, 230), length=st.integers(0, 230))
def test_rows_are_those_that_hdf5_reads(plain: Path, start: int, length: int) -> None:
    stop = min(start + length, 230)
    rows = DirectRows([plain], "x")
    np.testing.assert_array_equal(rows.read(0, start, stop), ROWS_ND[start:stop])
    rows.close()


@pytest.mark.parametrize("options", [{"chunks": (32, 3)}, {"chunks": (32, 6), "compression": "gzip"}])
def test_what_does_not_lie_plainly_is_left_to_hdf5(tmp_path: Path, options: dict) -> None:
    rows = DirectRows([written(tmp_path / "x.h5", **options), tmp_path / "nothing.h5"], "x")
    assert rows.read(0, 0, 5) is None
    assert rows.read(1, 0, 5) is None
    assert DirectRows([tmp_path / "x.h5"], "z").read(0, 0, 5) is None


def test_a_file_that_was_cut_off_meanwhile_is_left_to_hdf5(tmp_path: Path) -> None:
    rows = DirectRows([path := written(tmp_path / "x.h5", chunks=(32, 6))], "x")
    assert rows.read(0, 0, 230) is not None
    with path.open("r+b") as file:
        file.truncate(300)
    assert rows.read(0, 0, 230) is None
    rows.close()


def test_files_are_closed_and_opened_again(plain: Path) -> None:
    opened = Path("/proc/self/fd")
    before = len(list(opened.iterdir())) if opened.exists() else 0
    rows = DirectRows([plain] * (OPEN_FILES + 5), "x")
    for shard in [*range(OPEN_FILES + 5), 0]:
        assert rows.read(shard, 3, 9) is not None
    if opened.exists():
        assert len(list(opened.iterdir())) - before == OPEN_FILES
    rows.close()
    assert not opened.exists() or len(list(opened.iterdir())) == before
    np.testing.assert_array_equal(rows.read(0, 3, 9), ROWS_ND[3:9])
    rows.close()
