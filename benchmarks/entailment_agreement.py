"""How often RadFact's offline judge agrees with grades given by hand, beside two judges that know nothing.

Run: python benchmarks/entailment_agreement.py [FILE]

FILE has pairs of reports as graded phrases, in the form of tests/radiology/metrics/graded_pairs.txt (the default): a
line "=" begins a pair, then "C + phrase" or "R - phrase" (side, whether it follows from the other side, phrase).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from radiology.metrics.claim_words import canonical_words, rewrite
from radiology.metrics.entailment import FindingsEntailment

GRADED = Path(__file__).parents[1] / "tests" / "radiology" / "metrics" / "graded_pairs.txt"
Judge = Callable[[str, Sequence[str]], bool]


def read_graded(path: Path) -> list[tuple[str, list[str], bool]]:
    """(phrase, phrases of the other side, grade)."""
    pairs: list[dict[str, list[tuple[str, bool]]]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line == "=":
            pairs.append({"C": [], "R": []})
        elif line and not line.startswith("#"):
            side, grade, phrase = line.split(" ", 2)
            pairs[-1][side].append((phrase, grade == "+"))
    return [
        (phrase, [text for text, _ in pair[other]], follows)
        for pair in pairs
        for side, other in (("C", "R"), ("R", "C"))
        for phrase, follows in pair[side]
    ]


def contained(phrase: str, premises: Sequence[str]) -> bool:
    """Whether one premise has all words of the phrase."""
    words = set(phrase.lower().rstrip(".").split())
    return any(words <= set(premise.lower().rstrip(".").split()) for premise in premises)


def same_words(phrase: str, premises: Sequence[str]) -> bool:
    """As :func:`contained`, after filler is left out and synonyms are put in one form."""
    words = set(canonical_words(rewrite(phrase.lower())))
    return any(words <= set(canonical_words(rewrite(premise.lower()))) for premise in premises)


def main() -> None:
    graded = read_graded(Path(sys.argv[1]) if len(sys.argv) > 1 else GRADED)
    truth = [follows for *_, follows in graded]
    offline = FindingsEntailment()
    judges: dict[str, Judge] = {
        "never entailed": lambda phrase, premises: False,
        "words contained": contained,
        "words contained, one form": same_words,
        "findings (offline judge)": lambda phrase, premises: offline.judge(phrase, premises).entailed,
    }
    print(f"{len(truth)} phrases, {sum(truth)} entailed")
    for name, judge in judges.items():
        found = [judge(phrase, premises) for phrase, premises, _ in graded]
        accuracy = sum(f == t for f, t in zip(found, truth, strict=True)) / len(truth)
        both = sum(f and t for f, t in zip(found, truth, strict=True))
        print(f"{name:28s} accuracy {accuracy:.3f}   F1 {2 * both / max(sum(found) + sum(truth), 1):.3f}")


if __name__ == "__main__":
    main()
