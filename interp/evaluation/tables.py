"""What commands print about an evaluation. Everything is read from ``evaluation.json``, of any version.

A figure is never printed alone: where its control is missing, a line names the command that makes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from interp.tables import NOTHING, console, number, percent, span, table

if TYPE_CHECKING:
    from rich.table import Table

    from interp.run import Run

#: Way of splicing → how it is called in a table.
_WAYS = {
    "sae": "the SAE's reconstruction",
    "random_error": "a random error as long",
    "ablated": "the mean of all such tokens",
    "other_study": "(another study's report)",
}


def print_evaluation(run: Run, sae: str) -> None:
    """Everything that was measured of an SAE."""
    content = json.loads((run.sae_dir(sae) / "evaluation.json").read_text())
    out = console()
    for made in evaluation_tables([content], str(run.path), whole=True):
        out.print(made)
    out.print(f"Written to {run.sae_dir(sae) / 'evaluation.json'}")


def evaluation_tables(
    contents: Sequence[Mapping[str, Any]], run_path: str, *, whole: bool = False
) -> Iterator[Table | str]:
    """Tables and lines about some SAEs of a run; the truth table is that of the first.

    Args:
        whole: also by token role and prefix, and by k.
    """
    yield reconstruction_table(contents, run_path)
    if whole:
        yield from (parts_table(content) for content in contents if "by_prefix" in content["reconstruction"])
    yield from (report_table(content) for content in contents if content.get("reports"))
    first = contents[0]
    if first["truth"]:
        yield truth_table(first, first["truth"][0]["tokens"])
        yield truth_summary(contents)
    if any(content.get("absorption") for content in contents):
        yield absorption_table(next(content for content in contents if content.get("absorption")))
    for content in contents:
        if content.get("stability"):
            yield stability_table(content)
        elif whole and content.get("stability_command"):
            yield f"Stability across seeds: not measured. {_here(content['stability_command'], run_path)}"


def reconstruction_table(contents: Sequence[Mapping[str, Any]], run_path: str = "RUN") -> Table:
    """Figures of evaluated SAEs, each above those of its control, or above the command that makes it."""
    columns = ["", "variance explained (95 %)", "L0", "dead", "dense", "loss recovered (95 %)"]
    rows, missing = [], []
    for content in contents:
        rows.append(_figures(f"SAE {content['sae']!r} at {content['site']}", content["reconstruction"]))
        if content["control"]:
            rows.append(_figures("  the same on random weights", content["control"]["reconstruction"]))
        else:
            rows.append(("  the same on random weights", *["not measured", *[NOTHING] * 4]))
            command = (
                content.get("control_command") or f"interp eval-sae --run RUN --sae {content['sae']} --make-control"
            )
            missing.append(_here(command, run_path))
    caption = "Without the control these figures say nothing about meaning. It is made by: " + "; ".join(missing)
    return table("Reconstruction", columns, rows, caption if missing else "")


def _figures(name: str, quality: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        name,
        _span(quality, "variance_explained"),
        number(quality["l0"], 1),
        percent(quality["dead_share"]),
        percent(quality.get("dense_share")),
        _span(quality, "loss_recovered"),
    )


def _span(row: Mapping[str, Any], name: str) -> str:
    """A figure with its interval, three digits each: these intervals are narrow."""
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    bounds = "" if low is None or high is None else f" ({number(low)}–{number(high)})"
    return NOTHING if not isinstance(row.get(name), int | float) else number(row[name]) + bounds


def parts_table(content: Mapping[str, Any]) -> Table:
    """By token role and by prefix of the groups, beside the control."""
    quality = content["reconstruction"]
    other = (content["control"] or {}).get("reconstruction", {})
    rows = [
        _part(f"{role} tokens", figures, other.get("by_role", {}).get(role))
        for role, figures in quality["by_role"].items()
    ]
    others: Iterable[Any] = other.get("by_prefix") or [None] * len(quality["by_prefix"])
    for prefix, random in zip(quality["by_prefix"], others, strict=False):
        rows.append(_part(f"first {prefix['features']} features", prefix, random))
    columns = ["", "variance explained (95 %)", "random weights", "L0", "dead", "dense"]
    return table(f"By token role and by prefix: SAE {content['sae']!r}", columns, rows)


def _part(name: str, figures: Mapping[str, Any], random: Mapping[str, Any] | None) -> tuple[str, ...]:
    shares = (percent(figures.get(share)) for share in ("dead_share", "dense_share"))
    control = NOTHING if random is None else number(random["variance_explained"])
    return name, _span(figures, "variance_explained"), control, number(figures["l0"], 1), *shares


def report_table(content: Mapping[str, Any]) -> Table:
    """Findings that greedy reports keep when something stands in the residual's place."""
    effect = content["reports"]
    rows = [
        (
            _WAYS.get(name, name),
            span(way, "kept", "kept_low", "kept_high"),
            span(way, "added", "added_low", "added_high"),
            span(way, "same_findings", "same_findings_low", "same_findings_high"),
            percent(way["same_text"]),
        )
        for name, way in sorted(effect["ways"].items(), key=lambda item: list(_WAYS).index(item[0]))
    ]
    columns = ["in the residual's place", "findings kept", "findings new", "same findings", "same words"]
    title = (
        f"Reports with SAE {content['sae']!r} spliced in at {content['site']}, against those without: "
        f"{effect['studies']} studies, {effect['findings']} findings"
    )
    return table(title, columns, rows)


def truth_table(content: Mapping[str, Any], tokens: str = "image") -> Table:
    """One row a finding, on one token set."""
    few = {row["finding"]: row for row in content.get("sparse", []) if row["tokens"] == tokens and row["k"] == FEW}
    rows = [
        (
            row["finding"],
            str(row["feature"]) if row["feature"] is not None else NOTHING,
            span(row, "auroc", "low", "high") if row["auroc"] is not None else row["note"].partition(":")[0],
            number((few.get(row["finding"]) or {}).get("auroc")),
            number(row["probe"]),
            span(row, "random", "random_low", "random_high"),
            f"{row['positives']}/{row['negatives']}",
        )
        for row in content["truth"]
        if row["tokens"] == tokens
    ]
    columns = ["finding", "feature", "best feature", f"best {FEW}", "probe", "random weights", "yes/no"]
    return table(
        f"Recovered on {tokens} tokens: AUROC (95 %), chosen on one half of the patients, measured on the other",
        columns,
        rows,
        "" if content["control"] else _MISSING,
    )


FEW = 5
"""k of the sparse probe that the tables show."""

_MISSING = "No random-weight control: what is above chance here may come from the picture alone."


def truth_summary(contents: Sequence[Mapping[str, Any]]) -> Table:
    """Means over findings, one row a token set of each evaluated SAE."""
    rows = [
        (
            f"{content['site']}: {tokens}",
            span(mean, "auroc", "auroc_low", "auroc_high"),
            number(_few(content, tokens).get("auroc")),
            number(mean["probe"]),
            number(mean["random"]),
            number(_few(content, tokens).get("random")),
            number(mean["random_probe"]),
            str(mean["n_findings"]),
        )
        for content in contents
        for tokens, mean in content["summary"].items()
    ]
    columns = ["mean AUROC on", "best feature", f"best {FEW}", "probe"]
    columns += ["random\nfeature", f"random\nbest {FEW}", "random\nprobe", "n"]
    return table("Where findings can be read", columns, rows)


def _few(content: Mapping[str, Any], tokens: str) -> Mapping[str, Any]:
    return (content.get("sparse_summary") or {}).get(tokens, {}).get(str(FEW), {})


def absorption_table(content: Mapping[str, Any]) -> Table:
    """Splitting and absorption of findings by their sub-forms."""
    rows = []
    for row in content["absorption"]:
        random = row.get("random") or {}
        rows.append(
            (
                row["finding"],
                str(row["split"]) if "split" in row else row["note"],
                span(row, "rate", "low", "high"),
                number(row.get("shuffled")),
                f"{row['absorbed']}/{row['n']}" if "n" in row else NOTHING,
                str(random.get("split", NOTHING)),
                number(random.get("rate")),
                ", ".join(sorted({form["form"].partition(":")[0] for form in row.get("forms", [])})),
            )
        )
    columns = ["finding", "split", "absorbed (95 %)", "by\nchance", "studies", "random\nsplit", "random\nabsorbed"]
    return table(
        f"Splitting and absorption on {content['absorption'][0]['tokens']} tokens: SAE {content['sae']!r}",
        [*columns, "sub-forms"],
        rows,
        "split: features it takes until F1 stops rising. absorbed: studies with the finding in which all of them "
        "are silent while a sub-form's feature fires. by chance: with sub-forms dealt out anew.",
    )


def stability_table(content: Mapping[str, Any]) -> Table:
    """How well the features of an SAE are found again in others of another seed."""
    found = content["stability"]
    rows = [_stable("all live features", found)]
    rows += [
        (
            f"  features {group['from']}–{group['to'] - 1}",
            str(group["features"]),
            number(group["cosine"]),
            *[NOTHING] * 2,
        )
        for group in found["by_group"]
    ]
    random = found.get("random")
    rows.append(_stable("random weights", random) if random else ("random weights", *["not measured", *[NOTHING] * 3]))
    columns = ["", "features", "matched cosine (95 %)", f"at least {found['same_from']:g}", "by chance"]
    return table(f"Stability: SAE {content['sae']!r} against {', '.join(found['saes'])}", columns, rows)


def _stable(name: str, found: Mapping[str, Any]) -> tuple[str, ...]:
    cosine = span(found, "cosine", "low", "high")
    return name, str(found["features"]), cosine, percent(found["same"]), number(found["chance"])


def _here(command: str, run_path: str) -> str:
    return command.replace("RUN", run_path)
