"""What a run directory holds, as frames and objects, with a list of what is missing and which command makes it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from autointerp import schema as labels_schema
from dashboards.tables import UnreadableError, check_table, read_frame, read_json
from radiology.errors import InputError
from steering import schema as steering_schema

RUN_KIND = "interp-run"
RUN_VERSION = 1
IMAGE_NAMES = ("frontal", "lateral", "prior_frontal")
SECTIONS = ("indication", "technique", "comparison", "prior_report")
#: Terms under which studies may be shown in a file that leaves the machine.
OPEN_TERMS = frozenset({"open", "phantom", "own"})

_STUDY_COLUMNS = ("study", "study_id", "patient_id", "source", "terms", "split")
_STUDY_TEXTS = (*SECTIONS, "report", "report_source", "labels")
_METRIC_COLUMNS = ("tokens", "variance_explained", "l0", "dead_share")
_FEATURE_COLUMNS = tuple(labels_schema.FEATURES.names)
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Missing:
    """Something that the run does not hold. ``where`` is the part of the page that says so."""

    where: str
    what: str
    why: str
    command: str | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Experiment:
    """One steering experiment: its spec as written, and its tables (None where missing).

    ``verdicts`` and ``side_effects`` are not there in experiments of older versions.
    """

    name: str
    spec: dict[str, Any]
    generations: pd.DataFrame | None
    effects: pd.DataFrame | None
    verdicts: pd.DataFrame | None = None
    side_effects: pd.DataFrame | None = None


@dataclass
class RunData:
    """A run directory opened for reading.

    Attributes:
        run_dir: the directory.
        sae_name: which autoencoder of the run.
        record: content of ``run.json``.
        missing: filled as parts are read; read all parts before showing it.

    Raises:
        InputError: (from :meth:`open`) the directory is no run of interp.
    """

    run_dir: Path
    sae_name: str
    record: dict[str, Any]
    missing: list[Missing] = field(default_factory=list)

    @staticmethod
    def open(run_dir: Path, sae_name: str = "main") -> RunData:
        """Check that the directory is a run; tables are read when first asked for."""
        if not run_dir.is_dir():
            raise InputError(f"{run_dir} is no folder. Give the folder of a run, e.g. --run runs/demo.")
        try:
            record = read_json(run_dir / "run.json")
        except UnreadableError as error:
            raise InputError(f"{run_dir / 'run.json'} {error}. Choose another --run.") from error
        if record is None or record.get("kind") != RUN_KIND:
            raise InputError(f"{run_dir} is not a run of interp (no run.json of its kind). Choose another --run.")
        if record.get("version") != RUN_VERSION:
            raise InputError(
                f"{run_dir / 'run.json'} is of version {record.get('version')!r}, and this program reads version "
                f"{RUN_VERSION}. Use the interp that wrote it, or make the run anew."
            )
        names = sorted(path.name for path in (run_dir / "sae").glob("*") if path.is_dir())
        if names and sae_name not in names:
            raise InputError(f"{run_dir} has no SAE named {sae_name!r}; it has {', '.join(names)}. Choose with --sae.")
        return RunData(run_dir, sae_name, record)

    @property
    def shown_path(self) -> str:
        """The run as a reader may see it: relative to here, or its bare name (no home folders in a shared file)."""
        path = os.path.relpath(self.run_dir)
        return f"…/{self.run_dir.resolve().name}" if path.startswith("..") else path

    def command(self, verb: str) -> str:
        """The command line that makes a part of this run."""
        sae = "" if self.sae_name == "main" or verb in ("cache", "trace") else f" --sae {self.sae_name}"
        return f"interp {verb} --run {self.shown_path}{sae}"

    @property
    def sae_dir(self) -> Path:
        return self.run_dir / "sae" / self.sae_name

    def _part(self, where: str, what: str, verb: str, read: Callable[[], _Value | None]) -> _Value | None:
        """What ``read`` gives; if that is nothing or unreadable, the part is noted as missing."""
        try:
            value = read()
            why = "is not there yet."
        except UnreadableError as error:
            value, why = None, f"{error}."
        if value is None:
            self.missing.append(Missing(where, what, why, self.command(verb)))
        return value

    @cached_property
    def manifest(self) -> dict[str, Any] | None:
        """``activations/manifest.json``."""
        path = self.run_dir / "activations" / "manifest.json"
        return self._part("overview", "The activation store", "cache", lambda: read_json(path))

    @cached_property
    def studies(self) -> pd.DataFrame | None:
        """The study index without pictures, by study number."""
        path = self.run_dir / "studies.parquet"
        columns = _STUDY_COLUMNS + _STUDY_TEXTS
        frame = self._part("studies", "The study index", "cache", lambda: read_frame(path, columns))
        return None if frame is None else frame.set_index("study", drop=False)

    @cached_property
    def cfg(self) -> dict[str, Any] | None:
        """``cfg.json`` of the autoencoder."""
        return self._part("quality", "The autoencoder", "train-sae", lambda: read_json(self.sae_dir / "cfg.json"))

    @cached_property
    def metrics(self) -> pd.DataFrame | None:
        """The training log."""
        path = self.sae_dir / "metrics.parquet"
        return self._part("training", "The training curve", "train-sae", lambda: read_frame(path, _METRIC_COLUMNS))

    @cached_property
    def evaluation(self) -> dict[str, Any] | None:
        """``evaluation.json`` of the autoencoder."""
        path = self.sae_dir / "evaluation.json"
        return self._part("truth", "The evaluation", "eval-sae", lambda: read_json(path))

    @cached_property
    def causal_map(self) -> pd.DataFrame | None:
        """Effects of swaps by finding, site and token scope."""
        path = self.run_dir / "trace" / steering_schema.CAUSAL_MAP_FILE
        columns = ("key", "site", "scope", "effect", "low", "high", "n")
        return self._part("causal", "The causal map", "trace", lambda: read_frame(path, columns))

    @property
    def contexts_path(self) -> Path:
        return self.sae_dir / labels_schema.FEATURES_FOLDER / labels_schema.CONTEXTS_FILE

    @cached_property
    def features(self) -> pd.DataFrame | None:
        """The feature table, by feature number."""
        path = self.sae_dir / labels_schema.FEATURES_FOLDER / labels_schema.FEATURES_FILE
        frame = self._part("features", "The feature table", "index", lambda: read_frame(path, _FEATURE_COLUMNS))
        return None if frame is None else frame.sort_values("feature").set_index("feature", drop=False)

    @cached_property
    def context_index(self) -> pd.DataFrame | None:
        """Contexts without their maps and tokens."""
        columns = ("context", "feature", "kind", "study", "image", "activation")
        return self._part("contexts", "The table of contexts", "index", lambda: read_frame(self.contexts_path, columns))

    def has_table(self, name: str, where: str, what: str, verb: str = "index") -> bool:
        """Whether a table of ``features/`` is there and can be asked; noted as missing otherwise. Nothing is loaded."""
        later = labels_schema.LATER.get(name, ())
        columns = [column for column in labels_schema.TABLES[name].names if column not in later]
        version = (labels_schema.VERSION_KEY, labels_schema.VERSION)
        path = self.sae_dir / labels_schema.FEATURES_FOLDER / name
        return self._part(where, what, verb, lambda: check_table(path, columns, version)) is not None

    @cached_property
    def explanations(self) -> pd.DataFrame | None:
        """Labels, one row a feature and explainer."""
        path = self.sae_dir / labels_schema.LABELS_FOLDER / labels_schema.EXPLANATIONS_FILE
        return self._part(
            "labels", "The table of labels", "explain", lambda: read_frame(path, labels_schema.EXPLANATIONS.names)
        )

    @cached_property
    def scores(self) -> pd.DataFrame | None:
        """Scores of labels."""
        path = self.sae_dir / labels_schema.LABELS_FOLDER / labels_schema.SCORES_FILE
        later = labels_schema.LATER[labels_schema.SCORES_FILE]
        columns = [name for name in labels_schema.SCORES.names if name not in later]
        return self._part("scores", "The table of scores", "score", lambda: read_frame(path, columns))

    @cached_property
    def experiments(self) -> list[Experiment]:
        """All steering experiments, by name."""
        folders = sorted(path for path in (self.sae_dir / "steering").glob("*") if path.is_dir())
        if not folders:
            why = "has not been tried on this run yet."
            self.missing.append(Missing("steering", "Steering", why, self.command("steer")))
        return [self._experiment(folder) for folder in folders]

    def _experiment(self, folder: Path) -> Experiment:
        def table(name: str, what: str, columns: Iterable[str], later: Mapping[str, tuple[str, Any]]) -> Any:
            values = {column: value for column, (_, value) in later.items()}
            read = lambda: read_frame(folder / name, tuple(columns), values)  # noqa: E731
            return self._part("steering", f"Of the experiment {folder.name}, {what}", "steer", read)

        def newer(name: str, what: str, columns: Iterable[str]) -> Any:
            return table(name, what, columns, {}) if (folder / name).is_file() else None

        schema = steering_schema
        spec = self._part(
            "steering",
            f"Of the experiment {folder.name}, the spec",
            "steer",
            lambda: read_json(folder / schema.SPEC_FILE),
        )
        return Experiment(
            folder.name,
            spec or {},
            table(schema.GENERATIONS_FILE, "the generations table", schema.GENERATION_COLUMNS, schema.GENERATION_LATER),
            table(schema.EFFECTS_FILE, "the effects table", schema.EFFECT_COLUMNS, schema.EFFECT_LATER),
            newer(schema.VERDICTS_FILE, "the table of verdicts", schema.VERDICT_COLUMNS),
            newer(schema.SIDE_EFFECTS_FILE, "the table of side effects", schema.SIDE_EFFECT_COLUMNS),
        )

    def stages(self, name: str) -> list[dict[str, Any]]:
        """Records in ``run.json`` of a stage, called ``name``, ``name:SAE`` or, once a part, ``name:SAE:PART``."""
        stages = self.record.get("stages")
        if not isinstance(stages, dict):
            return []
        mine = f"{name}:{self.sae_name}"
        named = [key for key in stages if key in (name, mine) or key.startswith(f"{mine}:")]
        return [stages[key] for key in named if isinstance(stages[key], dict)]

    @property
    def model_name(self) -> str | None:
        """What the model was called when its activations were cached."""
        model = (self.manifest or {}).get("model")
        return str(model["name"]) if isinstance(model, dict) and model.get("name") else None

    @property
    def model_is_phantom(self) -> bool:
        """Whether the model knows phantoms only; an unknown model is taken for one."""
        return self.model_name is None or self.model_name.startswith("phantom")
