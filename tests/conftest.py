"""The order of the test files."""

from __future__ import annotations

from pathlib import Path

import pytest

#: The files that take longest, the longest first. `make test` gives each process a file at a time, in the order of
#: collection: a long one that came last would leave the other cores idle. A file that is not here comes later.
LONGEST = (
    "interp/test_train_ranks.py",
    "dashboards/app/test_app_browser.py",
    "interp/test_index_ranks.py",
    "interp/test_ranks.py",
    "activations/test_smollm2.py",
    "activations/test_merge.py",
    "interp/test_train_live.py",
    "activations/test_kill.py",
    "interp/test_notebooks.py",
    "interp/test_maira2_way.py",
    "interp/test_train_set.py",
    "interp/test_stopping.py",
    "activations/test_export.py",
    "activations/test_writer.py",
    "activations/test_faults.py",
    "interp/test_commands.py",
    "dashboards/test_browser.py",
    "activations/test_phantom_training.py",
    "autointerp/test_local_llm.py",
    "radiology/test_sections.py",
    "sae/test_activation_functions.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {Path(__file__).parent / name: at for at, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(LONGEST)))
