"""One feature: what it is called, how good that name is, where it fires, what it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dash import dcc, html

from autointerp.schema import FAILED_LABEL
from dashboards.app import feature_data, parts
from dashboards.app.notes_form import notes_panel
from dashboards.app.parts import count, number, p_value, panel, percent, small, words
from dashboards.app.steering_parts import record_block

if TYPE_CHECKING:
    from dashboards.app.routing import Context

_SCORES = (
    "How well the label tells firing contexts from quiet ones, on patients that the explainer never saw. Shuffled: "
    "labels of other features on the same contexts."
)


def page(context: Context, rest: str) -> Any:
    """The page of the feature that the address names."""
    view = context.view
    if view.list is None:
        return html.Div([html.H1(f"Feature {rest}"), *parts.missing_cards(view.missing("features"))], className="stack")
    row = feature_data.row_of(view, int(rest)) if rest.isdigit() and len(rest) < 10 else None
    if row is None:
        return html.Div(
            [
                html.H1("No such feature"),
                html.P([f"This run has no feature {rest}. ", parts.link("/features", "All features")]),
            ]
        )
    feature = int(row["feature"])
    labels = feature_data.labels_of(view, feature)
    scores = feature_data.scores_of(view, feature)
    side = [
        _activity(view, row),
        _mean_map(row),
        _tokens(row),
        _nesting(view, feature),
        notes_panel(context, "features", str(feature)),
    ]
    body = [_contexts(view, feature, row), _roc(view, feature, row, labels), _steering(view, feature)]
    columns = [
        html.Div(_label(view, row, labels, scores), className="label-column"),
        html.Div(parts.kept(side), className="stack side-column"),
        html.Div(parts.kept(body), className="stack body-column"),
    ]
    return html.Article([_head(view, row, labels), html.Div(columns, className="columns")])


def _head(view: Any, row: dict[str, Any], labels: list[dict[str, Any]]) -> html.Header:
    feature, label = int(row["feature"]), labels[0] if labels else None
    last = len(view.list) - 1
    steps = [
        parts.link(f"/feature/{feature - 1}", "← previous") if feature > 0 else None,
        parts.link(f"/feature/{feature + 1}", "next →") if feature < last else None,
        parts.link(f"/search?features={feature}", "similar studies"),
    ]
    chips = []
    if label:
        concept = ", ".join(words(part) for part in (label["concept"], label["side"]) if part)
        by = ", ".join(part for part in (label["explainer"], label["model"]) if part)
        seen = "image and text" if label["modality"] == "both" else label["modality"]
        chips = [
            parts.polarity_chip(label["polarity"]),
            parts.chip(concept) if concept else None,
            parts.chip(f"seen in {seen}"),
            parts.ai_chip(by),
        ]
    chips += [
        parts.chip("dense", "uncertain") if row["dense"] else None,
        parts.chip("dead", "uncertain") if row["dead"] else None,
    ]
    return parts.page_head(
        [parts.link("/features", "Features"), f" / #{feature}"],
        label["label"] if label else "No label yet",
        html.Div(parts.kept(chips), className="chips"),
        aside=html.Nav(parts.kept(steps), className="chips", **{"aria-label": "Neighbouring features"}),
    )


def _label(view: Any, row: dict[str, Any], labels: list[dict[str, Any]], scores: list[dict[str, Any]]) -> html.Section:
    if not labels:
        why = "It never fires, so nothing can be said of it." if row["dead"] else "The explainer gave it no label."
        return panel("Label", *(parts.missing_cards(view.missing("labels")) or [parts.muted(why)]))
    label = labels[0]
    fits = None
    if label["firing_share"] is not None:
        fits = parts.muted(
            f"The label fits {percent(label['firing_share'])} of the {count(label['n_firing'])} firing contexts and "
            f"{percent(label['quiet_share'])} of the {count(label['n_quiet'])} quiet ones that the explainer saw."
        )
    failed = parts.muted("The language model gave no valid answer.") if label["label"] == FAILED_LABEL else None
    own = [one for one in scores if one["explainer"] == label["explainer"]]
    others = [[one["label"], parts.polarity_chip(one["polarity"]) or "", one["explainer"]] for one in labels[1:]]
    return panel(
        "Label",
        html.P(label["reasoning"]) if label["reasoning"] else None,
        fits,
        failed,
        *([small(_SCORES), _score_table(own)] if own else parts.missing_cards(view.missing("scores"))),
        parts.opening(
            "Labels of other explainers", parts.table("Other labels", ["label", "polarity", "explainer"], others)
        )
        if others
        else None,
    )


#: What a label is told from; kinds of hard negatives as ``interp score`` prints them.
_AGAINST = {
    "hard_negative": "hard negatives",
    "other_polarity": "same finding, other polarity",
    "nearest_text": "nearest text",
    "co_firing": "same features firing",
    "random_negative": "random negatives",
}


def _score_table(scores: list[dict[str, Any]]) -> html.Div:
    """Every score of the label; columns that no score fills are left out."""
    flipped, adjusted = (any(one[name] is not None for one in scores) for name in ("flipped_auc", "q"))
    heads: list[Any] = [
        "judged by",
        "against",
        ("", "glyph-cell"),
        ("AUC", "num"),
        ("95 % interval", "num"),
        ("shuffled", "num"),
    ]
    heads += ([("flipped", "num")] if flipped else []) + ([("q", "num")] if adjusted else []) + [("n", "num")]
    return parts.table("Scores of the label", heads, [_score_cells(one, flipped, adjusted) for one in scores])


def _score_cells(one: dict[str, Any], flipped: bool, adjusted: bool) -> list[Any]:
    start = [one["scorer"], _AGAINST.get(one["negative_kind"], words(one["negative_kind"]))]
    extra = ([number(one["flipped_auc"])] if flipped else []) + ([p_value(one["q"])] if adjusted else [])
    if not one["n"]:
        return [*start, "", "–", one["note"] or "", "–", *extra, "0"]
    name = "auc" if one["auc"] is not None else "balanced_accuracy"  # an intruder test has a share found instead
    low, high, base = one[f"{name}_low"], one[f"{name}_high"], one[f"baseline_{name}"]
    glyph = parts.widget("interval", {"value": one[name], "low": low, "high": high, "base": base})
    return [*start, glyph, number(one[name]), parts.interval(low, high), number(base), *extra, count(one["n"])]


def _activity(view: Any, row: dict[str, Any]) -> html.Section:
    rows = [
        ("Fires on", f"{percent(row['firing_rate'])} of tokens ({count(row['n_fires'])})"),
        ("Studies", count(row["n_studies"])),
        ("Patients", count(row["n_patients"])),
        ("Largest", number(row["max_activation"])),
        ("Mean when firing", number(row["mean_activation"])),
        ("Matryoshka group", f"{row['group'] + 1} of {view.list.groups}"),
    ]
    bins = {"edges": row["histogram_edges"], "counts": row["histogram"]}
    whole = bins["counts"] and len(bins["edges"]) == len(bins["counts"]) + 1
    roles = feature_data.roles_of(row)
    return panel(
        "Activity",
        parts.facts(rows),
        html.H3("Histogram") if whole else None,
        parts.widget("histogram", bins) if whole else None,
        html.H3("Token roles") if any(roles.values()) else None,
        parts.widget("shares", roles) if any(roles.values()) else None,
    )


def _mean_map(row: dict[str, Any]) -> html.Section | None:
    packed = feature_data.pack_map(row["mean_map"], row["map_rows"], row["map_cols"])
    if not packed or not packed["max"] > 0:
        return None
    top = number(packed["max"])
    note = f"Over the studies in which it fires; brightest patch {top}. Behind it: the mean of frontal pictures."
    return panel("Mean activation map", parts.widget("mean-map", {"map": packed, "src": "/mean-frontal"}), small(note))


def _tokens(row: dict[str, Any]) -> html.Section:
    def listed(tokens: list[dict[str, Any]]) -> html.Ul:
        items = [html.Li([one["token"].strip() or "␣", " ", html.Span(number(one["value"]))]) for one in tokens]
        return html.Ul(items, className="tokens-list")

    score = f" Output score {number(row['output_score'])}." if row["output_score"] is not None else ""
    parts_of = [
        part
        for name, key in (("Raises", "promoted"), ("Lowers", "suppressed"))
        if row[key]
        for part in (html.H3(name), listed(row[key]))
    ]
    return panel(
        "In the model’s words", *parts_of, small(f"Through the unembedding (logit lens): a hint, not a proof.{score}")
    )


def _nesting(view: Any, feature: int) -> html.Section | None:
    found = feature_data.related(view, feature)
    names = {"parents": "In inner groups (broader)", "same": "In the same group", "children": "In outer groups (finer)"}
    blocks: list[Any] = []
    for key, name in names.items():
        items = [
            html.Li([
                parts.feature_link(one["id"]), f" {one['label'] or ''} ",
                html.Span(_relation(one)),
            ])
            for one in found[key]
        ]  # fmt: skip
        blocks += [html.H3(name), html.Ul(items, className="plain")] if items else []
    if not blocks:
        return None
    note = "By direction of the decoder rows and by common firing; being in an outer group alone makes no child."
    return panel("Neighbours and nesting", *blocks, small(note))


def _relation(one: dict[str, Any]) -> str:
    """How alike two features are, as far as either row tells."""
    found = [f"cosine {number(one['cosine'])}"] if one["cosine"] is not None else []
    found += [f"fires on {percent(one['jaccard'])} of the same tokens"] if one["jaccard"] is not None else []
    return " · ".join(found)


def _contexts(view: Any, feature: int, row: dict[str, Any]) -> html.Section:
    contexts, withheld = feature_data.contexts_of(view, feature, row["max_activation"])
    left_out = small(f"{count(withheld)} more are not shown: their studies are credentialed.") if withheld else None
    if not contexts:
        why = (
            "It never fires on the indexed tokens." if row["dead"] else "There are no contexts of this feature to show."
        )
        return panel("Contexts", *(parts.missing_cards(view.missing("contexts")) or [parts.muted(why)]), left_out)
    content = {"scale": row["max_activation"], "contexts": contexts}
    return panel("Contexts", parts.widget("contexts", content), left_out, name="contexts")


def _roc(view: Any, feature: int, row: dict[str, Any], labels: list[dict[str, Any]]) -> html.Section | None:
    title = "As a detector"
    if row["dead"]:
        return None
    if "activity" not in view.tables.there:
        cards = parts.missing_cards(view.missing("activity"))
        return panel(title, *cards) if cards else None
    findings = view.truths.findings if view.truths is not None else []
    if not findings:
        return panel(title, parts.muted("The studies of this run have no labels to hold the feature against."))
    label = labels[0] if labels else {}
    wanted = [f"{label.get('concept')}:{label.get('side')}", label.get("concept")]
    first = next((one for one in wanted if one in findings), findings[0])
    modality = "image" if row["image_share"] >= 0.5 else "text"
    fields: list[dict[str, Any]] = [
        {
            "name": "finding",
            "label": "Finding",
            "type": "select",
            "value": first,
            "options": [[one, words(one)] for one in findings],
        },
        {
            "name": "modality",
            "label": "Largest activation in",
            "type": "select",
            "value": modality,
            "options": [["image", "the images"], ["text", "the report"]],
        },
        {"name": "feature", "type": "hidden", "value": str(feature)},
    ]
    asked = {"finding": first, "modality": modality, "feature": str(feature)}
    return panel(
        title,
        parts.form(fields, store="roc-ask"),
        dcc.Store(id="roc-ask", data=asked),
        html.Div(parts.muted("Measuring …"), id="roc", className="stack"),
    )


def _steering(view: Any, feature: int) -> html.Section:
    numbers = view.steering.of_feature.get(feature, [])
    if not numbers:
        command = f"{view.data.command('steer')} --feature {feature} --strength 2"
        return panel("Steering", parts.muted("Nobody has steered this feature yet. Try it with ", html.Code(command)))
    return panel("Steering", *[record_block(view, view.steering.records[at]) for at in numbers])
