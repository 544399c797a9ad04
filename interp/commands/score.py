"""``interp score``."""

from __future__ import annotations

from typing import Annotated

import typer

from interp.commands.options import RunOption, SAEOption, work
from interp.commands.options_llm import (
    AllowRemoteOption,
    BaseUrlOption,
    BatchOption,
    CompletionOption,
    ConcurrencyOption,
    ExamplesOption,
    LLMOption,
    LocalOption,
    MaxCostOption,
    MaxTokensOption,
    PriceInOption,
    PriceOutOption,
    TimeoutOption,
)


def score(
    run: RunOption,
    sae: SAEOption = "main",
    explainer: Annotated[str, typer.Option("--explainer", metavar="NAME", help="Whose labels.")] = "contrast",
    feature: Annotated[
        list[int] | None, typer.Option("--feature", metavar="N", help="Only these features.  [default: all labelled]")
    ] = None,
    scorer: Annotated[
        str,
        typer.Option(
            "--scorer",
            metavar="NAME",
            help="detection (where does it fire), fuzzing (on which words), intruder (has it one meaning; needs no "
            "label), or embedding (likeness of words, blind to negation).",
        ),
    ] = "detection",
    judge: Annotated[
        str, typer.Option("--judge", metavar="NAME", help="rules (offline, reads findings) or llm.")
    ] = "rules",
    base_url: BaseUrlOption = None,
    llm: LLMOption = None,
    local: LocalOption = False,
    completion: CompletionOption = False,
    batch: BatchOption = False,
    allow_remote: AllowRemoteOption = False,
    examples: ExamplesOption = None,
    concurrency: ConcurrencyOption = 8,
    timeout: TimeoutOption = 120.0,
    price_in: PriceInOption = None,
    price_out: PriceOutOption = None,
    max_cost: MaxCostOption = None,
    max_tokens: MaxTokensOption = None,
) -> None:
    """Score labels: does a label tell where its feature fires?

    On contexts of patients that the explainer never saw, against hard negatives (same finding with another polarity,
    nearly the same words, features that fire together) and random ones, beside what labels of other features and the
    label with the opposite polarity reach on the same contexts.

    \b
    Examples:
      interp score --run runs/mine
      interp score --run runs/mine --scorer embedding
      interp score --run runs/mine --judge llm --local --feature 12
    """
    from interp.run import Run
    from interp.stages.language_model import Asking
    from interp.stages.score import ScoreConfig, score
    from interp.tables import score_lines

    opened = Run.open(run)
    asking = Asking(
        local=local,
        completion=completion,
        batch=batch,
        examples=examples,
        concurrency=concurrency,
        timeout_s=timeout,
        price_in=price_in,
        price_out=price_out,
        max_cost=max_cost,
        max_tokens=max_tokens,
    )
    config = ScoreConfig(sae, explainer, tuple(feature or ()), scorer, judge, base_url, llm, allow_remote, asking)
    with opened.writing("interp score"):
        result = score(opened, config, work(redo=True))
    for line in score_lines(result.summary):
        typer.echo(line)
