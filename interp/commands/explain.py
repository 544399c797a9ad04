"""``interp explain``."""

from __future__ import annotations

from typing import Annotated

import typer

from interp.commands.options import (
    DeviceMapOption,
    DeviceOption,
    RunOption,
    SAEOption,
    TrustOption,
    opening,
    work,
)
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


def explain(
    run: RunOption,
    sae: SAEOption = "main",
    explainer: Annotated[
        str,
        typer.Option(
            "--explainer",
            metavar="NAME",
            help="contrast (offline), llm, vision (a chat model that sees), or steer (what the feature makes the model "
            "write).",
        ),
    ] = "contrast",
    feature: Annotated[
        list[int] | None, typer.Option("--feature", metavar="N", help="Only these features.  [default: all]")
    ] = None,
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
    push_studies: Annotated[
        int,
        typer.Option(
            "--push-studies", metavar="N", min=1, help="For steer: reports written with and without the push."
        ),
    ] = 16,
    push_strength: Annotated[
        float, typer.Option("--push-strength", metavar="X", help="For steer: in units of the feature's mean map.")
    ] = 4.0,
    device: DeviceOption = "cpu",
    device_map: DeviceMapOption = None,
    trust_remote_code: TrustOption = False,
) -> None:
    """Say in words what each feature means: label, concept, and polarity (present, absent, uncertain, changed).

    The explainer sees contexts of the explain split only. Labels of several explainers stand side by side. Every call
    of a language model is recorded in llm-calls.jsonl; a stopped or killed job repeats none. The key comes from
    OPENAI_API_KEY and is never written down.

    \b
    Examples:
      interp explain --run runs/mine
      interp explain --run runs/mine --explainer llm --local --feature 12
      interp explain --run runs/mine --explainer llm --base-url http://127.0.0.1:8080/v1 --llm my-model --feature 12
      interp explain --run runs/mine --explainer llm --base-url https://api.openai.com/v1 --llm gpt-4.1-mini \\
                     --price-in 0.4 --price-out 1.6 --max-cost 5 --batch
      interp explain --run runs/mine --explainer steer --feature 12
    """
    from interp.run import Run
    from interp.stages.explain import ExplainConfig, Pushing, explain
    from interp.stages.language_model import Asking

    opened = Run.open(run)
    opened.opening = opening(device, device_map, trust_remote_code)
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
    pushing = Pushing(push_studies, push_strength)
    config = ExplainConfig(sae, explainer, tuple(feature or ()), base_url, llm, allow_remote, asking, pushing)
    with opened.writing("interp explain"):
        result = explain(opened, config, work(redo=True))
    summary = result.summary
    typer.echo(f"{summary['with_concept']} of {summary['features']} labels name a concept of the vocabulary")
    typer.echo(", ".join(f"{polarity} {count}" for polarity, count in summary["polarity"].items()))
    if summary["cost"]:
        typer.echo(f"cost ${summary['cost']:.4f}")
    if summary["failures"]:
        typer.echo(
            f"{summary['failures']} features got no valid answer. Run the same command again: calls that failed are "
            "repeated, answers that could not be read are kept in llm-calls.jsonl and not asked for again"
        )
