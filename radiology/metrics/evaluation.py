"""All report metrics over paired reports: values with intervals, what each study got, and what was counted.

Which metric sees what, and what it misses, is measured in ``docs/report-metrics.md``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from radiology.errors import InputError
from radiology.metrics.bootstrap import DRAWS, Interval
from radiology.metrics.chexpert import chexpert_f1, label_matrix, study_f1
from radiology.metrics.entailment import Entailment, FindingsEntailment
from radiology.metrics.graded import green, radgraph_f1
from radiology.metrics.lexical import bleu, mean_with_interval, repetition, rouge_l, words_of
from radiology.metrics.lunguage_score import Comparison, LunguageScore, lunguage_score
from radiology.metrics.phrases import split_report
from radiology.metrics.radfact import ASPECTS, StudyRadFact, judge_studies, summarise
from radiology.metrics.reports import Pairing, ReportPair, rows_by_patient
from radiology.metrics.text_encoders import TextEncoder, open_encoder

Columns = dict[str, list[float]]


@dataclass(frozen=True)
class Tools:
    """What metrics work with.

    Attributes:
        judge: RadFact's judge of entailment.
        split: cuts a report into phrases; ``None`` of a report that could not be cut.
        split_name: what results call it.
        encoders: LUNGUAGESCORE's text encoders; it is the mean over them.
        draws, seed: of the bootstrap over studies.
        workers: studies that are judged at once; more than one only helps a judge that waits for a server.
    """

    judge: Entailment = field(default_factory=FindingsEntailment)
    split: Callable[[str], list[str] | None] = split_report
    split_name: str = "rules"
    encoders: Sequence[TextEncoder] = field(default_factory=lambda: (open_encoder("hashing"),))
    draws: int = DRAWS
    seed: int = 0
    workers: int = 1


@dataclass(frozen=True)
class Result:
    """One metric over a data set.

    Attributes:
        values: name → value with its interval over studies.
        by: what computed it: the judge, the encoders, the rules.
        counted: name → value → how many studies it is a mean of, where that is not all of them.
        columns: name → value of each pair, NaN where it is undefined.
        notes: what a reader of the values must know, in sentences.
        radfact: every judged phrase, of RadFact.
        lunguage: every compared row, of LUNGUAGESCORE, by study or patient.
    """

    values: Mapping[str, Interval]
    by: str
    counted: Mapping[str, int] = field(default_factory=dict)
    columns: Columns = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    radfact: tuple[StudyRadFact, ...] = ()
    lunguage: Mapping[str, Comparison] = field(default_factory=dict)


def evaluate(pairing: Pairing, metrics: Sequence[str], tools: Tools | None = None) -> dict[str, Result]:
    """Metrics (names of :data:`METRICS`) over paired reports, by name.

    Raises:
        InputError: a name that is no metric, no study on both sides, or a metric that these reports have
            no room for.
    """
    unknown = [name for name in metrics if name not in METRICS]
    if unknown:
        raise InputError(f"metric {unknown[0]!r} does not exist; choose of {', '.join(METRICS)}")
    if all(pair.missing for pair in pairing.pairs):
        raise InputError("no study is in both sets of reports; are the study ids of the same kind?")
    tools = tools or Tools()
    return {name: METRICS[name](pairing, tools) for name in dict.fromkeys(metrics)}


def _radfact(pairing: Pairing, tools: Tools) -> Result:
    pairs, notes = pairing.pairs, []
    judged, unsplit = judge_studies(pairs, tools.judge, tools.split, tools.workers)
    result = summarise(judged, tools.judge.name, tools.draws, tools.seed)
    if result.failures:
        notes.append(f"phrases without a usable answer, counted as not entailed: {result.failures}")
    if unsplit:
        notes.append(f"reports that could not be cut into phrases, counted as empty: {unsplit}")
    names = list(judged[0].scores)
    columns = {name: [study.scores[name] for study in judged] for name in names}
    counted = {name: _known(column) for name, column in columns.items()}
    for aspect in ASPECTS:
        counted[f"{aspect}_f1"] = min(counted[f"{aspect}_precision"], counted[f"{aspect}_recall"])
    by = f"judge {tools.judge.name}, phrases by {tools.split_name}"
    return Result(result.scores, by, counted, columns, tuple(notes), radfact=tuple(judged))


def _lunguage(pairing: Pairing, tools: Tools) -> Result:
    reference = {pair.study_id: pair.reference.as_rows() for pair in pairing.pairs}
    candidate = {pair.study_id: pair.candidate.as_rows() for pair in pairing.pairs if not pair.missing}
    score = lunguage_score(reference, candidate, tools.encoders, draws=tools.draws, seed=tools.seed)
    found = [score.studies[name] for name in reference]
    columns = {name: [getattr(one, name) for one in found] for name in ("precision", "recall", "f1")}
    return _of_lunguage(score, columns, "studies")


def _lunguage_sequential(pairing: Pairing, tools: Tools) -> Result:
    reference, candidate = rows_by_patient(pairing.pairs)
    score = lunguage_score(reference, candidate, tools.encoders, True, tools.draws, tools.seed)
    return _of_lunguage(score, {}, "patients")


def _of_lunguage(score: LunguageScore, columns: Columns, units: str) -> Result:
    notes = []
    if score.missing:
        notes.append(f"{units} without candidate, counted as 0: {len(score.missing)}")
    if score.moved:
        most = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in list(score.moved.items())[:6])
        notes.append(f"attributes that differ within matched findings: {most}")
    counted = {
        name: _known([getattr(one, name) for one in score.studies.values()]) for name in ("precision", "recall", "f1")
    }
    by = f"encoders {', '.join(score.encoders)}"
    return Result(score.scores, by, counted, columns, tuple(notes), lunguage=score.studies)


def _chexpert(pairing: Pairing, tools: Tools) -> Result:
    candidate, reference = (label_matrix(texts) for texts in _texts(pairing.pairs))
    values = chexpert_f1(candidate, reference, tools.draws, tools.seed)
    return Result(values, "labels by our findings", columns={"f1": study_f1(candidate, reference).tolist()})


def _bleu(pairing: Pairing, tools: Tools) -> Result:
    values, each = bleu(*_texts(pairing.pairs), tools.draws, tools.seed)
    return Result(values, "sacrebleu, lower case", columns={"bleu": each})


def _rouge(pairing: Pairing, tools: Tools) -> Result:
    return _means({"rouge_l": rouge_l(*_texts(pairing.pairs))}, "rouge-score, no stemming", tools)


def _length(pairing: Pairing, tools: Tools) -> Result:
    candidate, reference = ([float(len(words_of(text))) for text in texts] for texts in _texts(pairing.pairs))
    ratio = [ours / theirs if theirs else math.nan for ours, theirs in zip(candidate, reference, strict=True)]
    columns = {"words_candidate": candidate, "words_reference": reference, "ratio": ratio}
    return _means(columns, "words", tools)


def _repetition(pairing: Pairing, tools: Tools) -> Result:
    candidate, reference = ([repetition(text) for text in texts] for texts in _texts(pairing.pairs))
    return _means({"candidate": candidate, "reference": reference}, "4-grams said before", tools)


def _radgraph(pairing: Pairing, tools: Tools) -> Result:
    return _means({"f1": radgraph_f1(*_texts(pairing.pairs))}, "radgraph", tools)


def _green(pairing: Pairing, tools: Tools) -> Result:
    return _means({"green": green(*_texts(pairing.pairs))}, "green-score", tools)


def _means(columns: Columns, by: str, tools: Tools) -> Result:
    counted = {name: _known(column) for name, column in columns.items()}
    return Result(mean_with_interval(columns, tools.draws, tools.seed), by, counted, columns)


def _texts(pairs: Sequence[ReportPair]) -> tuple[list[str], list[str]]:
    return [pair.candidate.text for pair in pairs], [pair.reference.text for pair in pairs]


def _known(column: Sequence[float]) -> int:
    return int((~np.isnan(np.array(column, dtype=float))).sum())


#: Name of a metric → what computes it.
METRICS: dict[str, Callable[[Pairing, Tools], Result]] = {
    "radfact": _radfact,
    "lunguage": _lunguage,
    "lunguage-sequential": _lunguage_sequential,
    "chexpert": _chexpert,
    "bleu": _bleu,
    "rouge": _rouge,
    "length": _length,
    "repetition": _repetition,
    "radgraph": _radgraph,
    "green": _green,
}
#: Those that need nothing but the reports.
DEFAULT_METRICS = ("radfact", "lunguage", "chexpert", "bleu", "rouge", "length", "repetition")
