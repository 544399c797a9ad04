"""Options of commands that ask a language model."""

from __future__ import annotations

from typing import Annotated, Any

import typer

_GROUP = "Language model"


def _option(name: str, help: str, metavar: str | None = None, **more: Any) -> Any:
    return typer.Option(name, metavar=metavar, help=help, rich_help_panel=_GROUP, **more)


BaseUrlOption = Annotated[
    str | None,
    _option(
        "--base-url",
        "OpenAI-compatible server: OpenAI, Azure, vLLM, Ollama, llama.cpp.  [default: $OPENAI_BASE_URL]",
        "URL",
    ),
]
LLMOption = Annotated[str | None, _option("--llm", "The server's name of the model.  [default: $INTERP_LLM]", "NAME")]
LocalOption = Annotated[
    bool,
    _option("--local", "Start SmolLM2-135M on this machine: no key, nothing leaves, and answers to match its size."),
]
CompletionOption = Annotated[bool, _option("--completion", "The model completes text and was not trained to chat.")]
BatchOption = Annotated[
    bool,
    _option(
        "--batch", "Ask through the Batch API: half the price, up to a day. Ctrl-C is fine, the same command collects."
    ),
]
AllowRemoteOption = Annotated[
    bool,
    _option(
        "--allow-remote",
        "Let texts and images of credentialed studies and of your own patients go to a server on another machine. "
        "MIMIC-CXR, PadChest-GR and LUNGUAGE forbid to give them to third parties; ask before you allow it. "
        "The choice is written into run.json.",
    ),
]
ExamplesOption = Annotated[
    int | None,
    _option(
        "--examples", "Contexts shown, firing and quiet each.  [default: 16; 6 pictures; 4 with --local]", "N", min=1
    ),
]
ConcurrencyOption = Annotated[int, _option("--concurrency", "Calls at the same time.", "N", min=1)]
TimeoutOption = Annotated[float, _option("--timeout", "Seconds of one try.", "S", min=0.1)]
PriceInOption = Annotated[float | None, _option("--price-in", "US dollars per million tokens sent.", "USD", min=0.0)]
PriceOutOption = Annotated[
    float | None, _option("--price-out", "US dollars per million tokens received.", "USD", min=0.0)
]
MaxCostOption = Annotated[
    float | None,
    _option("--max-cost", "Stop before the calls of this SAE cost more; a larger budget goes on from there.", "USD"),
]
MaxTokensOption = Annotated[int | None, _option("--max-tokens", "The same for tokens sent and received together.", "N")]
