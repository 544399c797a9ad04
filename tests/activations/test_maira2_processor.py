"""The checkpoint's own code and files: run only where allowed, taken as they are, named where they fail."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from activations.models.maira2_model import Maira2ReportModel, open_maira2
from radiology.errors import InputError
from tests.activations.standin import (
    PROCESSOR_CODE,
    write_standin,
)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_standin(tmp_path_factory.mktemp("maira2") / "standin")


@pytest.fixture(scope="session")
def model(folder: Path) -> Maira2ReportModel:
    return open_maira2(str(folder), trust_remote_code=True)


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def test_code_runs_only_where_it_was_allowed(tmp_path: Path) -> None:
    trap = write_standin(tmp_path / "trap", code=f"open({str(tmp_path / 'ran')!r}, 'w').close()\n" + PROCESSOR_CODE)
    with pytest.raises(InputError) as caught:
        open_maira2(str(trap))
    message = str(caught.value)
    assert str(trap / "processing_maira2.py") in message
    assert "--trust-remote-code" in message
    assert "Read that file" in message
    assert not (tmp_path / "ran").exists()
    open_maira2(str(trap), trust_remote_code=True)
    assert (tmp_path / "ran").exists()
    assert not list(trap.rglob("__pycache__"))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("from transformers import AnOldName\n", "cannot be imported with transformers 5.*AnOldName"),
        ("class Maira2Processor:\n    pass\n", "cannot be built with transformers.*TypeError"),
        ("Other = 1\n", "has no class Maira2Processor"),
        (
            "class Maira2Processor:\n    def __init__(self, **_):\n        pass\n",
            "format_and_preprocess_reporting_input",
        ),
    ],
)
def test_code_that_does_not_run_is_named_with_its_error(tmp_path: Path, code: str, message: str) -> None:
    broken = write_standin(tmp_path / "broken", code=code)
    with pytest.raises(InputError, match=message) as caught:
        open_maira2(str(broken), trust_remote_code=True)
    assert str(broken / "processing_maira2.py") in str(caught.value)


def test_code_may_import_files_beside_it(tmp_path: Path) -> None:
    folder = write_standin(tmp_path / "two", code="from .words import VIEW\n" + PROCESSOR_CODE)
    (folder / "words.py").write_text("VIEW = 'front'\n")
    assert open_maira2(str(folder), trust_remote_code=True).prompts.bins == 100


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("config.json", "has no config.json"),
        ("tokenizer.json", "has no tokenizer.json"),
        ("preprocessor_config.json", "has no preprocessor_config.json"),
        ("processing_maira2.py", "has no processing_maira2.py, which its files name"),
    ],
)
def test_files_that_are_missing_are_named(copy: Path, file: str, message: str) -> None:
    (copy / file).unlink()
    with pytest.raises(InputError, match=message):
        open_maira2(str(copy), trust_remote_code=True)


def test_ids_are_those_of_the_checkpoints_tokenizer_file(folder: Path, model: Maira2ReportModel) -> None:
    """transformers' LlamaTokenizer, which tokenizer_config.json names, makes others around special tokens."""
    from transformers import LlamaTokenizer

    raw = Tokenizer.from_file(str(folder / "tokenizer.json"))
    text = "Films <obj> A nodule.<box><x1><y2><x3><y4></box></obj> It is small."
    assert model.tokenizer(text)["input_ids"] == raw.encode(text).ids
    assert LlamaTokenizer.from_pretrained(folder)(text)["input_ids"] != raw.encode(text).ids
