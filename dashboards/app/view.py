"""A run as it is now: everything that pages ask for, made anew when a file of the run has changed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from dashboards.app.listing import FeatureList
from dashboards.app.relations import Relations
from dashboards.app.tables import RunTables
from dashboards.app.truths import Truths, read_object
from dashboards.data import Missing, RunData
from dashboards.fingerprint import Fingerprint, fingerprint
from dashboards.label_page import Labels, label_summary
from dashboards.outcomes import outcomes, steered_features
from dashboards.overview_page import run_content, summary_content
from dashboards.privacy import Shown
from dashboards.steering_page import SteeringRecords, steering_summary
from dashboards.tables import UnreadableError
from radiology.errors import InputError

#: A run is looked at for changes at most so often.
SECONDS_BETWEEN_LOOKS = 1.0


@dataclass(frozen=True)
class Helpers:
    """What other rooms can do for the dashboard; each may be missing.

    Attributes:
        embed: (n texts) → (n, d) float32 rows of length 1, for search by meaning.
        read_findings: findings of a text as ``concept[:side]=status``.
        steer: (study_id, feature, strength, kind) → reports and proof of one live generation.
    """

    embed: Callable[[Sequence[str]], np.ndarray] | None = None
    read_findings: Callable[[str], Sequence[str]] | None = None
    steer: Callable[[str, int, float, str], Mapping[str, Any]] | None = None


class RunView:
    """A run opened for its pages.

    Attributes:
        data, shown, tables: the run, the studies that may be shown, DuckDB over its tables.
        list: the list of features, None without a feature table.
        overview: content of the first page.
        steering: records of all conditions of all experiments.
        outcomes: what each of these came to.

    Raises:
        InputError: the directory is no run.
    """

    def __init__(self, run_dir: Path, sae_name: str, with_credentialed_data: bool) -> None:
        self.data = data = RunData.open(run_dir, sae_name)
        self.shown = Shown(data.studies, with_credentialed_data)
        self.with_credentialed_data = with_credentialed_data
        self.tables = RunTables(data, self.shown, steered_features(data))
        self.list = FeatureList(data, self.tables) if "features" in self.tables.there else None
        self._prepare()
        self.tables.lock()
        self.run = run_content(data)
        self.summary = summary_content(data)
        self.steering_summary = steering_summary(data)
        self.steering = SteeringRecords(data, self.shown)
        self.outcomes = outcomes(data)

    def _prepare(self) -> None:
        """Small tables that pages ask again and again: details and coverage of studies."""
        there = self.tables.there
        if "studies" in there:
            self.tables.make("CREATE TABLE details AS SELECT study, metadata FROM study_details")
        if "activity" in there:
            self.tables.make("CREATE TABLE covered AS SELECT DISTINCT study FROM activity")

    def warm(self) -> None:
        """Make what the first page of a feature would have to wait for; quiet if the run was closed meanwhile."""
        with suppress(duckdb.Error, UnreadableError):
            _ = self.relations, self.truths, self.findings, self.terms

    @cached_property
    def relations(self) -> Relations | None:
        """Features of near direction or common firing; None without a feature table."""
        return Relations(self.tables) if "features" in self.tables.there else None

    @cached_property
    def terms(self) -> dict[int, str]:
        """Study number → terms, of the shown studies."""
        if "studies" not in self.tables.there:
            return {}
        return {row["study"]: row["terms"] for row in self.tables.ask("SELECT study, terms FROM studies")}

    @cached_property
    def truths(self) -> Truths | None:
        """Labels of the studies whose activity is known; None without any."""
        return Truths(self.tables) if {"studies", "activity"} <= self.tables.there else None

    @cached_property
    def findings(self) -> list[str]:
        """Findings that the labels of the shown studies tell."""
        if "studies" not in self.tables.there:
            return []
        rows = self.tables.ask("SELECT DISTINCT labels FROM studies WHERE labels IS NOT NULL")
        return sorted({name for row in rows for name in read_object(row["labels"])})

    @cached_property
    def label_summary(self) -> dict[str, Any] | None:
        """Counts of labels by concept and polarity."""
        main = self.list.main if self.list is not None else None
        labels = Labels(None, None, reasoning=False)
        labels.main = main
        return label_summary(self.data, labels) if main else None

    def missing(self, *places: str) -> list[Missing]:
        """What is missing in parts of the page."""
        return [one for one in self.data.missing if not places or one.where in places]

    def may_show(self, study: int) -> bool:
        return int(study) in self.shown.numbers


class LiveRun:
    """The view of a run, made anew when the run has changed.

    Args:
        run_dir: an existing folder; whether it holds a run is found out each time.
    """

    def __init__(self, run_dir: Path, sae_name: str, with_credentialed_data: bool) -> None:
        self.run_dir, self.sae_name = run_dir, sae_name
        self._credentialed = with_credentialed_data
        self._lock = threading.Lock()
        self._looked = -SECONDS_BETWEEN_LOOKS
        self._seen: Fingerprint | None = None
        self._view: RunView | None = None
        self._problem = ""

    def current(self) -> RunView:
        """The view of the run as it is now.

        Raises:
            InputError: the directory is no run, of another version, or damaged; the message says which.
        """
        with self._lock:
            now = time.monotonic()
            if now - self._looked >= SECONDS_BETWEEN_LOOKS:
                self._looked = now
                seen = fingerprint(self.run_dir, self.sae_name)
                if seen != self._seen:
                    self._open()
                    self._seen = seen
            if self._view is None:
                raise InputError(self._problem)
            return self._view

    def close(self) -> None:
        """Let go of the tables; nothing may be asked afterwards."""
        with self._lock:
            if self._view is not None:
                self._view.tables.close()
            self._view, self._problem, self._looked = None, "the dashboard was closed.", float("inf")

    def _open(self) -> None:
        """The old view is not closed: somebody may be asking it; it goes when nobody does."""
        try:
            self._view = RunView(self.run_dir, self.sae_name, self._credentialed)
            threading.Thread(target=self._view.warm, daemon=True).start()
        except (InputError, duckdb.Error, ValueError, KeyError, TypeError, OSError) as error:
            known = isinstance(error, InputError)
            self._view = None
            self._problem = str(error) if known else f"the run cannot be read ({type(error).__name__})."
