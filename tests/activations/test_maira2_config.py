"""What MAIRA-2's published configuration says, and which other ones are refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from activations.models.maira2_config import read_config
from radiology.errors import InputError
from tests.activations.standin import (
    edit_json,
    standin_config,
    write_standin,
)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_standin(tmp_path_factory.mktemp("maira2") / "standin")


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def test_both_forms_of_rope_are_the_same_model(folder: Path, copy: Path) -> None:
    def renew(config: dict[str, Any]) -> None:
        text = config["text_config"]
        del text["rope_scaling"], text["rope_theta"]
        text["rope_parameters"] = {"rope_type": "linear", "factor": 1.5, "rope_theta": 10_000.0}

    edit_json(copy / "config.json", renew)
    old, new = (read_config(path).text_config.rope_parameters for path in (folder, copy))
    assert old == new == {"rope_type": "linear", "factor": 1.5, "rope_theta": 10_000.0}
    edit_json(copy / "config.json", lambda config: config["text_config"].pop("rope_parameters"))
    assert read_config(copy).text_config.rope_parameters["rope_type"] == "default"


@pytest.mark.parametrize("reshaped", [True, False, None])
def test_the_feature_map_is_the_same_in_whatever_form_it_was_published(copy: Path, reshaped: bool | None) -> None:
    edit_json(copy / "config.json", lambda c: c["vision_config"].update(reshape_hidden_states=reshaped))
    vision = read_config(copy).vision_config
    assert vision.apply_layernorm
    assert vision.out_features == ["stage2"]
    assert vision.reshape_hidden_states


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "llava"}, "'model_type' is 'llava'"),
        ({"projector_n_layers": 2}, "'projector_n_layers' is 2; MAIRA-2 has 4"),
        ({"projector_n_layers": None}, "'projector_n_layers' is missing"),
        ({"projector_hidden_act": "relu"}, "projector_hidden_act"),
        ({"multimodal_projector_bias": False}, "multimodal_projector_bias"),
        ({"vision_feature_layer": -2}, "'vision_feature_layer' is -2"),
        ({"vision_feature_select_strategy": "full"}, "vision_feature_select_strategy"),
        ({"vision_config__apply_layernorm": False}, r"'vision_config\.apply_layernorm' is False"),
        ({"vision_config__out_features": ["stage1"]}, r"vision_config\.out_features"),
        ({"vision_config__model_type": "clip"}, r"vision_config\.model_type"),
        ({"vision_config__image_size": [56, 56]}, r"vision_config\.image_size"),
        ({"text_config__model_type": "mistral"}, r"text_config\.model_type"),
        ({"text_config__tie_word_embeddings": True}, r"text_config\.tie_word_embeddings"),
        ({"text_config__hidden_size": "wide"}, "is not understood"),
        ({"text_config": None}, "'text_config' is missing"),
        ({"image_token_index": None}, "image_token_index"),
    ],
)
def test_another_architecture_is_refused_by_name(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(standin_config(**change)))
    with pytest.raises(InputError, match=message):
        read_config(tmp_path)
