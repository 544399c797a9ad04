"""Conditions on text choose the same tokens while a report is written and when it is teacher-forced."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from activations.models import open_model
from activations.models.base import ModelInputs
from activations.roles import Role, TokenTable
from radiology.phantom.cases import phantom_study
from steering.errors import SteeringError
from steering.interventions.apply import steer
from steering.interventions.kinds import Add
from steering.interventions.spec import Direction, Gate, Intervention, Schedule, SteeringSpec, Tokens

SITE = "language.1"
NEAR = Direction("near", tuple(np.full(32, 1e-4).tolist()))


def spec(site=SITE, width=32, scope="generated", length=1e-4, gate=None, schedule=None, **tokens):
    push = Direction("near", (length,) * width)
    return SteeringSpec(
        site, (Intervention(Add(1.0), direction=push),), Tokens(scope, **tokens), gate, schedule=schedule
    )


def forced(inputs: ModelInputs, written) -> ModelInputs:
    """Prompts continued by what was written, left-padded anew; without end tokens."""
    tables = [
        TokenTable.concatenate([table, TokenTable.text(one.token_ids, Role.REPORT)])
        for table, one in zip(inputs.tokens, written, strict=True)
    ]
    width = max(map(len, tables))
    ids_bt = torch.zeros(len(tables), width, dtype=torch.int64)
    mask_bt = torch.zeros_like(ids_bt)
    for row, table in enumerate(tables):
        ids_bt[row, width - len(table) :] = torch.from_numpy(table.token_id.astype(np.int64))
        mask_bt[row, width - len(table) :] = 1
    return replace(inputs, input_ids_bt=ids_bt, attention_mask_bt=mask_bt, tokens=tuple(tables))


CONDITIONS = [
    {"pattern": r"w[12]\d"},
    {"pattern": r"w1\d w\d+", "words": ("w22",)},
    {"gate": Gate(pattern=r"w19|w18")},
    {"gate": Gate(pattern=r"w24", negate=True)},
    {"schedule": Schedule(start=1, stop=5, every=2)},
]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_written_and_forced_reports_are_steered_at_the_same_tokens(model, studies, condition):
    inputs = model.encode_batch(studies)
    with steer(model, None, spec(**condition)) as applied:
        written = model.generate(inputs)
    by_generation = [proof.tokens.get("report", 0) for _, proof in applied.last]
    with steer(model, None, spec(**condition)) as applied:
        model.forward(forced(inputs, written))
    by_forcing = [proof.tokens.get("report", 0) for _, proof in applied.last]
    # the last word of an unfinished report is never fed back
    cut = [replace(one, token_ids=one.token_ids[: len(one.token_ids) - (not one.finished)]) for one in written]
    with steer(model, None, spec(**condition)) as applied:
        model.forward(forced(inputs, cut))
    assert [proof.tokens.get("report", 0) for _, proof in applied.last] == by_generation
    assert sum(by_forcing) >= sum(by_generation) > 0


def test_generated_words_are_counted_exactly(model, studies):
    inputs = model.encode_batch(studies)
    words = ("w19", "w22", "w12")
    with steer(model, None, spec(words=words)) as applied:
        written = model.generate(inputs)
    fed = [one.text.split()[: len(one.token_ids) - (not one.finished)] for one in written]
    assert [p.tokens.get("report", 0) for _, p in applied.last] == [sum(w in words for w in ws) for ws in fed]


@pytest.mark.parametrize("condition", CONDITIONS[:3])
def test_beams_are_read_each_for_itself(model, studies, condition):
    """A batch of beams does what each study does alone, with a push that changes the words."""
    pushed = spec(length=0.7, **condition)
    with steer(model, None, pushed):
        together = model.generate(model.encode_batch(studies), num_beams=3)
    alone = []
    for study in studies:
        try:
            with steer(model, None, pushed):
                alone += model.generate(model.encode(study), num_beams=3)
        except SteeringError:  # nothing in this study met the condition
            alone += model.generate(model.encode(study), num_beams=3)
    assert [one.token_ids for one in together] == [one.token_ids for one in alone]


def test_prompt_words_are_whole_sections(model, study_maker):
    study = replace(study_maker(0, words=0), indication="w8 w9 w8")
    with steer(model, None, spec(scope="prompt.text", pattern="w8 w9")) as applied:
        model.forward(model.encode(study))
    assert applied.proof.tokens == {"indication": 2}


def test_text_gates_are_closed_at_images(model, studies):
    inputs = model.encode_batch(studies, ["w7 w8 w9"] * 4)
    with steer(model, None, spec(scope="all", gate=Gate(pattern="w8"))) as applied:
        model.forward(inputs)
    assert applied.proof.tokens["report"] == 4 * 2
    assert "image" not in applied.proof.tokens
    with steer(model, None, spec(scope="all", gate=Gate(pattern="w8", negate=True))) as applied:
        model.forward(inputs)
    assert applied.proof.tokens["image"] == 36
    assert applied.proof.tokens["report"] == 4


def test_feature_and_text_both(model, sae, studies):
    inputs = model.encode_batch(studies, ["w7 w8 w9"] * 4)

    def counted(gate):
        with steer(model, sae, {5: Add(1.0, unit="activation")}, tokens="generated", gate=gate) as applied:
            model.forward(inputs)
        return applied.proof.total

    active, said = counted(Gate(11, 0.2)), counted(Gate(pattern="w8"))
    both = counted(Gate(11, 0.2, pattern="w8"))
    assert 0 < both < active
    assert both < said == 8
    assert both + counted(Gate(11, 0.2, pattern="w8", negate=True)) == 12


def test_own_gate_is_each_features_own(model, sae, studies):
    inputs = model.encode_batch(studies)
    options = {"tokens": "prompt.text", "gate": Gate("own", above=0.3)}
    unit = {"unit": "activation"}
    clean = model.forward(inputs)
    with steer(model, sae, {(5, 9): Add(1.0, **unit)}, **options):
        together = model.forward(inputs)
    with steer(model, sae, {5: Add(1.0, **unit), 9: Add(1.0, **unit)}, **options):
        apart = model.forward(inputs)
    assert torch.allclose(together, apart, atol=1e-5)
    assert not torch.equal(together, clean)


def test_a_mask_a_study(model, studies):
    inputs = model.encode_batch(studies)
    none, two = np.zeros((2, 3)), np.array([[1, 0, 0], [0, 0, 1.0]])
    chosen = spec(scope="prompt.image", mask={"s0": two, "*": none})
    with steer(model, None, chosen) as applied:
        model.forward(inputs)
    assert [proof.total for _, proof in applied.last] == [2, 0, 0, 0]
    with (
        pytest.raises(SteeringError, match=r"tokens\.mask: no grid for study 's1'"),
        steer(model, None, spec(scope="prompt.image", mask={"s0": two})),
    ):
        model.forward(inputs)


def test_a_map_a_study(model, sae, studies):
    inputs = model.encode_batch(studies[:2])
    maps = {"s0": np.eye(2, 3), "s1": np.ones((2, 3))}
    with steer(model, sae, {5: Add(2.0, shape="map")}, maps={5: maps}) as applied:
        model.forward(inputs)
    assert [proof.tokens["image"] for _, proof in applied.last] == [2, 6]
    assert [proof.delta_norm for _, proof in applied.last] == pytest.approx([4, 12], rel=1e-4)


def test_a_topic_on_the_phantom():
    """Only the sentence on the heart is steered, from the word on that names it; until the finding is named, too."""
    phantom = open_model("phantom:random")
    report = "Both lungs are clear. The heart is enlarged. No pleural effusion."
    inputs = phantom.encode(phantom_study(0, 0), report)

    def steered(**options):
        with steer(phantom, None, spec("language.2", 128, **options)) as applied:
            phantom.forward(inputs)
        return applied.proof.tokens["report"]

    on_heart = steered(gate=Gate(topic="cardiomegaly"))
    assert 0 < on_heart < 7
    total = int((inputs.tokens[0].role == Role.REPORT).sum())
    assert on_heart + steered(gate=Gate(topic="cardiomegaly", negate=True)) == total
    assert 5 <= steered(schedule=Schedule(until="cardiomegaly")) < total - 4


def test_unread_words_are_refused(model, studies, monkeypatch):
    monkeypatch.setattr("steering.interventions.transcript.Transcript.note", lambda self, ids: None)
    with pytest.raises(SteeringError, match="does not tell what it writes"), steer(model, None, spec(words=("w19",))):
        model.generate(model.encode_batch(studies))
