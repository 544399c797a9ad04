"""SAEs to and from other tools."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from interp.run import Run
from radiology.errors import InputError

if TYPE_CHECKING:
    from sae import MatryoshkaSAE

_HOW_TO_OPEN = {
    "saelens": "sae_lens.SAE.load_from_disk({out!r})",
    "dictionary-learning": "dictionary_learning.utils.load_dictionary({out!r}, 'cpu')",
}


def export_to(run: Run, name: str, to: str, out: Path, studies: int = 0) -> str:
    """Write an SAE of a run, or its features and labels, in the form of another tool.

    Args:
        to: ``saelens``, ``dictionary-learning``, ``neuronpedia`` or ``delphi``.
        out: a folder that does not exist yet, or is empty.
        studies: for neuronpedia and delphi, write also what fires in so many studies at most, with their words; those
            of credentialed studies are never written.

    Returns:
        What was written, in words.

    Raises:
        InputError: ``out`` holds something already, or the run has no such SAE or no feature table.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"--out {out}: there is something already; choose a new or an empty folder")
    if to in _HOW_TO_OPEN:
        kind = _export_sae(run, name, to, out)
        return f"SAE {name!r} in {out}, as {kind}; open it there with {_HOW_TO_OPEN[to].format(out=str(out))}"
    site = str(run.config_of(f"train-sae:{name}")["site"])
    if studies:
        _may_be_written(run, studies)  # a refusal comes before anything is written
    if to == "neuronpedia":
        from autointerp.exchange import export_neuronpedia

        model = str(run.config_of("cache")["model"])
        n = export_neuronpedia(run.path, name, out, model_id=model, source=f"{site}-{name}")
        said = f"{n} features in {out}, as Neuronpedia reads them"
        return said + (_export_sentences(run, name, out, model, f"{site}-{name}", studies) if studies else "")
    from autointerp.exchange import export_delphi

    said = f"{export_delphi(run.path, name, out, hookpoint=site)} labels in {out}, as delphi writes them"
    return said + (_export_latents(run, name, out, site, studies) if studies else "")


def _may_be_written(run: Run, at_most: int) -> tuple[list[int], int]:
    """Numbers of studies whose words may go into files for others, and how many are held back.

    Raises:
        InputError: no study may be written.
    """
    frame = run.study_index.frame
    held_back = frame["terms"] == "credentialed"
    allowed = frame[~held_back]["study"].tolist()[:at_most]
    if not allowed:
        raise InputError("all studies of the run are credentialed: their words must not be written for another tool")
    return allowed, int(held_back.sum())


def _export_sentences(run: Run, name: str, out: Path, model: str, source: str, at_most: int) -> str:
    from autointerp.neuronpedia import export_activations

    studies, held_back = _may_be_written(run, at_most)
    n = export_activations(run.path, name, out, model_id=model, source=source, studies=studies)
    return f"; {n} sentences in activations/{_held_back(held_back)}"


def _export_latents(run: Run, name: str, out: Path, site: str, at_most: int) -> str:
    from autointerp.latent_cache import LATENTS, export_latents

    studies, held_back = _may_be_written(run, at_most)
    train, tokenizer = run.config_of(f"train-sae:{name}"), run.model.tokenizer
    ids = run.study_index.frame.set_index("study")["study_id"]
    with run.store as store:
        kept = [study for study in studies if len(range(*store.rows_of_study(study).indices(store.rows)))]
        n = export_latents(
            run.sae_named(name),
            site,
            store=store,
            studies=kept,
            study_ids=[str(ids[study]) for study in kept],
            roles=train["roles"].split(","),
            pad_token=tokenizer.pad_token_id or 0,
            model_name=str(run.config_of("cache")["model"]),
            hookpoint=site,
            out_dir=out,
        )
    return f"; {n} activations of {len(kept)} studies in {LATENTS}/{site}{_held_back(held_back)}"


def _held_back(count: int) -> str:
    return f" ({count} credentialed studies are held back)" if count else ""


def _export_sae(run: Run, name: str, to: str, out: Path) -> str:
    """Write the weights; gives the class or architecture they went out as.

    What the tool itself had noted about an imported SAE (model, layer) stays; else it is told where the run reads.
    """
    sae = run.sae_named(name)
    site = str(run.config_of(f"train-sae:{name}")["site"])
    model = str(run.config_of("cache")["model"])
    block = site.removeprefix("language.")
    if to == "saelens":
        from sae.formats.saelens import write_saelens

        noted = sae.extra.get("saelens") or {}
        hook = f"blocks.{block}.hook_resid_post" if block.isdigit() else site
        return write_saelens(
            sae, out, model_name=noted.get("model_name") or model, hook_name=noted.get("hook_name") or hook
        )
    from sae.formats.dictionary_learning import write_dictionary_learning

    place = {"layer": int(block) if block.isdigit() else None, "lm_name": model, "submodule_name": site}
    return write_dictionary_learning(sae, out, **({} if "dictionary_learning" in sae.extra else place))


def column_names(pairs: Sequence[str]) -> dict[str, str]:
    """``["feature=latent_id"]`` → our name → theirs; InputError names what is no pair."""
    found = {}
    for pair in pairs:
        ours, sign, theirs = pair.partition("=")
        if not sign or not ours or not theirs:
            raise InputError(f"--column {pair!r}: write OURS=THEIRS, e.g. feature=latent_id")
        found[ours] = theirs
    return found


def import_labels(run: Run, name: str, path: Path, explainer: str, columns: Mapping[str, str] | None = None) -> int:
    """Put labels of another tool beside the run's own; gives their number.

    Args:
        columns: our name → the file's name of a column, where they differ.

    Raises:
        InputError: a name that an explainer of ours has, or labels that cannot be used (named by line).
    """
    from autointerp.exchange import import_explanations
    from interp.stages.explain import EXPLAINERS, stage_of

    if explainer in EXPLAINERS:
        raise InputError(f"--explainer {explainer!r} is one of ours; choose another name for imported labels")
    run.require(f"index:{name}")
    counted: list[int] = []

    def take() -> dict[str, object]:
        counted.append(len(import_explanations(run.path, name, path, explainer, columns)))
        return {"features": counted[0], "imported_from": str(path)}

    outputs = [run.labels_dir(name) / "explanations.parquet"]
    settings: dict[str, object] = {"imported_from": str(path), "explainer": explainer, "digest": _content(path)}
    if columns:
        settings["columns"] = dict(columns)
    result = run.do(stage_of(name, explainer), settings, outputs, take, after=[f"index:{name}"], shared=True)
    return int(result.summary["features"])


def _content(path: Path) -> str:
    """Hash of a file, or of all files of a folder: a changed file of the same name is taken in anew."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def import_sae(run: Run, source: Path, name: str, site: str, roles: str) -> MatryoshkaSAE:
    """Read an SAE of any known form and save it as an SAE of the run.

    Raises:
        InputError: the site is not cached or has another width, or the run has an SAE of that name already.
        SAEError: the folder holds no SAE that can be used.
    """
    from activations import parse_roles
    from sae.formats import open_sae

    sae = open_sae(source)
    with run.store as store:
        width = store.width(site)
    if width != sae.d:
        raise InputError(f"--site {site}: its residuals have width {width}, the SAE in {source} reads {sae.d}")
    parse_roles(roles)
    folder = run.sae_dir(name)
    if (folder / "cfg.json").exists():
        raise InputError(f"{run.path} has an SAE named {name!r} already; choose another --sae")
    config = {"name": name, "site": site, "roles": roles, "imported_from": str(source)}
    outputs = [folder / "cfg.json", folder / "sae.safetensors"]

    def save() -> dict[str, object]:
        sae.extra = {**sae.extra, "site": site, "roles": roles}
        sae.save(folder)
        return {"features": sae.n_features, "width": sae.d, "max_norm": None}

    _note_origin(sae, site, str(run.config_of("cache")["model"]))
    run.do(f"train-sae:{name}", config, outputs, save, after=["cache"])
    return sae


def _note_origin(sae: MatryoshkaSAE, site: str, model: str) -> None:
    """A note where the file names another place or model than the one that the SAE is put to here.

    No reason to refuse it: some count blocks from 1, and a copy of a model has any name.
    """
    trainer = (sae.extra.get("dictionary_learning") or {}).get("trainer") or {}
    metadata = sae.extra.get("saelens") or {}
    layer = trainer.get("layer")
    place = metadata.get("hook_name") or (None if layer is None else f"language.{layer}")
    of = metadata.get("model_name") or trainer.get("lm_name")
    block = site.removeprefix("language.")
    alike = place in (None, site, f"blocks.{block}.hook_resid_post")
    if alike and (of is None or Path(str(of)).name == Path(model).name):
        return
    told = f"{place or 'a place it does not name'} of {of or 'a model it does not name'}"
    note = f"the file says that it reads {told}; here it reads {site} of {model}"
    sae.extra = {**sae.extra, "notes": [*sae.extra.get("notes", []), note]}
