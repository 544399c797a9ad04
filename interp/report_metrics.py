"""Comparing two files of reports: opening them, computing metrics, and what is printed and written of it."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radiology.errors import InputError
from radiology.metrics.evaluation import METRICS, Result, Tools, evaluate
from radiology.metrics.report_files import ReportFile, describe_problem, read_reports
from radiology.metrics.reports import Pairing, pair_reports
from radiology.paths import shown
from radiology.vocabulary import CHEXPERT_CONCEPTS

if TYPE_CHECKING:
    from rich.table import Table

#: Problems of rows that are printed; the others are counted.
_SHOWN_PROBLEMS = 20


@dataclass(frozen=True)
class LLMChoice:
    """The language model that cuts reports into phrases and judges them, and whether text may leave the machine."""

    base_url: str
    model: str
    allow_remote: bool = False
    workers: int = 4


@dataclass(frozen=True)
class Compared:
    """What was compared: both files, their pairs, and the result of each metric."""

    candidate: ReportFile
    reference: ReportFile
    pairing: Pairing
    results: Mapping[str, Result]

    def problems(self) -> list[str]:
        """Every row that could not be used, by file and row; never its text."""
        files = [self.candidate] if self.candidate.path == self.reference.path else [self.candidate, self.reference]
        return [describe_problem(file.path, problem) for file in files for problem in file.problems]


def open_pairs(candidate: Path, reference: Path | None, keep_missing: bool) -> tuple[ReportFile, ReportFile, Pairing]:
    """Both sides of a comparison, and their pairs; without ``reference`` the one file must hold both sides.

    Raises:
        InputError: a file that cannot be used, or no reference.
    """
    ours = read_reports(candidate, "candidate")
    if reference is None and not ours.both_sides:
        raise InputError(
            f"reports {shown(candidate)}: holds one side (no 'prediction' and 'target'); give the other as --reference"
        )
    theirs = read_reports(reference or candidate, "reference")
    return ours, theirs, pair_reports(ours.reports, theirs.reports, keep_missing)


def make_tools(encoders: Sequence[str], llm: LLMChoice | None, record: Path | None, draws: int, seed: int) -> Tools:
    """The tools of the metrics; with ``llm`` RadFact asks that model and notes its calls in ``record``."""
    from radiology.metrics.text_encoders import open_encoder

    opened = tuple(open_encoder(name) for name in encoders)
    if llm is None:
        return Tools(encoders=opened, draws=draws, seed=seed)
    from radiology.llm.calls import CallLog
    from radiology.llm.client import LLMClient
    from radiology.llm.endpoint import Endpoint, require_terms
    from radiology.metrics.entailment_llm import LLMEntailment, LLMPhrases

    endpoint = Endpoint(llm.base_url, llm.model, concurrency=llm.workers)
    require_terms(endpoint, ["credentialed"], llm.allow_remote)  # nobody said whose reports they are
    client = LLMClient(endpoint, CallLog(record), allow_remote=llm.allow_remote)
    phrases = LLMPhrases(client)
    return Tools(LLMEntailment(client), phrases.split, phrases.name, opened, draws, seed, llm.workers)


def choose_llm(
    judge: str, base_url: str | None, model: str | None, allow_remote: bool, workers: int
) -> LLMChoice | None:
    """The language model that was asked for, by options or by the environment; ``None`` for the offline judge."""
    if judge == "findings":
        return None
    if judge != "llm":
        raise InputError(f"--judge: {judge!r} does not exist; choose findings or llm")
    base_url, model = base_url or os.environ.get("OPENAI_BASE_URL"), model or os.environ.get("INTERP_LLM")
    if not base_url or not model:
        raise InputError(
            "--judge llm needs a server and a model: give --base-url and --llm, or set OPENAI_BASE_URL and INTERP_LLM"
        )
    return LLMChoice(base_url, model, allow_remote, workers)


def compare_files(
    candidate: Path, reference: Path | None, metrics: Sequence[str], tools: Tools, keep_missing: bool = True
) -> Compared:
    """Read both files and compute the metrics."""
    ours, theirs, pairing = open_pairs(candidate, reference, keep_missing)
    return Compared(ours, theirs, pairing, evaluate(pairing, metrics, tools))


def check_metrics(text: str) -> tuple[str, ...]:
    """``"radfact,bleu"`` → names, or all of them for ``all``; InputError names what exists."""
    names = tuple(dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip()))
    for name in names:
        if name not in METRICS:
            raise InputError(f"--metrics: {name!r} does not exist; choose of {', '.join(METRICS)}")
    if not names:
        raise InputError(f"--metrics: name at least one of {', '.join(METRICS)}")
    return names


def print_comparison(compared: Compared) -> None:
    """The tables and what one must know to read them."""
    from interp.tables import console

    out = console()
    out.print(_main_table(compared))
    if "chexpert" in compared.results:
        out.print(_observation_table(compared.results["chexpert"]))
    for line in notes(compared):
        out.print(line, soft_wrap=True)


def notes(compared: Compared) -> list[str]:
    """Who computed what, what was missing, and which rows could not be used."""
    lines = [f"{name}: {result.by}" for name, result in compared.results.items()]
    lines += [f"{name}: {note}" for name, result in compared.results.items() for note in result.notes]
    pairing = compared.pairing
    if pairing.missing:
        what = "counted as empty reports" if any(pair.missing for pair in pairing.pairs) else "left out"
        lines.append(f"studies without candidate, {what}: {_some(pairing.missing)}")
    if pairing.without_reference:
        lines.append(f"candidates without reference, left out: {_some(pairing.without_reference)}")
    problems = compared.problems()
    lines += [f"left out: {problem}" for problem in problems[:_SHOWN_PROBLEMS]]
    if len(problems) > _SHOWN_PROBLEMS:
        lines.append(f"left out: {len(problems) - _SHOWN_PROBLEMS} more rows")
    return lines


def write_comparison(compared: Compared, folder: Path) -> list[Path]:
    """``summary.parquet``, ``studies.parquet`` and, with RadFact, ``phrases.parquet`` (docs/report-metrics.md)."""
    import pyarrow as pa

    folder.mkdir(parents=True, exist_ok=True)
    about = {"candidate": str(compared.candidate.path), "reference": str(compared.reference.path)}
    about_text = json.dumps({**about, "notes": notes(compared)}, ensure_ascii=False)
    tables = {
        "summary.parquet": pa.Table.from_pylist(list(_summary(compared)), _summary_schema()).replace_schema_metadata(
            {"interp.report_metrics": about_text}
        ),
        "studies.parquet": _studies_table(_studies(compared)),
    }
    if "radfact" in compared.results:
        rows = list(_phrases(compared.results["radfact"]))
        tables["phrases.parquet"] = pa.Table.from_pylist(rows, _phrases_schema())
    return [_write(folder / name, table) for name, table in tables.items()]


def _write(path: Path, table: Any) -> Path:
    import pyarrow.parquet as pq

    temporary = path.with_name(f".{path.name}")
    pq.write_table(table, temporary)
    temporary.replace(path)
    return path


def _main_table(compared: Compared) -> Table:
    from interp.tables import table

    n = len(compared.pairing.pairs)
    rows = []
    for metric, result in compared.results.items():
        for name, value in result.values.items():
            counted = result.counted.get(name, n)
            if name in CHEXPERT_CONCEPTS or (math.isnan(value.value) and counted == 0):
                continue
            digits = 1 if name.startswith("words") else 3
            shown_name = metric if name == metric or name == metric.replace("rouge", "rouge_l") else f"{metric} {name}"
            bounds = "–" if math.isnan(value.low) else f"{value.low:.{digits}f}–{value.high:.{digits}f}"
            shown_name = shown_name.replace("_f1_5", " f1 of five").replace("_", " ")
            rows.append((shown_name, f"{value.value:.{digits}f}", bounds, str(counted)))
    title = f"Pairs of reports: {n}"
    return table(title, ["metric", "value", "95 %", "n"], rows)


def _observation_table(result: Result) -> Table:
    from interp.tables import number, table
    from radiology.findings_labels import CHEXPERT_NAMES

    rows = [
        (
            CHEXPERT_NAMES[key],
            number(result.values[key].value),
            f"{result.values[key].low:.3f}–{result.values[key].high:.3f}",
        )
        for key in CHEXPERT_CONCEPTS
        if not math.isnan(result.values[key].value)
    ]
    return table("CheXpert observations that either side has: F1", ["observation", "F1", "95 %"], rows)


def _summary(compared: Compared) -> Iterator[dict[str, Any]]:
    for metric, result in compared.results.items():
        for name, value in result.values.items():
            n = result.counted.get(name, len(compared.pairing.pairs))
            known = {"value": value.value, "low": value.low, "high": value.high}
            numbers = {key: None if math.isnan(number) else number for key, number in known.items()}
            yield {"metric": metric, "name": name, **numbers, "n": n, "by": result.by}


def _studies(compared: Compared) -> dict[str, list[Any]]:
    pairs = compared.pairing.pairs
    columns: dict[str, list[Any]] = {
        "study_id": [pair.study_id for pair in pairs],
        "missing": [pair.missing for pair in pairs],
    }
    for metric, result in compared.results.items():
        for name, values in result.columns.items():
            columns[f"{metric}.{name}"] = [None if math.isnan(value) else value for value in values]
        if result.radfact:
            columns[f"{metric}.added"] = [list(study.added) for study in result.radfact]
            columns[f"{metric}.removed"] = [list(study.removed) for study in result.radfact]
        if result.lunguage and result.columns:
            found = [result.lunguage[pair.study_id] for pair in pairs]
            columns[f"{metric}.moved"] = [
                [f"{m.entity}: {m.attribute} {m.reference or '–'} → {m.candidate or '–'}" for m in one.moves]
                for one in found
            ]
            columns[f"{metric}.only_reference"] = [list(one.only_reference) for one in found]
            columns[f"{metric}.only_candidate"] = [list(one.only_candidate) for one in found]
    return columns


def _studies_table(columns: dict[str, list[Any]]) -> Any:
    """With types that do not hang on what the columns happen to hold."""
    import pyarrow as pa

    types = {"study_id": pa.string(), "missing": pa.bool_()}
    texts = pa.list_(pa.string())
    known = {
        name: types.get(name, texts if any(isinstance(v, list) for v in values) else pa.float64())
        for name, values in columns.items()
    }
    return pa.table(columns, schema=pa.schema(known.items()))


def _phrases(result: Result) -> Iterator[dict[str, Any]]:
    for study in result.radfact:
        for side, judged in (("candidate", study.candidate), ("reference", study.reference)):
            for one in judged:
                yield {
                    "study_id": study.study_id,
                    "side": side,
                    "phrase": one.phrase.text,
                    "entailed": one.entailed,
                    "evidence": [phrase.text for phrase in one.evidence],
                    "boxes_entailed": one.boxes_entailed,
                    "failed": one.failed,
                }


def _summary_schema() -> Any:
    import pyarrow as pa

    text, real = pa.string(), pa.float64()
    return pa.schema(
        {"metric": text, "name": text, "value": real, "low": real, "high": real, "n": pa.int64(), "by": text}.items()
    )


def _phrases_schema() -> Any:
    import pyarrow as pa

    text, truth = pa.string(), pa.bool_()
    columns = {"study_id": text, "side": text, "phrase": text, "entailed": truth, "evidence": pa.list_(text)}
    return pa.schema({**columns, "boxes_entailed": truth, "failed": truth}.items())


def _some(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
