"""LLaVA with CLIP and Dinov2 towers, Gemma 3 and Qwen2.5-VL: laws that hold for each, on tiny random checkpoints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from activations.caching import cache_activations
from activations.hooks import capture, positions_for, rows_for
from activations.models.base import ModelInputs
from activations.models.chat import IMAGE_WORDS, INSTRUCTION
from activations.models.general import open_general
from activations.models.vision_language import VisionLanguageModel
from activations.passes import generating
from activations.roles import IMAGE_NAMES, Role
from activations.store import ActivationStore
from activations.studies_table import StudyIndex
from radiology.errors import InputError
from radiology.study import Study
from tests.activations.tiny_models import VISION_LANGUAGE, example_studies

GRIDS = {"llava-clip": (3, 3), "llava-dino": (3, 3), "gemma3": (2, 2), "qwen2.5-vl": (3, 3)}
LANGUAGE = ["language.0", "language.1", "language.2"]
FULL, ONE, TEXT, SILENT = example_studies()


@pytest.fixture(scope="module", params=list(VISION_LANGUAGE))
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(family: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return VISION_LANGUAGE[family](tmp_path_factory.mktemp("models") / family)


@pytest.fixture(scope="module")
def model(folder: Path) -> VisionLanguageModel:
    opened = open_general(str(folder))
    assert isinstance(opened, VisionLanguageModel)
    return opened


def messages(model: VisionLanguageModel, study: Study, answer: str | None) -> list[dict]:
    """The conversation about :data:`FULL` as a person would write it."""
    pictures = {name: model.crop.picture(study.pixels(name)) for name in IMAGE_NAMES}
    words = (
        f"{INSTRUCTION}\nINDICATION: {study.indication}\nTECHNIQUE: {study.technique}\n"
        f"COMPARISON: {study.comparison}\nPRIOR REPORT: {study.prior_report}"
    )
    if model.writer.image_token == "<image>":  # its template puts all images first
        order = "Images in this order: frontal image; lateral image; frontal image of the prior study.\n"
        parts = [{"type": "image", "image": picture} for picture in pictures.values()]
        content = [*parts, {"type": "text", "text": order + words}]
    else:
        content = [
            {"type": "text", "text": "Frontal image: "},
            {"type": "image", "image": pictures["frontal"]},
            {"type": "text", "text": "\nLateral image: "},
            {"type": "image", "image": pictures["lateral"]},
            {"type": "text", "text": "\nFrontal image of the prior study: "},
            {"type": "image", "image": pictures["prior_frontal"]},
            {"type": "text", "text": "\n" + words},
        ]
    said = [] if answer is None else [{"role": "assistant", "content": [{"type": "text", "text": answer}]}]
    return [{"role": "user", "content": content}, *said]


@pytest.mark.parametrize("answered", [False, True])
def test_inputs_are_what_the_checkpoints_own_processor_makes(
    model: VisionLanguageModel, family: str, answered: bool
) -> None:
    processor, answer = model._processor, FULL.report if answered else None
    inputs = model.encode(FULL, answer)
    if family == "llava-dino":  # no chat template
        pictures = {name: model.crop.picture(FULL.pixels(name)) for name in IMAGE_NAMES}
        text = "".join(f"{IMAGE_WORDS[name]} <image>\n" for name in pictures)
        text += (
            f"{INSTRUCTION}\nINDICATION: {FULL.indication}\nTECHNIQUE: {FULL.technique}\nCOMPARISON: {FULL.comparison}"
            f"\nPRIOR REPORT: {FULL.prior_report}\nFINDINGS:" + (f" {answer}</s>" if answered else "")
        )
        made = processor(text=text, images=list(pictures.values()), return_tensors="pt")
    else:
        renderer = processor if processor.chat_template else None
        made = (renderer or _with_template(processor)).apply_chat_template(
            messages(model, FULL, answer),
            add_generation_prompt=not answered,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
    ids, theirs = inputs.input_ids_bt[0].tolist(), made["input_ids"][0].tolist()
    if answered and family == "llava-clip":
        assert ids[-1] == model.eos_token_id  # the template ends an answer with a space, generation with the end token
        ids, theirs = ids[:-1], theirs[: len(ids) - 1]
    end = len(theirs) if not answered else len(ids)
    assert ids == theirs[:end]
    if answered:
        left = model.tokenizer.decode(theirs[end:], skip_special_tokens=False)
        assert not left.strip(), "only white space follows the end token"
    pixels = inputs.pixel_values_nchw if inputs.pixel_values_nchw is not None else inputs.extra["pixel_values"]
    assert torch.equal(pixels, made["pixel_values"])


def _with_template(processor: object) -> object:
    processor.chat_template = processor.tokenizer.chat_template  # type: ignore[attr-defined]
    return processor


@pytest.mark.parametrize("study", [FULL, ONE, TEXT], ids=lambda study: study.study_id)
def test_tokens_of_a_role_spell_its_text(model: VisionLanguageModel, study: Study) -> None:
    (table,) = model.encode(study, study.report).tokens
    texts = {
        Role.INDICATION: study.indication,
        Role.TECHNIQUE: study.technique,
        Role.COMPARISON: study.comparison,
        Role.PRIOR_REPORT: study.prior_report if "prior_frontal" in study.images else None,
        Role.REPORT: study.report,
    }
    for role, text in texts.items():
        spelled = model.tokenizer.decode(table.token_id[table.where([role])]).strip()
        assert spelled == (text or ""), role
    template = model.tokenizer.decode(table.token_id[table.where([Role.TEMPLATE])])
    assert INSTRUCTION in template
    assert template.count("N/A") == sum(text is None for role, text in list(texts.items())[:3])
    special = model.tokenizer.convert_ids_to_tokens(table.token_id[table.where([Role.SPECIAL])].tolist())
    assert all(token.startswith("<") and token.endswith(">") and not token.startswith("<0x") for token in special)


def test_image_tokens_know_image_and_patch(model: VisionLanguageModel, family: str) -> None:
    rows, cols = GRIDS[family]
    assert model.grid == (rows, cols)
    (table,) = model.encode(FULL).tokens
    for name in IMAGE_NAMES:
        places = table.where([Role.IMAGE], name)
        assert np.all(np.diff(places) == 1)
        assert table.row[places].tolist() == np.repeat(range(rows), cols).tolist()
        assert table.col[places].tolist() == np.tile(range(cols), rows).tolist()
        word = {"frontal": "Frontal", "lateral": "Lateral", "prior_frontal": "prior"}[name]
        if family != "llava-clip":
            before = model.tokenizer.decode(table.token_id[max(0, places[0] - 24) : places[0]])
            assert word in before.rsplit("image_soft", 1)[-1]
    assert len(table.where([Role.IMAGE])) == 3 * rows * cols


def test_prior_report_is_asked_for_with_a_prior_image_only(model: VisionLanguageModel) -> None:
    alone = replace(ONE, prior_report="There is a nodule.")
    (table,) = model.encode(alone).tokens
    assert not len(table.where([Role.PRIOR_REPORT]))
    assert "PRIOR REPORT" not in model.tokenizer.decode(table.token_id)
    missing = replace(FULL, prior_report=None)
    assert "PRIOR REPORT: N/A" in model.tokenizer.decode(model.encode(missing).tokens[0].token_id)


def test_report_ends_with_an_end_token(model: VisionLanguageModel) -> None:
    (table,) = model.encode(FULL, FULL.report).tokens
    assert int(table.token_id[-1]) == model.eos_token_id
    assert table.role[-2] == Role.REPORT


@pytest.mark.parametrize("place", [(0, 0), (0, -1), (-1, 0)])
def test_bright_patch_moves_its_image_token_and_its_part_of_the_preview(
    model: VisionLanguageModel, family: str, place: tuple[int, int]
) -> None:
    rows, cols = model.grid
    row, col = place[0] % rows, place[1] % cols
    crop, border = model.crop, (model.crop.side - model.crop.seen) // 2
    grey = np.random.default_rng(0).integers(20, 200, (crop.side, crop.side)).astype(np.uint8)
    grey[crop.side // 2, crop.side // 2 : crop.side // 2 + 2] = (0, 255)
    bright = grey.copy()
    seen = bright[border : border + crop.seen, border : border + crop.seen]
    high, wide = crop.seen // rows, crop.seen // cols
    seen[row * high : (row + 1) * high, col * wide : (col + 1) * wide] = 255

    def study(image: np.ndarray) -> Study:
        return Study("s", "p", {"frontal": image}, "phantom")

    before, after = model.encode(study(grey)), model.encode(study(bright))
    assert _tokens_of_changed_pixels(before, after, model) == [(row, col)]
    shown = model.preview(study(bright), "frontal").astype(int) - model.preview(study(grey), "frontal")
    assert shown.shape == (model.image_size, model.image_size)
    edges = np.linspace(0, model.image_size, rows + 1).round().astype(int)
    moved = [
        (r, c)
        for r in range(rows)
        for c in range(cols)
        if shown[edges[r] : edges[r + 1], edges[c] : edges[c + 1]].mean() > 30
    ]
    assert moved == [(row, col)]


def _tokens_of_changed_pixels(a: ModelInputs, b: ModelInputs, model: VisionLanguageModel) -> list[tuple[int, int]]:
    rows, cols = model.grid
    if a.pixel_values_nchw is None:  # flat patches, four after each other make one token
        change = (a.extra["pixel_values"] - b.extra["pixel_values"]).abs().sum(1)
        moved = change.view(rows * cols, -1).sum(1).view(rows, cols)
    else:
        assert b.pixel_values_nchw is not None
        change = (a.pixel_values_nchw - b.pixel_values_nchw).abs().sum(1)[0]
        high, wide = change.shape[0] // rows, change.shape[1] // cols
        moved = change.view(rows, high, cols, wide).sum((1, 3))
    return [tuple(place) for place in torch.nonzero(moved > 0).tolist()]


def test_rows_of_a_batch_are_those_of_each_study_alone(model: VisionLanguageModel) -> None:
    sites = list(model.sites())
    batch = [FULL, TEXT, ONE]
    together, alone = _rows(model, batch, sites), [_rows(model, [study], sites) for study in batch if study.images]
    for site in LANGUAGE:
        singles = [_rows(model, [study], LANGUAGE)[site][0] for study in batch]
        for ours, theirs in zip(together[site], singles, strict=True):
            torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=1e-4)
    for site in set(sites) - set(LANGUAGE):
        for ours, theirs in zip((together[site][0], together[site][2]), (one[site][0] for one in alone), strict=True):
            torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=1e-4)


def _rows(model: VisionLanguageModel, studies: list[Study], sites: list[str]) -> dict[str, list[torch.Tensor]]:
    inputs = model.encode_batch(studies, [study.report for study in studies])
    with capture(model, sites) as recorder:
        model.forward(inputs)
    rows = {site: rows_for(site, recorder.take(site), inputs) for site in sites}
    for site, parts in rows.items():
        for part, table in zip(parts, inputs.tokens, strict=True):
            assert part.shape == (len(positions_for(site, table)), model.width(site))
    return rows


def test_generation_sees_what_a_teacher_forced_pass_sees(model: VisionLanguageModel) -> None:
    studies = [FULL, TEXT, ONE]
    seen = generating(model, LANGUAGE, studies, max_new_tokens=5)
    for i, study in enumerate(studies):
        table = seen.tables[i]
        prompt = model.encode(study)
        new = torch.from_numpy(table.token_id[prompt.input_ids_bt.shape[1] :].astype(np.int64))[None]
        assert new.shape[1] >= 4
        whole = replace(
            prompt,
            input_ids_bt=torch.cat([prompt.input_ids_bt, new], 1),
            attention_mask_bt=torch.ones(1, len(table), dtype=torch.int64),
            tokens=(table,),
            extra={name: _longer(value, prompt, new) for name, value in prompt.extra.items()},
        )
        with capture(model, LANGUAGE) as recorder:
            model.forward(whole)
        for site in LANGUAGE:
            torch.testing.assert_close(seen.rows[site][i], recorder.take(site)[0], atol=2e-4, rtol=1e-4)


def _longer(value: torch.Tensor, prompt: ModelInputs, new: torch.Tensor) -> torch.Tensor:
    if value.shape != prompt.input_ids_bt.shape:
        return value
    return torch.cat([value, torch.zeros(new.shape, dtype=value.dtype)], 1)


def test_sites_are_the_hidden_states(model: VisionLanguageModel) -> None:
    inputs = model.encode_batch([FULL, ONE])
    with capture(model, LANGUAGE) as recorder:
        states = model.module(**model.arguments(inputs), output_hidden_states=True, use_cache=False).hidden_states
    for number, site in enumerate(LANGUAGE[:-1]):
        assert torch.equal(recorder.take(site), states[number + 1])
    assert torch.equal(model.parts.final_norm(recorder.take(LANGUAGE[-1])), states[-1])


def test_lens_of_the_last_residual_is_the_logits(model: VisionLanguageModel) -> None:
    inputs = model.encode(ONE)
    with capture(model, LANGUAGE[-1:]) as recorder:
        logits = model.forward(inputs)
    residual = recorder.take(LANGUAGE[-1])
    read = model.unembedding()
    assert read is not None
    unit = residual * torch.rsqrt(residual.pow(2).mean(-1, keepdim=True) + 1e-6)
    torch.testing.assert_close(unit * read[0] @ read[1].T, logits, atol=1e-4, rtol=1e-3)


def test_replacing_an_output_by_itself_changes_nothing(model: VisionLanguageModel) -> None:
    inputs = model.encode_batch([FULL, ONE])
    plain = model.forward(inputs)
    handles = [module.register_forward_hook(lambda m, a, output: output) for module in model.sites().values()]
    try:
        assert torch.equal(model.forward(inputs), plain)
    finally:
        for handle in handles:
            handle.remove()


def test_beams_keep_the_images_of_their_prompt(model: VisionLanguageModel) -> None:
    swapped = replace(
        FULL, images={**FULL.images, "frontal": FULL.images["lateral"], "lateral": FULL.images["frontal"]}
    )
    batch = [FULL, swapped, ONE]
    together = model.generate(model.encode_batch(batch), max_new_tokens=4, num_beams=2)
    alone = [model.generate(model.encode(study), max_new_tokens=4, num_beams=2)[0] for study in batch]
    assert [one.token_ids for one in together] == [one.token_ids for one in alone]
    last = [model.forward(model.encode(study))[0, -1] for study in (FULL, swapped)]
    assert (last[0] - last[1]).abs().max() > 0.1, "the order of images matters to this model"


def test_store_is_filled(model: VisionLanguageModel, tmp_path: Path) -> None:
    sites = ["language.1", "language.2"]
    summary = cache_activations(
        model, example_studies(), sites, tmp_path / "activations", roles="content", batch_size=3, max_new_tokens=4
    )
    assert (summary.studies, summary.generated_reports, summary.studies_without_rows) == (4, 1, 0)
    assert summary.rows_by_role["image"] == 5 * model.grid[0] * model.grid[1]
    with ActivationStore(tmp_path / "activations") as store:
        rows = store.rows_of_study(1)
        kept = store.read("language.1", rows)
        expected = _rows(model, [ONE], ["language.1"])["language.1"][0]
        positions = store.column("position")[rows]
        np.testing.assert_allclose(kept, expected[torch.from_numpy(positions.astype(np.int64))], rtol=0.02, atol=0.02)
    index = StudyIndex.read(tmp_path)
    assert np.array_equal(index.preview(1, "frontal"), model.preview(ONE, "frontal"))
    assert index.preview(2, "frontal") is None


def test_image_sites_are_offered_where_rows_are_tokens(model: VisionLanguageModel, family: str, tmp_path: Path) -> None:
    image_sites = [site for site in model.sites() if not site.startswith("language")]
    expected = {
        "llava-clip": ["vision.0", "vision.1", "projector"],
        "llava-dino": ["vision.0", "vision.1", "projector"],
        "gemma3": ["projector"],  # 16 patches are pooled to 4 tokens after the encoder
        "qwen2.5-vl": [],  # patches go through the encoder window by window
    }
    assert image_sites == expected[family]
    if image_sites:
        studies = [FULL, ONE]
        summary = cache_activations(model, studies, image_sites, tmp_path / "activations", roles="image")
        assert summary.rows == 4 * model.grid[0] * model.grid[1]


def test_projected_rows_are_what_the_decoder_reads_at_image_tokens(model: VisionLanguageModel, family: str) -> None:
    if "projector" not in model.sites():
        assert family == "qwen2.5-vl"
        return
    inputs = model.encode_batch([FULL, TEXT, ONE])
    read: list[torch.Tensor] = []
    handle = model.sites()["language.0"].register_forward_pre_hook(lambda m, args: read.append(args[0]))
    try:
        with capture(model, ["projector"]) as recorder:
            model.forward(inputs)
    finally:
        handle.remove()
    for i, rows in enumerate(rows_for("projector", recorder.take("projector"), inputs)):
        columns = inputs.columns(i, positions_for("projector", inputs.tokens[i]))
        torch.testing.assert_close(rows, read[0][i, columns])


def test_instruction_can_be_changed(model: VisionLanguageModel) -> None:
    before = model.encode(ONE).input_ids_bt
    model.writer.instruction = "Say what the heart looks like."
    try:
        assert "Say what the heart looks like." in model.tokenizer.decode(model.encode(ONE).input_ids_bt[0])
    finally:
        model.writer.instruction = INSTRUCTION
    assert torch.equal(model.encode(ONE).input_ids_bt, before)


def test_half_precision_is_kept(folder: Path) -> None:
    model = open_general(str(folder), dtype=torch.bfloat16)
    assert model.dtype == torch.bfloat16
    logits = model.forward(model.encode_batch([FULL, TEXT]))
    assert logits.dtype == torch.bfloat16
    assert bool(torch.isfinite(logits).all())
    assert len(model.generate(model.encode(ONE), max_new_tokens=2)) == 1


def test_accelerate_places_the_parts(folder: Path, model: VisionLanguageModel) -> None:
    spread = open_general(str(folder), device_map={"": "cpu"})
    assert spread.fingerprint == model.fingerprint
    torch.testing.assert_close(spread.forward(model.encode(ONE)), model.forward(model.encode(ONE)))


def test_what_cannot_become_a_prompt_is_refused(model: VisionLanguageModel) -> None:
    with pytest.raises(InputError, match=r"study 's': has neither an image nor a text"):
        model.encode(Study("s", "p", {}, "phantom"))
    with pytest.raises(InputError, match=r"indication holds .* which stands for an image"):
        model.encode(replace(ONE, indication=f"see {model.writer.image_token} here"))
    with pytest.raises(InputError, match="writes no grounded reports"):
        model.encode(ONE, grounded=True)
    with pytest.raises(InputError, match=r"study 'one': its prompt has \d+ tokens, model .* takes 1024"):
        model.encode(ONE, "The heart is normal. " * 300)
