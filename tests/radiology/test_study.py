from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radiology.errors import InputError
from radiology.structured import StructuredFinding
from radiology.study import GroundedSentence, Study


def make(**changes: object) -> Study:
    fields: dict[str, object] = {"study_id": "s-1", "patient_id": "p-1", "images": {}, "terms": "own"}
    return Study(**{**fields, **changes})  # type: ignore[arg-type]


def test_missing_sections_are_none() -> None:
    study = make()
    assert (study.indication, study.report, study.grounded, study.labels) == (None, None, None, None)


@pytest.mark.parametrize("field", ["indication", "technique", "comparison", "prior_report", "report"])
@pytest.mark.parametrize("text", ["", "  \n"])
def test_empty_text_is_refused_by_name(field: str, text: str) -> None:
    with pytest.raises(InputError) as error:
        make(**{field: text})
    assert field in str(error.value)
    assert "None" in str(error.value)


@pytest.mark.parametrize("bad", ["", "a/b", "a\\b", "..", "a..b", ".", " a", "a ", "a\nb", "a\x00"])
@pytest.mark.parametrize("field", ["study_id", "patient_id"])
def test_unsafe_ids_are_refused(field: str, bad: str) -> None:
    with pytest.raises(InputError) as error:
        make(**{field: bad})
    assert field in str(error.value)


@given(st.text(min_size=1, max_size=40))
def test_an_accepted_id_stays_inside_its_folder(text: str) -> None:
    try:
        study = make(study_id=text)
    except InputError:
        return
    folder = Path("/runs/demo")
    assert (folder / study.study_id).parent == folder
    assert Path(study.study_id).name == study.study_id


def test_pixels_gives_the_array_itself() -> None:
    image = np.arange(12, dtype=np.uint16).reshape(3, 4)
    assert make(images={"frontal": image}).pixels("frontal") is image


def test_pixels_of_an_unknown_image_names_what_there_is() -> None:
    study = make(images={"frontal": np.zeros((2, 2), np.uint8)})
    with pytest.raises(InputError, match=r"lateral.*frontal"):
        study.pixels("lateral")


def test_pixels_reads_a_path(tmp_path: Path) -> None:
    from PIL import Image

    grey = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "film.png")
    pixels = make(images={"frontal": tmp_path / "film.png"}).pixels("frontal")
    assert pixels.shape == (64, 64)
    assert pixels.dtype in (np.uint8, np.uint16)


@pytest.mark.parametrize(
    "image",
    [np.zeros((3, 3), np.float32), np.zeros((3, 3, 3), np.uint8), np.zeros((0, 3), np.uint8), "film.png"],
)
def test_unusable_images_are_refused(image: object) -> None:
    with pytest.raises(InputError, match="frontal"):
        make(images={"frontal": image})


def test_unknown_image_names_statuses_and_terms_are_refused() -> None:
    with pytest.raises(InputError, match="oblique"):
        make(images={"oblique": np.zeros((2, 2), np.uint8)})
    with pytest.raises(InputError, match="maybe"):
        make(labels={"pleural_effusion:left": "maybe"})
    with pytest.raises(InputError, match="secret"):
        make(terms="secret")


@pytest.mark.parametrize(
    "box", [(0.2, 0.1, 0.1, 0.3), (0.0, 0.0, 1.2, 1.0), (-0.1, 0.0, 0.5, 0.5), (0, 0, float("nan"), 1)]
)
def test_boxes_must_be_ordered_shares(box: tuple[float, float, float, float]) -> None:
    with pytest.raises(InputError, match="box"):
        GroundedSentence("There is a nodule.", (box,))
    with pytest.raises(InputError, match="box"):
        GroundedSentence("There is a nodule.", extra_boxes=(box,))


def test_a_grounded_sentence_needs_words() -> None:
    with pytest.raises(InputError, match="text"):
        GroundedSentence(" ")


def test_a_grounded_sentence_is_written_as_json_and_read_back() -> None:
    plain = GroundedSentence("No nodule.", ((0.1, 0.2, 0.3, 0.4),), "lung_nodule")
    full = dataclasses.replace(
        plain,
        extra_boxes=((0.0, 0.0, 1.0, 1.0),),
        labels=("nodule",),
        locations=("left lung",),
        progression="stable",
        positive=False,
        translations={"en": "No nodule.", "es": "Sin nódulos."},
    )
    for sentence in (plain, full):
        read = json.loads(json.dumps(dataclasses.asdict(sentence)))
        boxes = {name: tuple(tuple(box) for box in read[name]) for name in ("boxes", "extra_boxes")}
        words = {name: tuple(read[name]) for name in ("labels", "locations")}
        assert GroundedSentence(**{**read, **boxes, **words}) == sentence
        assert hash(sentence) == hash(dataclasses.replace(sentence))


def test_a_study_of_text_alone_can_hold_structured_findings() -> None:
    rows = (StructuredFinding("s-1", "nodule", dx_status="positive"),)
    study = make(structured=rows, report="A nodule.")
    assert study.structured == rows
    assert dict(study.images) == {}
    assert make().structured is None
