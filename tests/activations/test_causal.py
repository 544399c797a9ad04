"""Causal language models: a chat model and GPT-2, whose positions are learned and whose prompt is plain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from activations.caching import cache_activations
from activations.hooks import capture, rows_for
from activations.models.causal import CausalReportModel
from activations.models.chat import INSTRUCTION
from activations.models.general import open_general
from activations.passes import generating
from activations.roles import Role
from activations.store import ActivationStore
from activations.studies_table import StudyIndex
from radiology.errors import InputError
from radiology.study import Study
from tests.activations.tiny_models import CAUSAL, example_studies

SITES = ["language.0", "language.1", "language.2"]
STUDIES = example_studies()
FULL, ONE, TEXT, _ = STUDIES
SECTIONS = "INDICATION: {indication}\nTECHNIQUE: {technique}\nCOMPARISON: {comparison}\nPRIOR REPORT: {prior_report}"


@pytest.fixture(scope="module", params=list(CAUSAL))
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def model(family: str, tmp_path_factory: pytest.TempPathFactory) -> CausalReportModel:
    opened = open_general(str(CAUSAL[family](tmp_path_factory.mktemp("models") / family)))
    assert isinstance(opened, CausalReportModel)
    return opened


@pytest.mark.parametrize("answered", [False, True])
def test_ids_are_those_of_the_tokenizer(model: CausalReportModel, family: str, answered: bool) -> None:
    words = f"{INSTRUCTION}\n{SECTIONS.format(**vars(FULL))}"
    ids = model.encode(FULL, FULL.report if answered else None).input_ids_bt[0].tolist()
    if family == "gpt2":
        answer = f" {FULL.report}<|endoftext|>" if answered else ""
        assert ids == model.tokenizer(f"{words}\nFINDINGS:{answer}")["input_ids"]
        return
    said: list[Mapping[str, Any]] = [{"role": "user", "content": words}]
    said += [{"role": "assistant", "content": FULL.report}] if answered else []
    made = model.tokenizer.apply_chat_template(said, tokenize=True, add_generation_prompt=not answered)["input_ids"]
    assert made[: len(ids)] == ids
    assert not model.tokenizer.decode(made[len(ids) :]).strip(), "the template ends with the end token and white space"


def test_tokens_of_a_role_spell_its_text(model: CausalReportModel) -> None:
    for study in (FULL, TEXT):
        (table,) = model.encode(study, study.report).tokens
        texts = {
            Role.INDICATION: study.indication,
            Role.TECHNIQUE: study.technique,
            Role.COMPARISON: study.comparison,
            Role.PRIOR_REPORT: study.prior_report,
            Role.REPORT: study.report,
        }
        for role, text in texts.items():
            assert model.tokenizer.decode(table.token_id[table.where([role])]).strip() == (text or "")
        assert not len(table.where([Role.IMAGE]))
        assert int(table.token_id[-1]) == model.eos_token_id


def test_images_are_not_looked_at(model: CausalReportModel) -> None:
    blind = replace(FULL, images={})
    assert torch.equal(model.encode(FULL).input_ids_bt, model.encode(blind).input_ids_bt)
    assert (model.grid, model.image_size) == ((0, 0), 0)
    with pytest.raises(InputError, match="reads text only"):
        model.preview(FULL, "frontal")


def test_study_without_text_is_refused(model: CausalReportModel) -> None:
    bare = Study("bare", "p", FULL.images, "phantom")
    with pytest.raises(InputError, match=r"study 'bare': has no indication, technique, comparison or report"):
        model.encode(bare)
    assert len(model.encode(bare, "The heart is normal.").tokens[0].where([Role.REPORT]))


def test_rows_of_a_batch_are_those_of_each_study_alone(model: CausalReportModel) -> None:
    together = _rows(model, [FULL, TEXT, ONE])
    for i, study in enumerate([FULL, TEXT, ONE]):
        for site, rows in _rows(model, [study]).items():
            torch.testing.assert_close(together[site][i], rows[0], atol=2e-4, rtol=1e-4)


def _rows(model: CausalReportModel, studies: list[Study]) -> dict[str, list[torch.Tensor]]:
    inputs = model.encode_batch(studies, [study.report for study in studies])
    with capture(model, SITES) as recorder:
        model.forward(inputs)
    return {site: rows_for(site, recorder.take(site), inputs) for site in SITES}


def test_generation_sees_what_a_teacher_forced_pass_sees(model: CausalReportModel) -> None:
    studies = [FULL, TEXT]
    seen = generating(model, SITES, studies, max_new_tokens=6)
    for i, study in enumerate(studies):
        table = seen.tables[i]
        ids = torch.from_numpy(table.token_id.astype(np.int64))[None]
        assert ids.shape[1] == model.encode(study).input_ids_bt.shape[1] + 5
        whole = replace(model.encode(study), input_ids_bt=ids, attention_mask_bt=torch.ones_like(ids), tokens=(table,))
        with capture(model, SITES) as recorder:
            model.forward(whole)
        for site in SITES:
            torch.testing.assert_close(seen.rows[site][i], recorder.take(site)[0], atol=2e-4, rtol=1e-4)


def test_sites_are_the_hidden_states(model: CausalReportModel) -> None:
    inputs = model.encode(FULL)
    with capture(model, SITES) as recorder:
        states = model.module(**model.arguments(inputs), output_hidden_states=True).hidden_states
    for number, site in enumerate(SITES[:-1]):
        assert torch.equal(recorder.take(site), states[number + 1])
    assert torch.equal(model.parts.final_norm(recorder.take(SITES[-1])), states[-1])


def test_lens_is_there_for_rms_norms_only(model: CausalReportModel, family: str) -> None:
    assert (model.unembedding() is None) == (family == "gpt2")


def test_store_without_images_is_filled_and_read(model: CausalReportModel, tmp_path: Path) -> None:
    summary = cache_activations(
        model, STUDIES, SITES[1:2], tmp_path / "activations", roles="text", batch_size=2, max_new_tokens=3
    )
    assert (summary.studies, summary.generated_reports) == (4, 1)
    index = StudyIndex.read(tmp_path)
    assert all(index.preview_png(study, "frontal") is None for study in range(4))
    with ActivationStore(tmp_path / "activations") as store:
        assert set(store.column("image")) == {-1}
        rows = store.rows_of_study(0)
        position = store.column("position")[rows].astype(np.int64)
        expected = _rows(model, [FULL])[SITES[1]][0][torch.from_numpy(position)]
        np.testing.assert_allclose(store.read(SITES[1], rows), expected, rtol=0.02, atol=0.02)


def test_prompt_longer_than_the_positions_is_refused(model: CausalReportModel) -> None:
    with pytest.raises(InputError, match=r"study 'one': its prompt has \d+ tokens, model .* takes (300|1024)"):
        model.encode(ONE, "The heart is normal. " * 300)


def test_rows_can_be_filled_up_without_a_pad_token(model: CausalReportModel, family: str) -> None:
    assert (model.pad_token_id == model.eos_token_id) == (family == "gpt2")
    finished = model.generate(model.encode_batch([FULL, TEXT]), max_new_tokens=3)
    assert [one.study_id for one in finished] == ["full", "text"]
