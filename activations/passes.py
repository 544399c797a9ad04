"""One pass of a model over a few studies: which tokens it saw or wrote, and their activations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from activations.hooks import HookError, capture, is_image_site, rows_for
from activations.models.base import Generation, ReportModel
from activations.roles import Role, TokenTable
from radiology.errors import InputError

if TYPE_CHECKING:
    from radiology.study import Study

GENERATED, REFERENCE = "generated", "reference"


@dataclass(frozen=True)
class Pass:
    """What a pass over b studies showed.

    Attributes:
        tables: the tokens of each study that have activations.
        rows: site → for each study (n, d), aligned with ``hooks.positions_for(site, table)``.
        reports: the text behind the tokens of role ``report``; an encoder reads none: the study's own, or "".
        report_sources: ``reference`` (the study's own), ``generated`` (written by the model), or None: no report.
    """

    tables: tuple[TokenTable, ...]
    rows: dict[str, list[torch.Tensor]]
    reports: tuple[str, ...]
    report_sources: tuple[str | None, ...]


def teacher_forced(
    model: ReportModel, sites: Sequence[str], studies: Sequence[Study], max_new_tokens: int | None = None
) -> Pass:
    """The model reads each study and its report; where there is none, it writes one first and then reads that.

    An encoder reads the images alone.
    """
    reports, sources = _reports(model, studies, max_new_tokens)
    inputs = model.encode_batch(studies, reports if model.writes else None)
    with capture(model, sites, stop=True) as recorder:
        model.forward(inputs)
    rows = {site: rows_for(site, recorder.take(site), inputs) for site in sites}
    return Pass(inputs.tokens, rows, tuple(reports), tuple(sources))


def _reports(
    model: ReportModel, studies: Sequence[Study], max_new_tokens: int | None
) -> tuple[list[str], list[str | None]]:
    """Reports and where they come from."""
    if not model.writes:
        return [study.report or "" for study in studies], [REFERENCE if study.report else None for study in studies]
    without = [study for study in studies if study.report is None]
    written = model.write(without, batch=max(len(without), 1), max_new_tokens=max_new_tokens)
    texts = iter(generation.text for generation in written)
    reports = [study.report if study.report is not None else next(texts) for study in studies]
    return reports, [GENERATED if study.report is None else REFERENCE for study in studies]


def generating(
    model: ReportModel, sites: Sequence[str], studies: Sequence[Study], max_new_tokens: int | None = None
) -> Pass:
    """The model writes each study's report and is watched doing so, with a KV cache.

    Raises:
        InputError: the model is an encoder, which writes nothing.
    """
    if not model.writes:
        raise InputError(
            f"model {model.name!r} is an encoder and writes no reports; use mode teacher-forced (without --generate)"
        )
    inputs = model.encode_batch(studies)
    with capture(model, sites) as recorder:
        written = model.generate(inputs, max_new_tokens=max_new_tokens)
    outputs = {site: recorder.take(site) for site in sites}
    steps = max((recorder.fired[site] for site in sites if not is_image_site(site)), default=None)
    tables = [_with_report(prompt, one, steps) for prompt, one in zip(inputs.tokens, written, strict=True)]
    rows = {site: rows_for(site, output, inputs, tables) for site, output in outputs.items()}
    return Pass(tuple(tables), rows, tuple(one.text for one in written), (GENERATED,) * len(written))


def _with_report(prompt: TokenTable, written: Generation, steps: int | None) -> TokenTable:
    """Prompt and those written tokens that were read back in, which a token sampled in the last step is not.

    ``steps`` counts forward passes, one for the prompt and then one a token; None if only vision sites are watched.
    """
    count = len(written.token_ids)
    seen = count if steps is None else min(count, steps - 1)
    if count - seen > (0 if written.finished else 1):
        raise HookError(f"the model wrote {count} tokens, but its hooks saw {seen} of them")
    return TokenTable.concatenate([prompt, TokenTable.text(written.token_ids[:seen], Role.REPORT)])
