from __future__ import annotations

import subprocess
import sys

import pytest

import sae


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, sae; print(sorted({'torch', 'numpy', 'sklearn', 'pyarrow'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    assert all(getattr(sae, name) is not None for name in sae.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = sae.nothing
