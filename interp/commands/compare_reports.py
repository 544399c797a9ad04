"""``interp compare-reports``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from interp.commands.options import SeedOption


def compare_reports(
    candidate: Annotated[
        Path, typer.Option("--candidate", metavar="FILE", help="The reports to judge: .csv, .json or .jsonl.")
    ],
    reference: Annotated[
        Path | None,
        typer.Option(
            "--reference", metavar="FILE", help="What they are held against.  [default: --candidate holds both]"
        ),
    ] = None,
    metrics: Annotated[
        str, typer.Option("--metrics", metavar="A,B,…", help="Which metrics.")
    ] = "radfact,lunguage,chexpert,bleu,rouge,length,repetition",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write Parquet: summary, a row a study, a row a phrase.")
    ] = None,
    judge: Annotated[
        str, typer.Option("--judge", metavar="NAME", help="RadFact's judge: findings (offline) or llm.")
    ] = "findings",
    base_url: Annotated[
        str | None,
        typer.Option("--base-url", metavar="URL", help="OpenAI-compatible server.  [default: $OPENAI_BASE_URL]"),
    ] = None,
    llm: Annotated[
        str | None,
        typer.Option("--llm", metavar="NAME", help="The server's name of the model.  [default: $INTERP_LLM]"),
    ] = None,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Let the reports go to a server on another machine.")
    ] = False,
    workers: Annotated[
        int,
        typer.Option("--workers", metavar="N", min=1, help="Studies that the language model is asked about at once."),
    ] = 4,
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            "--encoder",
            metavar="E",
            help="LUNGUAGESCORE's text encoder: hashing, minilm, or the folder of a model; several are averaged."
            "  [default: hashing]",
        ),
    ] = None,
    skip_missing: Annotated[
        bool, typer.Option("--skip-missing", help="Leave studies without a candidate out, instead of counting them.")
    ] = False,
    draws: Annotated[
        int, typer.Option("--draws", metavar="N", min=1, help="Bootstrap samples of the intervals.")
    ] = 500,
    seed: SeedOption = 0,
) -> None:
    """Compare reports with reference reports: RadFact, LUNGUAGESCORE, CheXpert F1, BLEU, ROUGE-L, length, repetition.

    Values come with 95 % intervals over studies. Rows that cannot be used are named; studies without a candidate count
    as empty reports. docs/report-metrics.md shows what each metric catches and what it misses.

    \b
    Files have study_id (or example_id) and report (or findings, text); or both sides in one file as prediction and
    target. RadFact's JSON files with phrases and boxes and LUNGUAGE's rows open too. With patient_id and sequence
    there is lunguage-sequential, over time. radgraph and green need packages and weights of their own.

    \b
    Examples:
      interp compare-reports --candidate steered.csv --reference unsteered.csv --out runs/compared
      interp compare-reports --candidate both_sides.json --metrics radfact,chexpert
      interp compare-reports --candidate a.csv --reference b.csv --encoder /models/BioLORD-2023 --encoder /models/MedCPT
      interp compare-reports --candidate a.csv --reference b.csv --metrics radfact --judge llm
          --base-url http://127.0.0.1:8080/v1 --llm my-model --out runs/compared
    """
    from interp import report_metrics

    chosen = report_metrics.check_metrics(metrics)
    asked = report_metrics.choose_llm(judge, base_url, llm, allow_remote, workers)
    record = out / "llm-calls.jsonl" if out is not None else None
    tools = report_metrics.make_tools(encoder or ["hashing"], asked, record, draws, seed)
    compared = report_metrics.compare_files(candidate, reference, chosen, tools, not skip_missing)
    report_metrics.print_comparison(compared)
    if out is not None:
        for path in report_metrics.write_comparison(compared, out):
            typer.echo(f"Written to {path}")
