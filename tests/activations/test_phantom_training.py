"""The recipe of the phantom weights, and what the shipped weights can do on held-out phantoms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from activations.models import open_model
from activations.models.phantom import PhantomReportModel
from activations.models.phantom_language import ids_text
from activations.models.phantom_training.data import _arrays, _join, patch_targets
from activations.models.phantom_training.evaluate import box_iou, evaluate_phantom, mask_box
from activations.models.phantom_training.loop import LoopConfig, optimise
from activations.models.phantom_training.reporter import _batch
from radiology.phantom.cases import phantom_studies
from radiology.phantom.factors import FINDING_KEYS


def test_patches_are_marked_where_the_mask_lies() -> None:
    mask = np.zeros((140, 140), dtype=bool)
    mask[30:40, 98:112] = True  # inside patch row 2, column 7
    targets = patch_targets({"cardiomegaly": mask})
    assert np.argwhere(targets).tolist() == [[2 * 10 + 7, FINDING_KEYS.index("cardiomegaly")]]


def test_the_smallest_finding_still_has_a_patch() -> None:
    mask = np.zeros((140, 140), dtype=bool)
    mask[0, 0] = True
    assert patch_targets({"lung_nodule:left": mask}).sum() == 1


def test_targets_are_the_report_shifted_by_one() -> None:
    studies = list(phantom_studies(6, seed=4))
    data = _join([_arrays(studies)])
    ids_bt, targets_bt = _batch(data, np.arange(6), grounded=False)
    for row, study in enumerate(studies):
        learned = targets_bt[row][targets_bt[row] != -100].tolist()
        assert ids_text(learned) == study.report
        place = int(torch.nonzero(targets_bt[row] != -100)[0])
        assert ids_bt[row, : place + 1].tolist() == data.prompts[row].tolist()


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    inputs = torch.randn(50, 8, 4, generator=torch.Generator().manual_seed(1))

    def run(checkpoint: Path, stop: int | None) -> nn.Module:
        torch.manual_seed(0)
        module = nn.Linear(4, 1)
        config = LoopConfig(40, 1e-2, warmup=5, checkpoint_every=7, stop=stop)
        optimise(module, lambda step: module(inputs[step]).square().mean(), config, checkpoint)
        return module

    whole = run(tmp_path / "whole.pt", None)
    run(tmp_path / "parts.pt", 19)
    resumed = run(tmp_path / "parts.pt", None)
    assert torch.equal(whole.weight, resumed.weight)  # type: ignore[arg-type]


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    module = nn.Linear(2, 1)
    with pytest.raises(FloatingPointError, match="step 0"):
        optimise(module, lambda step: module(torch.full((1, 2), torch.nan)).sum(), LoopConfig(3, 1e-3), tmp_path / "c")


def test_boxes_and_their_overlap() -> None:
    mask = np.zeros((10, 10), dtype=bool)
    mask[2:4, 5:10] = True
    assert mask_box(mask) == (0.5, 0.2, 1.0, 0.4)
    assert box_iou((0, 0, 1, 1), (0, 0, 1, 1)) == 1.0
    assert box_iou((0, 0, 0.5, 1), (0.5, 0, 1, 1)) == 0.0
    assert box_iou((0, 0, 1, 1), (0, 0, 0.5, 1)) == 0.5


def test_shipped_weights_read_held_out_phantoms() -> None:
    model = open_model("phantom")
    assert isinstance(model, PhantomReportModel)
    scores = evaluate_phantom(model, list(phantom_studies(40, seed=77)))
    assert scores.macro_f1 > 0.9
    assert scores.change_accuracy > 0.85
    assert scores.box_iou_median > 0.6
    assert scores.parse_failures <= 0.05


def test_random_weights_do_not() -> None:
    model = open_model("phantom:random")
    assert isinstance(model, PhantomReportModel)
    scores = evaluate_phantom(model, list(phantom_studies(4, seed=77)))
    assert scores.macro_f1 < 0.2
    assert scores.parse_failures == 1.0
