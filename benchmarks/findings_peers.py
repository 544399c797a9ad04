"""Negation and doubt in reports: our rules, a plain regular expression, spaCy with negspacy, and medspaCy.

Run: export OMP_NUM_THREADS=1
     python benchmarks/findings_peers.py                       # our rules and the plain expression
     python -m venv /tmp/negspacy && /tmp/negspacy/bin/pip install spacy==3.8.18 negspacy==1.1.0
     PYTHONPATH=. /tmp/negspacy/bin/python benchmarks/findings_peers.py --peer negspacy
     python -m venv /tmp/medspacy && /tmp/medspacy/bin/pip install medspacy==1.3.1
     PYTHONPATH=. /tmp/medspacy/bin/python benchmarks/findings_peers.py --peer medspacy

The peers want different versions of spaCy, hence an environment each. All sides get the same findings, at the places
where our vocabulary names them, and decide only whether each is present, absent or (medspaCy and ours) uncertain. So
what our rules read from "the heart is normal" is left out here, and nobody suffers for words that he does not know.
Measured on the graded sentences of the tests; "held out" are those that were written after the rules.

Speed is that of whole reports of six sentences, none of which comes twice, from text to statuses; sides take turns, and
the sentences that our reader keeps are thrown away before every round. A round on reports of the phantom chest, whose
sentences do come again, is printed too.

Prints a table and writes every row to benchmarks/results/findings_peers.json.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from radiology import findings
from radiology.findings_patterns import concepts_of_match, finding_pattern
from radiology.findings_text import sentence_spans

GRADED = Path(__file__).parents[1] / "tests" / "radiology"
RESULTS = Path(__file__).parent / "results" / "findings_peers.json"
ROUNDS, SENTENCES_A_REPORT = 7, 6
#: A mention: concept, start, end.
Mention = tuple[str, int, int]
#: From texts to a (concept, status) list each.
Side = Callable[[list[str]], list[list[tuple[str, str]]]]

_DENIED = re.compile(r"\b(?:no|not|without|negative|absent|free of|clear of|neither|nor|resolved|removed)\b")


def graded_sentences(held_out: bool) -> list[Any]:
    """The graded sentences of the tests; by path, for some peers bring a package that is named ``tests`` as well."""
    sys.path.append(str(GRADED))
    from graded import graded_sentences as read

    return read(held_out)


def mentions_of(text: str) -> list[Mention]:
    """What a text names, where; the same for every side."""
    return [
        (concept.key, *match.span())
        for match in finding_pattern().finditer(text.lower())
        for concept in concepts_of_match(match)
        if concept.kind != "overall"
    ]


def ours(texts: list[str]) -> list[list[tuple[str, str]]]:
    return [[(found.concept, found.status) for found in findings.read_report(text)] for text in texts]


def plain(texts: list[str]) -> list[list[tuple[str, str]]]:
    """A finding is absent if a word of denial stands before it in its sentence."""
    answers = []
    for text in texts:
        lowered, answer = text.lower(), []
        for start, end in sentence_spans(lowered):
            denied = _DENIED.search(lowered, start, end)
            for concept, at, _ in mentions_of(lowered[start:end]):
                answer.append((concept, "absent" if denied and denied.start() < at + start else "present"))
        answers.append(answer)
    return answers


def _with_mentions(nlp: Any) -> None:
    """A spaCy component that puts the mentions into the document."""
    from spacy.language import Language
    from spacy.util import filter_spans

    @Language.component("mentions")
    def mentions(doc: Any) -> Any:
        spans = [
            doc.char_span(start, end, label=concept, alignment_mode="expand")
            for concept, start, end in mentions_of(doc.text)
        ]
        doc.ents = filter_spans([span for span in spans if span is not None])
        return doc

    nlp.add_pipe("mentions")


def negspacy() -> Side:
    import spacy
    from negspacy.negation import Negex  # noqa: F401  # registers the component

    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    _with_mentions(nlp)
    nlp.add_pipe("negex", config={"neg_termset": _clinical_terms()})
    return lambda texts: [
        [(ent.label_, "absent" if ent._.negex else "present") for ent in doc.ents] for doc in nlp.pipe(texts)
    ]


def _clinical_terms() -> dict[str, list[str]]:
    from negspacy.termsets import termset

    return termset("en_clinical").get_patterns()  # type: ignore[no-any-return]


def medspacy() -> Side:
    import medspacy as package
    from loguru import logger

    logger.remove()  # its sentence splitter writes a line a token otherwise

    nlp = package.load(medspacy_enable={"medspacy_pyrush", "medspacy_tokenizer"})
    _with_mentions(nlp)
    nlp.add_pipe("medspacy_context")

    def status(ent: Any) -> str:
        return "absent" if ent._.is_negated else "uncertain" if ent._.is_uncertain else "present"

    def told(ent: Any) -> bool:
        return not (ent._.is_historical or ent._.is_hypothetical or ent._.is_family)

    return lambda texts: [[(e.label_, status(e)) for e in doc.ents if told(e)] for doc in nlp.pipe(texts)]


PEERS: dict[str, Callable[[], Side]] = {"negspacy": negspacy, "medspacy": medspacy}


def score(side: Side, sentences: list[Any]) -> dict[str, float]:
    """How a side does on the findings that the sentences name.

    ``right``: share of the graded (concept, status) pairs, of concepts with a mention, that the side gives. ``present``
    / ``absent``: precision and recall of that status. ``unsure``: recall of uncertain. ``exact``: share of sentences
    with all pairs right and none too many.
    """
    counts = dict.fromkeys(("graded", "right", "sentences", "exact"), 0)
    hits = {status: np.zeros(3, int) for status in ("present", "absent", "uncertain")}  # right, given, graded
    for sentence, answer in zip(sentences, side([s.text for s in sentences]), strict=True):
        named = {concept for concept, _, _ in mentions_of(sentence.text)}
        truth = {(said.concept, said.status) for said in sentence.said if said.concept in named}
        given = {pair for pair in answer if pair[0] in named}
        counts["graded"] += len(truth)
        counts["right"] += len(truth & given)
        counts["sentences"] += bool(named)
        counts["exact"] += bool(named) and truth == given
        for status, row in hits.items():
            of = [{pair for pair in pairs if pair[1] == status} for pairs in (truth & given, given, truth)]
            row += [len(pairs) for pairs in of]
    rates = {"right": counts["right"] / counts["graded"], "exact": counts["exact"] / counts["sentences"]}
    for status, (right, given_n, graded) in hits.items():
        rates |= {f"{status} precision": right / max(1, given_n), f"{status} recall": right / max(1, graded)}
    return {**counts, **rates}


def sentences_right(held_out: bool) -> dict[str, tuple[int, int]]:
    """Sentences that our reader reads without any mistake, attributes included, by kind of language."""
    counts: dict[str, tuple[int, int]] = {}
    for sentence in graded_sentences(held_out):
        right, n = counts.get(sentence.phenomenon, (0, 0))
        counts[sentence.phenomenon] = (right + (not sentence.mistakes(findings.read_report(sentence.text))), n + 1)
    counts["all"] = (sum(right for right, _ in counts.values()), sum(n for _, n in counts.values()))
    return counts


def reports_without_repeats(sentences: Iterable[Any]) -> list[str]:
    """Reports of six sentences each; every sentence stands in one report, once."""
    texts = [sentence.text.rstrip(".") + "." for sentence in sentences]
    order = np.random.default_rng(0).permutation(len(texts))
    shuffled = [texts[place] for place in order]
    return [" ".join(shuffled[i : i + SENTENCES_A_REPORT]) for i in range(0, len(texts), SENTENCES_A_REPORT)]


def phantom_reports(n: int) -> list[str]:
    from radiology.phantom.factors import sample_factors
    from radiology.phantom.grammar import report_text, write_report

    rng = np.random.default_rng(0)
    return [report_text(write_report(rng, sample_factors(rng))) for _ in range(n)]


def reports_a_second(sides: dict[str, Side], reports: list[str]) -> dict[str, list[float]]:
    """Rates of every side in every round; sides take turns, beginning with another one each round."""
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(ROUNDS):
        names = list(sides)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            findings._read_sentence.cache_clear()
            started = time.process_time()
            sides[name](reports)
            rates[name].append(len(reports) / (time.process_time() - started))
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", choices=sorted(PEERS), help="a peer that this environment holds")
    peer: str | None = parser.parse_args().peer
    sides: dict[str, Side] = {"ours": ours, "plain": plain}
    if peer:
        sides[peer] = PEERS[peer]()
    known, held_out = graded_sentences(False), graded_sentences(True)
    reports = reports_without_repeats([*known, *held_out])
    for side in sides.values():
        side(reports[:20])  # patterns are compiled at the first use
    rates = reports_a_second(sides, reports)
    phantom = reports_a_second({"ours": ours}, phantom_reports(2000))["ours"] if peer is None else None

    rows = {}
    for name, side in sides.items():
        rows[name] = {"known": score(side, known), "held out": score(side, held_out), "reports a second": rates[name]}
        _print(name, rows[name])
    if peer is None:
        for name, held in (("known", False), ("held out", True)):
            rows["ours"][f"{name} sentences right"] = sentences_right(held)
            for phenomenon, (right, n) in sentences_right(held).items():
                print(f"ours, all attributes, {name:9} {phenomenon:29} {right:3} of {n:3}")
    if phantom:
        rows["ours"]["phantom reports a second"] = phantom
        print(f"ours, phantom reports (sentences come again): {statistics.median(phantom):,.0f} reports/s")
    written = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    written[peer or "none"] = {
        "machine": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("spacy", peer)} if peer else {},
        "sentences": len(known) + len(held_out),
        "reports": len(reports),
        "sides": rows,
    }
    RESULTS.write_text(json.dumps(written, indent=1) + "\n")


def _print(name: str, row: dict[str, Any]) -> None:
    for part in ("known", "held out"):
        s = row[part]
        print(
            f"{name:9} {part:9} status right {s['right']:.3f} of {s['graded']:4}  sentences {s['exact']:.3f}"
            f"  present {s['present precision']:.3f}/{s['present recall']:.3f}"
            f"  absent {s['absent precision']:.3f}/{s['absent recall']:.3f}  uncertain {s['uncertain recall']:.3f}"
        )
    print(f"{name:9} {statistics.median(row['reports a second']):,.0f} reports/s (each sentence new)")


if __name__ == "__main__":
    main()
