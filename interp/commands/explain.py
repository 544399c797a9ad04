"""``interp explain``."""

from __future__ import annotations

from typing import Annotated

import typer

from interp.commands.options import RunOption, SAEOption, work


def explain(
    run: RunOption,
    sae: SAEOption = "main",
    explainer: Annotated[
        str, typer.Option("--explainer", metavar="NAME", help="contrast (offline, no model needed) or llm.")
    ] = "contrast",
    feature: Annotated[
        list[int] | None, typer.Option("--feature", metavar="N", help="Only these features.  [default: all]")
    ] = None,
    base_url: Annotated[
        str | None,
        typer.Option("--base-url", metavar="URL", help="OpenAI-compatible server.  [default: $OPENAI_BASE_URL]"),
    ] = None,
    llm: Annotated[
        str | None,
        typer.Option("--llm", metavar="NAME", help="The server's name of the model.  [default: $INTERP_LLM]"),
    ] = None,
    allow_remote: Annotated[
        bool,
        typer.Option("--allow-remote", help="Let text of credentialed studies go to a server on another machine."),
    ] = False,
) -> None:
    """Say in words what each feature means: label, concept, and polarity (present, absent, uncertain, changed).

    The explainer sees contexts of the explain split only. Every call of a language model is recorded in
    llm-calls.jsonl; a stopped job repeats none. The key comes from OPENAI_API_KEY and is never written down.

    \b
    Examples:
      interp explain --run runs/mine
      interp explain --run runs/mine --explainer llm --base-url http://127.0.0.1:8080/v1 --llm my-model --feature 12
    """
    from interp.run import Run
    from interp.stages.explain import ExplainConfig, explain

    opened = Run.open(run)
    config = ExplainConfig(sae, explainer, tuple(feature or ()), base_url, llm, allow_remote)
    with opened.writing("interp explain"):
        result = explain(opened, config, work(redo=True))
    summary = result.summary
    typer.echo(f"{summary['with_concept']} of {summary['features']} labels name a concept of the vocabulary")
    typer.echo(", ".join(f"{polarity} {count}" for polarity, count in summary["polarity"].items()))
    if summary["failures"]:
        typer.echo(
            f"{summary['failures']} features got no valid answer. Run the same command again: calls that failed are "
            "repeated, answers that could not be read are kept in llm-calls.jsonl and not asked for again"
        )
