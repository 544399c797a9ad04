from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from activations.hooks import is_image_site
from steering.errors import SteeringError
from steering.reading import Reading
from steering.schema import CAUSAL_MAP_COLUMNS
from steering.tracing.pairs import same_prompt
from steering.tracing.patching import record, replayed, residual, swapped, swapping
from steering.tracing.trace import TRACE_SCOPES, trace, trace_to_parquet

LAST = "language.2"


@pytest.fixture
def pairs(study_maker):
    """Studies that differ in their picture, with reports that differ in words and length."""
    return [
        (
            study_maker(n, words=n % 3, report="w7 w8 w9"),
            replace(study_maker(n + 50), report="w7 w11 w12 w13", indication=study_maker(n, words=n % 3).indication),
        )
        for n in range(5)
    ]


def cell(table, site, scope):
    return table.set_index(["site", "scope"]).loc[(site, scope)]


def test_the_map(model, pairs, tmp_path):
    steps = []
    # a random model may prefer either report; the order that leaves a gap to carry is the one to trace
    table = trace(model, {"a": pairs, "b": pairs[:2]}, progress=lambda *done: steps.append(done), batch=2)
    assert list(table.columns) == list(CAUSAL_MAP_COLUMNS)
    assert len(table) == 2 * (1 + 3 * 4)
    assert (table.n == np.where(table.key == "a", 5, 2)).all()
    assert steps[-1] == (len(steps), len(steps))
    assert table.flip_rate.isna().all()
    path = trace_to_parquet(table, tmp_path)
    assert path.parent.name == "trace"
    pd.testing.assert_frame_equal(pd.read_parquet(path), table)


def with_gap(model, pairs):
    """The pairs in the direction in which the model's log-odds move toward the donor's report."""
    gap = trace(model, {"k": pairs}, sites=[LAST], scopes=["all"]).gap[0]
    if gap > 0:
        return pairs
    return [(replace(r, report=d.report), replace(d, report=r.report)) for r, d in pairs]


def test_swapping_everything_carries_everything(model, pairs):
    table = trace(model, {"k": with_gap(model, pairs)}, scopes=["all"], batch=3)
    language = table[table.site.str.startswith("language")]
    assert language.gap.iloc[0] > 0.1
    assert np.allclose(language.effect, 1, atol=1e-4)
    assert np.allclose(language[["low", "high"]], 1, atol=1e-4)


def test_images_are_where_the_pair_differs(model, pairs):
    usable = with_gap(model, pairs)
    table = trace(model, {"k": usable}, sites=["vision.0", "projector", "language.0", LAST])
    assert np.allclose(cell(table, "projector", "prompt.image").effect, 1, atol=1e-4)
    assert np.allclose(cell(table, "vision.0", "prompt.image").effect, 1, atol=1e-4)
    # after the last block an image token has no way to the words any more
    assert cell(table, LAST, "prompt.image").effect == 0


def test_at_the_last_block_only_the_words_themselves_count(model, pairs):
    table = trace(model, {"k": with_gap(model, pairs)}, sites=[LAST])
    total = cell(table, LAST, "prompt.last").effect + cell(table, LAST, "generated").effect
    assert total == pytest.approx(1, abs=1e-4)
    assert cell(table, LAST, "prompt.text").effect == pytest.approx(cell(table, LAST, "prompt.last").effect, abs=1e-6)


def test_the_batch_does_not_matter(model, pairs):
    whole = trace(model, {"k": pairs}, batch=8)
    split = trace(model, {"k": pairs}, batch=2)
    numbers = ["effect", "low", "high", "gap"]
    assert np.allclose(whole[numbers], split[numbers], atol=1e-3, equal_nan=True)


@pytest.mark.parametrize("site", ["vision.0", "projector", "language.0", "language.1", LAST])
def test_replaying_equals_running_all_of_it(model, pairs, site):
    inputs = model.encode_batch([recipient for recipient, _ in pairs], [r.report for r, _ in pairs])
    donors = model.encode_batch([donor for _, donor in pairs], [r.report for r, _ in pairs])
    _, into = record(model, [site], inputs)
    _, from_donor = record(model, [site], donors)
    chosen = np.zeros(tuple(residual(into[site]).shape[:2]), dtype=bool)
    chosen[:, 3:6] = True
    patched = swapped(into[site], from_donor[site], chosen)
    handle = model.sites()[site].register_forward_hook(lambda module, arguments, output: patched)
    expected = model.forward(inputs)
    handle.remove()
    with replayed(model, site, patched):
        assert torch.equal(model.forward(inputs), expected)
    assert all("forward" not in vars(module) for module in model.sites().values())
    assert not torch.equal(model.forward(inputs), expected)


def test_modules_are_whole_again_after_an_exception(model, pairs):
    inputs = model.encode(pairs[0][0])
    _, outputs = record(model, ["language.1"], inputs)
    with pytest.raises(RuntimeError, match="stop"), replayed(model, "language.1", outputs["language.1"]):
        raise RuntimeError("stop")
    assert all("forward" not in vars(module) for module in model.sites().values())


def test_flips(model, pairs):
    """Read as a finding whatever word the donor's report starts with: swapping the projected image must write it."""
    recipient, donor = pairs[0]
    texts = [model.generate(model.encode(study))[0].text for study in (recipient, donor)]
    assert texts[0] != texts[1]

    def reader(text):
        return Reading({"k": "present" if text == texts[1] else "absent"}, True)

    table = trace(
        model, {"k": [pairs[0]]}, sites=["projector", LAST], scopes=TRACE_SCOPES[:4], flips=True, reader=reader
    )
    assert (cell(table, "projector", "prompt.image").flip_rate, cell(table, "projector", "prompt.image").flip_n) == (
        1,
        1,
    )
    assert cell(table, LAST, "prompt.image").flip_rate == 0
    assert np.isnan(cell(table, LAST, "generated").flip_rate)


def test_swapping_touches_the_prompt_only(model, studies):
    inputs = model.encode_batch(studies)
    donors = model.encode_batch(list(studies))
    _, outputs = record(model, ["language.1"], donors)
    clean = model.generate(inputs)
    with swapping(model, "language.1", outputs["language.1"], lambda places: places.role >= 0):
        same = model.generate(inputs)
    assert same == clean


def test_pairs_that_do_not_line_up_are_counted(model, pairs):
    wrong = (pairs[0][0], replace(pairs[0][1], indication="w9 w9 w9 w9"))
    table = trace(model, {"k": [*pairs, wrong]}, sites=[LAST])
    assert (table.n == 5).all()
    assert (table.skipped == 1).all()
    with pytest.raises(SteeringError, match="none of 1"):
        trace(model, {"k": [wrong]})
    assert len(trace(model, {"k": [same_prompt(wrong)]}, sites=[LAST])) == 4


def test_no_gap_is_no_effect(model, pairs):
    same = [(recipient, replace(recipient, study_id="twin", report="w11")) for recipient, _ in pairs]
    table = trace(model, {"k": same}, sites=[LAST])
    assert (table.gap.abs() < 1e-4).all()
    assert table.effect.isna().all()


def test_wrong_requests_are_refused(model, pairs):
    with pytest.raises(SteeringError, match="scopes: 'image'"):
        trace(model, {"k": pairs}, scopes=["image"])
    with pytest.raises(ValueError, match=r"language\.7"):
        trace(model, {"k": pairs}, sites=["language.7"])
    with pytest.raises(SteeringError, match="has no report"):
        trace(model, {"k": [(replace(pairs[0][0], report=None), pairs[0][1])]})
    assert is_image_site("projector")
