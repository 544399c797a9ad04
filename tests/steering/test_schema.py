from __future__ import annotations

import subprocess
import sys

import steering


def test_the_package_and_its_schema_are_light():
    code = "import sys, steering.schema; print(sorted({'torch', 'pandas', 'numpy', 'activations'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_every_exported_name_is_there():
    for name in steering.__all__:
        assert getattr(steering, name) is not None
