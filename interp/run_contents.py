"""Where things lie in a run directory, and opening what the stages left there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.opening import Opening
from radiology.errors import InputError

if TYPE_CHECKING:
    from activations import ActivationStore, StudyIndex
    from activations.models.base import ReportModel
    from autointerp.table import FeatureTable
    from interp.run_studies import RunStudies
    from sae import MatryoshkaSAE


class RunContents(ABC):
    """Paths of a run directory and its contents, opened when asked for.

    ``path`` is the directory; ``config_of(stage)`` gives the settings that a finished stage was done with.
    ``opening`` says on which device :attr:`model` is opened; set it before.
    """

    path: Path
    opening: Opening

    def __init__(self) -> None:
        self.opening = Opening()
        self._saes: dict[str, MatryoshkaSAE] = {}

    def forget(self) -> None:
        """Drop what was opened: a stage has written anew."""
        self._saes.clear()
        self.__dict__.pop("study_index", None)

    @abstractmethod
    def config_of(self, name: str) -> dict[str, Any]:
        """The settings that a finished stage was done with."""

    @property
    def activations_dir(self) -> Path:
        return self.path / "activations"

    @property
    def studies_path(self) -> Path:
        return self.path / "studies.parquet"

    @property
    def dashboard_path(self) -> Path:
        return self.path / "dashboard.html"

    def sae_dir(self, name: str = "main") -> Path:
        return self.path / "sae" / name

    def features_dir(self, name: str = "main") -> Path:
        return self.sae_dir(name) / "features"

    def labels_dir(self, name: str = "main") -> Path:
        return self.sae_dir(name) / "labels"

    def steering_dir(self, name: str = "main", experiment: str = "demo") -> Path:
        return self.sae_dir(name) / "steering" / experiment

    @cached_property
    def model(self) -> ReportModel:
        """The model that the activations come from."""
        config = self.config_of("cache")
        return self.opening.open(config["model"], config.get("model_dtype"))

    @property
    def sae(self) -> MatryoshkaSAE:
        """The SAE called ``main``."""
        return self.sae_named("main")

    def sae_named(self, name: str) -> MatryoshkaSAE:
        """An SAE of the run; InputError lists those there are."""
        from sae import MatryoshkaSAE

        if name not in self._saes:
            if not (self.sae_dir(name) / "cfg.json").is_file():
                there = sorted(path.parent.name for path in (self.path / "sae").glob("*/cfg.json"))
                has = f"it has {', '.join(there)}" if there else f"run `interp train-sae --run {self.path}` first"
                raise InputError(f"{self.path} has no SAE named {name!r}; {has}")
            self._saes[name] = MatryoshkaSAE.load(self.sae_dir(name))
        return self._saes[name]

    @property
    def features(self) -> FeatureTable:
        """The feature table of the SAE called ``main``."""
        return self.features_of("main")

    def features_of(self, name: str) -> FeatureTable:
        """The feature table of an SAE, with labels and scores where there are any."""
        from autointerp.table import FeatureTable

        return FeatureTable.open(self.path, name)

    @property
    def store(self) -> ActivationStore:
        """The activation store, opened for reading."""
        from activations import ActivationStore

        return ActivationStore(self.activations_dir)

    @cached_property
    def study_index(self) -> StudyIndex:
        """The table of studies: ids, patients, texts, labels, previews."""
        from activations import StudyIndex

        return StudyIndex.read(self.path)

    @property
    def studies(self) -> RunStudies:
        """The studies with their pictures: iterate over them, or take one by id."""
        from interp.plain import restored
        from interp.run_studies import RunStudies
        from interp.stages.cache import CacheConfig

        return RunStudies(restored(CacheConfig, self.config_of("cache")), self.study_index.frame["study_id"].tolist())
