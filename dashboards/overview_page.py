"""Content of the first page: the run, its stages, and the tables that sum it up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from dashboards import plots
from dashboards.data import Missing, RunData
from dashboards.evaluation import drawn_rows, quality_figures, truth_means, truth_rows, truth_sentence

#: Stage → (title, output that shows it was done when run.json does not say, verb of the command).
STAGES: dict[str, tuple[str, str, str]] = {
    "cache": ("Activations", "activations/manifest.json", "cache"),
    "train-sae": ("Autoencoder", "sae/{sae}/sae.safetensors", "train-sae"),
    "eval-sae": ("Evaluation", "sae/{sae}/evaluation.json", "eval-sae"),
    "index": ("Feature table", "sae/{sae}/features/features.parquet", "index"),
    "explain": ("Labels", "sae/{sae}/labels/explanations.parquet", "explain"),
    "score": ("Scores", "sae/{sae}/labels/scores.parquet", "score"),
    "trace": ("Causal map", "trace/causal_map.parquet", "trace"),
    "steer": ("Steering", "sae/{sae}/steering", "steer"),
}
_ALL_FINDINGS = "all findings (mean)"


def run_content(run: RunData) -> dict[str, Any]:
    """Name, description, ribbon, stages and facts of the run."""
    phantom, real = study_counts(run)
    return {
        "name": run.run_dir.resolve().name,
        "path": run.shown_path,
        "description": _description(run, phantom, real),
        "ribbon": _ribbon(run, phantom, real),
        "stages": [stage_content(run, name) for name in STAGES],
        "facts": _facts(run, phantom, real),
    }


def study_counts(run: RunData) -> tuple[int, int]:
    """(phantom, real) studies of the run."""
    if run.studies is None:
        return 0, 0
    phantom = int((run.studies["terms"] == "phantom").sum())
    return phantom, len(run.studies) - phantom


def _description(run: RunData, phantom: int, real: int) -> str:
    if run.model_name is None:
        model = "a radiology report model"
    elif run.model_is_phantom:
        model = "the phantom model, a toy that knows only synthetic chests"
        if "random" in run.model_name:
            model = "a phantom model with random weights, which knows nothing"
    else:
        model = f"the model {run.model_name}"
    studies = " and ".join(f"{n} {kind} studies" for n, kind in ((phantom, "phantom"), (real, "real")) if n)
    return f"Sparse features of {model}" + (f", learned from its reading of {studies}." if studies else ".")


def _ribbon(run: RunData, phantom: int, real: int) -> str:
    text = "Research use only; not for diagnosis. Labels and generated reports are machine-written."
    if phantom and not real:
        return f"{text} All studies here are phantoms: synthetic pictures, no patients."
    if phantom:
        return f"{text} Phantom studies are synthetic pictures; real radiographs among them are marked."
    return text


def stage_content(run: RunData, name: str) -> dict[str, Any]:
    """Title, state, a note, and the command where there is something to do.

    A stage of several parts (experiments) has the state of its least finished one.
    """
    title, output, verb = STAGES[name]
    records = run.stages(name)
    there = (run.run_dir / output.format(sae=run.sae_name)).exists()
    states = {str(record.get("state")) for record in records}
    state = next((one for one in ("failed", "running", "pending") if one in states), "done" if there else "missing")
    errors = [str(record["error"]) for record in records if record.get("error")]
    notes = {
        "done": _took([record.get("seconds") for record in records]),
        "failed": f"failed: {errors[0] if errors else 'no reason noted'}",
        "running": "running, or stopped without notice",
        "pending": "stopped; the same command goes on" if errors else "not done yet",
        "missing": "not done yet",
    }
    command = None if state == "done" else run.command(verb)
    return {"title": title, "state": state, "note": notes[state], "command": command}


def _took(seconds: list[Any]) -> str:
    known = [float(one) for one in seconds if isinstance(one, int | float)]
    if not known:
        return "done"
    return f"done in {sum(known):.0f} s" if sum(known) < 120 else f"done in {sum(known) / 60:.0f} min"


def _facts(run: RunData, phantom: int, real: int) -> list[list[str]]:
    manifest = run.manifest or {}
    cfg, extra = (_mapping((run.cfg or {}).get(key)) for key in ("sae", "extra"))
    rows: list[tuple[str, Any]] = [("Model", run.model_name)]
    if run.studies is not None:
        patients = run.studies["patient_id"].nunique()
        kinds = f"{phantom} phantom" + (f", {real} real" if real else "")
        rows.append(("Studies", f"{kinds}; {patients} {'' if real else 'phantom '}patients"))
        rows.append(("Reports", _counted(run.studies["report_source"])))
    sites = manifest.get("sites")
    if isinstance(sites, list):
        named = [f"{site.get('name')} ({site.get('width')} wide)" for site in sites if isinstance(site, Mapping)]
        rows.append(("Sites cached", ", ".join(named)))
    rows.append(("Token roles", ", ".join(map(str, manifest.get("roles") or []))))
    if isinstance(manifest.get("rows"), int):
        rows.append(("Activations", f"{manifest['rows']:,} rows as {manifest.get('dtype')}".replace(",", "\u202f")))
    rows.append(("SAE site", extra.get("site")))
    shape = [f"{cfg['n_features']} features"] if cfg.get("n_features") else []
    shape += [f"k = {cfg['k']}"] if cfg.get("k") else []
    shape += [f"groups {', '.join(map(str, cfg['groups']))}"] if isinstance(cfg.get("groups"), list) else []
    rows.append(("SAE", "; ".join(shape)))
    rows.append(("Made", str(run.record.get("created") or "")[:10]))
    versions = run.record.get("versions")
    rows.append(("interp", versions.get("interp") if isinstance(versions, Mapping) else None))
    return [[name, str(value)] for name, value in rows if value]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _counted(column: pd.Series) -> str:
    counts = column.dropna().value_counts()
    return ", ".join(f"{n} {name}" for name, n in counts.items())


def summary_content(run: RunData) -> dict[str, Any]:
    """SAE quality, truth table and the large figures."""
    truth = truth_rows(run.evaluation)
    metrics = run.metrics
    causal = causal_figures(run.causal_map)
    if not causal and run.causal_map is not None:
        why = "holds no effect that could be measured: the reports of the pairs hardly differ."
        run.missing.append(Missing("causal", "The causal map", why, None))
    figures: dict[str, Any] = {"causal": causal, "truth": None, "training": []}
    if metrics is not None and len(metrics):
        figures["training"] = [
            {"name": plots.words(measure), "figure": plots.content(plots.training_curve(metrics, measure))}
            for measure in plots.TRAINING_MEASURES
        ]
    content = None
    if truth is None and run.evaluation is not None:
        run.missing.append(Missing("truth", "The truth table", "is not in the evaluation.", run.command("eval-sae")))
    if truth is not None:
        figures["truth"] = plots.content(plots.truth_table(drawn_rows(truth)))
        means = truth_means(truth).to_dict("records")
        content = {"text": truth_sentence(truth), "means": means, "rows": truth.to_dict("records")}
    return {"quality": quality_figures(run.evaluation, metrics), "truth": content, "figures": figures}


def causal_figures(cells: pd.DataFrame | None) -> list[dict[str, Any]]:
    """Maps to choose from: site × scope over all findings and for each; site × finding for each scope."""
    if cells is None or cells["effect"].isna().all():
        return []
    cells = cells[cells["effect"].notna()]
    keys, scopes = sorted(cells["key"].unique()), sorted(cells["scope"].unique())
    by_scope = [(_ALL_FINDINGS, cells)] + [(key, cells[cells["key"] == key]) for key in keys]
    maps = [("site × token scope", name, rows, "scope") for name, rows in by_scope]
    maps += [("site × finding", scope, cells[cells["scope"] == scope], "key") for scope in scopes]
    return [
        {"group": group, "name": name, "figure": plots.content(plots.causal_map(rows, across))}
        for group, name, rows, across in maps
    ]
