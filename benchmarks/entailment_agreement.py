"""How often RadFact's two judges agree with grades given by hand, beside judges that know nothing.

Run: python benchmarks/entailment_agreement.py [FILE]
     python benchmarks/entailment_agreement.py --base-url http://127.0.0.1:8080/v1 --llm MODEL --limit 60

FILE has pairs of reports as graded phrases, in the form of tests/radiology/metrics/graded_pairs.txt (the default): a
line "=" begins a pair, then "C + phrase" or "R - phrase" (side, whether it follows from the other side, phrase).
With --limit all judges get the first pairs that have together at least so many phrases.

MODEL is asked as ``interp compare-reports --judge llm`` asks it. Calls go into the file of --record, from which a run
that was stopped goes on. benchmarks/serve_smollm2.py serves a model that is small enough for any machine, and far too
small to judge.

Intervals are the 2.5 % and 97.5 % quantiles of 2,000 bootstrap samples of the pairs. Prints a table; --out writes it,
and every judgement, as JSON.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from radiology.llm.calls import CallLog
from radiology.llm.client import LLMClient
from radiology.llm.endpoint import Endpoint
from radiology.metrics.bootstrap import bootstrap, share
from radiology.metrics.claim_words import canonical_words, rewrite
from radiology.metrics.entailment import FindingsEntailment, Verdict
from radiology.metrics.entailment_llm import LLMEntailment

GRADED = Path(__file__).parents[1] / "tests" / "radiology" / "metrics" / "graded_pairs.txt"
DRAWS = 2000
Judge = Callable[[str, Sequence[str]], Verdict]
#: (phrase, phrases of the other side, grade).
Graded = tuple[str, list[str], bool]


def read_pairs(path: Path) -> list[list[Graded]]:
    """The graded phrases of each pair, both sides."""
    pairs: list[dict[str, list[tuple[str, bool]]]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line == "=":
            pairs.append({"C": [], "R": []})
        elif line and not line.startswith("#"):
            side, grade, phrase = line.split(" ", 2)
            pairs[-1][side].append((phrase, grade == "+"))
    return [
        [
            (phrase, [text for text, _ in pair[other]], follows)
            for side, other in (("C", "R"), ("R", "C"))
            for phrase, follows in pair[side]
        ]
        for pair in pairs
    ]


def first_pairs(pairs: list[list[Graded]], phrases: int | None) -> list[list[Graded]]:
    """As many of the first pairs as have ``phrases`` phrases, or more; all for ``None``."""
    before = np.cumsum([0] + [len(pair) for pair in pairs[:-1]])
    return [pair for pair, n in zip(pairs, before, strict=True) if phrases is None or n < phrases]


def contained(phrase: str, premises: Sequence[str]) -> Verdict:
    """Whether one premise has all words of the phrase."""
    words = set(phrase.lower().rstrip(".").split())
    return Verdict(any(words <= set(premise.lower().rstrip(".").split()) for premise in premises))


def same_words(phrase: str, premises: Sequence[str]) -> Verdict:
    """As :func:`contained`, after filler is left out and synonyms are put in one form."""
    words = set(canonical_words(rewrite(phrase.lower())))
    return Verdict(any(words <= set(canonical_words(rewrite(premise.lower()))) for premise in premises))


def measured(judge: Judge, pairs: list[list[Graded]]) -> dict[str, Any]:
    """Accuracy and F1 of "entailed" with intervals, failures, and every judgement of a judge."""
    verdicts = [[judge(phrase, premises) for phrase, premises, _ in pair] for pair in pairs]
    counts = np.array([_counts(*both) for both in zip(verdicts, pairs, strict=True)])
    return {
        **{
            name: asdict(value)
            for name, value in bootstrap(lambda rows: _scores(counts[rows]), len(pairs), DRAWS).items()
        },
        "called entailed": int(counts[:, 2].sum()),
        "failed": sum(verdict.failed for pair in verdicts for verdict in pair),
        "judgements": ["".join("f" if v.failed else "-+"[v.entailed] for v in pair) for pair in verdicts],
    }


def _counts(verdicts: Sequence[Verdict], pair: Sequence[Graded]) -> list[int]:
    """Phrases, those judged as graded, those called entailed, those that are, and those that are both."""
    found, truth = np.array([v.entailed for v in verdicts]), np.array([follows for *_, follows in pair])
    return [len(truth), sum(found == truth), sum(found), sum(truth), sum(found & truth)]


def _scores(counts: np.ndarray) -> dict[str, float]:
    phrases, right, found, truth, both = counts.sum(axis=0)
    return {"accuracy": share(right, phrases), "f1": share(2 * both, found + truth)}


def judges(options: argparse.Namespace) -> dict[str, Judge]:
    """The judges by the name that is printed."""
    named: dict[str, Judge] = {
        "never entailed": lambda phrase, premises: Verdict(False),
        "always entailed": lambda phrase, premises: Verdict(True),
        "words contained": contained,
        "words contained, one form": same_words,
        "findings (offline judge)": FindingsEntailment().judge,
    }
    if options.llm:
        endpoint = Endpoint(options.base_url, options.llm, timeout_s=options.timeout, max_tokens=options.max_tokens)
        client = LLMClient(endpoint, CallLog(options.record))
        named[f"llm {options.llm}"] = LLMEntailment(client, terms="open").judge
    return named


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", nargs="?", type=Path, default=GRADED)
    parser.add_argument("--base-url", help="address of an OpenAI-compatible server")
    parser.add_argument("--llm", help="the server's name for the model")
    parser.add_argument("--max-tokens", type=int, default=Endpoint.max_tokens, help="of one answer")
    parser.add_argument("--timeout", type=float, default=Endpoint.timeout_s, help="seconds of one call")
    parser.add_argument("--record", type=Path, help="file of the calls; answers that stand there are not asked for")
    parser.add_argument("--limit", type=int, help="phrases, rounded up to whole pairs")
    parser.add_argument("--out", type=Path, help="JSON file for the figures and every judgement")
    options = parser.parse_args()
    if bool(options.base_url) != bool(options.llm):
        parser.error("--base-url and --llm go together")
    return options


def main() -> None:
    options = parse()
    pairs = first_pairs(read_pairs(options.file), options.limit)
    phrases, entailed = sum(len(pair) for pair in pairs), sum(follows for pair in pairs for *_, follows in pair)
    print(f"{phrases} phrases of {len(pairs)} pairs, {entailed} entailed")
    rows = {}
    for name, judge in judges(options).items():
        rows[name] = row = measured(judge, pairs)
        accuracy, f1 = ("{value:.3f} ({low:.2f}–{high:.2f})".format(**row[key]) for key in ("accuracy", "f1"))
        called, failed = row["called entailed"], row["failed"]
        print(f"{name:28s} accuracy {accuracy}   F1 {f1}   called entailed {called:3d}   failed {failed:3d}")
    if options.out:
        grades = ["".join("-+"[follows] for *_, follows in pair) for pair in pairs]
        report = {"file": options.file.name, "phrases": phrases, "entailed": entailed, "grades": grades, "judges": rows}
        options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
