"""The explainer that shows pictures: crops and heat maps, sent as they should be, to this machine only."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from autointerp.explain import explain_features
from autointerp.explainers.llm import LLMExplainer, terms_of_run
from autointerp.explainers.pictures import SIDE, StudyPictures, crop, heat_map
from autointerp.explainers.vision import VisionPrompt
from radiology.errors import InputError
from radiology.llm.client import LLMClient
from radiology.llm.dialect import as_text
from radiology.llm.endpoint import Endpoint
from tests.autointerp.conftest import LEFT_EFFUSION_PATCH
from tests.radiology.llm.fake_server import scripted, serving

ANSWER = {"reasoning": "r", "label": "left pleural effusion", "concept": "pleural_effusion", "side": "left"}
ANSWER |= {"polarity": "present", "modality": "image"}


def png(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((56, 56), value, dtype=np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.fixture
def run(hand_run, tmp_path: Path) -> Path:
    """A copy of the hand-built run whose studies have pictures: grey of brightness 40 + number mod 100."""
    shutil.copytree(hand_run.run_dir / "sae", tmp_path / "sae", ignore=shutil.ignore_patterns("labels"))
    table = pq.read_table(hand_run.run_dir / "studies.parquet")
    frame = table.to_pandas()
    place = table.schema.get_field_index("preview_frontal")
    column = pa.array([png(40 + int(number) % 100) for number in frame["study"]], table.schema.field(place).type)
    pq.write_table(table.set_column(place, table.schema.field(place), column), tmp_path / "studies.parquet")
    return tmp_path


def test_pictures_arrive_whole_and_red_where_the_feature_fires(run: Path) -> None:
    with serving(scripted(json.dumps(ANSWER))) as server, LLMClient(Endpoint(server.url, "sees")) as client:
        prompt = VisionPrompt(StudyPictures(run), n=3)
        explainer = LLMExplainer(client, terms_of_run(run), prompt.messages, "vision", needs_maps=True)
        frame = explain_features(run, "main", explainer, [LEFT_EFFUSION_PATCH])
    assert frame.iloc[0][["explainer", "label"]].tolist() == ["vision", "left pleural effusion"]
    system, user = server.requests[0]["messages"]
    assert "heat map" in system["content"]
    texts = [part["text"] for part in user["content"] if part["type"] == "text"]
    pictures = [decoded(part["image_url"]["url"]) for part in user["content"] if part["type"] == "image_url"]
    assert len(texts) == 1 + 3 + 3
    assert len(pictures) == 3 * 2 + 3  # each firing one has its crop
    heated = np.asarray(pictures[0], dtype=int)
    assert max(pictures[0].size) == SIDE
    red = heated[..., 0] - heated[..., 2]
    row, column = np.unravel_index(red.argmax(), red.shape)
    assert row > 0.7 * SIDE
    assert column > 0.7 * SIDE  # the patient's left is at the right of the picture
    assert pictures[1].size == (SIDE // 2, SIDE // 2)  # a corner patch has neighbours on two sides only
    assert np.asarray(pictures[-1]).ndim == 2


def decoded(url: str) -> Image.Image:
    found = re.fullmatch(r"data:image/png;base64,(.+)", url)
    assert found is not None
    picture = Image.open(io.BytesIO(base64.b64decode(found[1], validate=True)))
    picture.load()
    return picture


def test_a_heat_map_keeps_what_is_quiet_grey() -> None:
    grey = Image.fromarray(np.full((40, 40), 100, dtype=np.uint8))
    heated = np.asarray(heat_map(grey, np.array([0.0, 0, 0, 5]), 2, 2, strongest=5.0), dtype=int)
    assert (heated[:8, :8] == 100).all()
    assert heated[-1, -1, 0] > 180
    assert crop(grey, 0, 0, 4, 4).size == (20, 20)
    assert crop(grey, 2, 2, 4, 4).size == (30, 30)


def test_a_run_without_previews_says_so(hand_run, tmp_path: Path) -> None:
    table = pq.read_table(hand_run.run_dir / "studies.parquet")
    kept = [name for name in table.column_names if not name.startswith("preview_")]
    pq.write_table(table.select(kept), tmp_path / "studies.parquet")
    with pytest.raises(InputError, match="previews"):
        StudyPictures(tmp_path)


def test_a_completion_model_cannot_see() -> None:
    with pytest.raises(ValueError, match="images"):
        as_text([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}])
