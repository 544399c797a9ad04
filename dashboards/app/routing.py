"""From the address to the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote

import duckdb
from dash import html

from dashboards.app import parts
from dashboards.app.layout import problem_page
from dashboards.app.notes import Notes
from dashboards.app.pages import feature, features, history, overview, search, steering, studies, study
from dashboards.app.sense import Sense
from dashboards.app.view import Helpers, LiveRun, RunView
from dashboards.tables import UnreadableError
from radiology.errors import InputError


@dataclass(frozen=True)
class Context:
    """What every page may use.

    Attributes:
        view: the run as it is now.
        notes: notes and tags.
        helpers: what other rooms can do.
        sense: search by meaning, None where no embedder is installed.
        query: of the address.
        live: whether the run's model may be steered from here.
    """

    view: RunView
    notes: Notes
    helpers: Helpers
    sense: Sense | None
    query: Mapping[str, str]
    live: bool


PAGES = {
    "": overview.page,
    "features": features.page,
    "feature": feature.page,
    "studies": studies.page,
    "study": study.page,
    "steering": steering.page,
    "search": search.page,
    "history": history.page,
}


class Router:
    """Makes pages.

    Args:
        live_run: the run.
        helpers: what other rooms can do.
    """

    def __init__(self, live_run: LiveRun, helpers: Helpers) -> None:
        self._run, self._helpers = live_run, helpers
        self.notes = Notes(live_run.run_dir / "sae" / live_run.sae_name)
        self._sense = Sense(helpers.embed) if helpers.embed else None

    def context(self, search: str | None = "") -> Context:
        """What pages use, for the query of an address.

        Raises:
            InputError: the run cannot be opened.
        """
        query = dict(parse_qsl((search or "").lstrip("?"), max_num_fields=50))
        live = self._helpers.steer is not None
        return Context(self._run.current(), self.notes, self._helpers, self._sense, query, live)

    def page(self, path: str | None, search: str | None) -> Any:
        """The page of an address; whatever fails becomes a page that says so."""
        name, _, rest = (path or "/").strip("/").partition("/")
        try:
            context = self.context(search)
        except InputError as error:
            return _no_run(str(error), self._run)
        except ValueError:
            return problem_page("Not understood", parts.muted("The address has too many fields."))
        make = PAGES.get(name)
        if make is None:
            return problem_page("No such page", html.P(["There is no page here. ", parts.link("/", "Overview")]))
        try:
            return make(context, unquote(rest))
        except InputError as error:
            return problem_page("Not possible", html.P(str(error)))
        except (duckdb.Error, UnreadableError) as error:
            return _damaged(context, error)


def _no_run(message: str, run: LiveRun) -> html.Div:
    commands = html.P(
        [
            "A run is made by ",
            html.Code("interp demo"),
            " or begun by ",
            html.Code(f"interp cache --run {run.run_dir.name}"),
        ]
    )
    return problem_page(
        "There is no run to show", html.Div([html.P(message), commands], className="missing", role="note")
    )


def _damaged(context: Context, error: Exception) -> html.Div:
    """A table that could be opened but not read."""
    name = type(error).__name__
    text = f"A table of this run could not be read ({name}). It may be damaged, or is being written right now."
    command = context.view.data.command("index --redo")
    again = html.P(["If it stays so, make it again with ", html.Code(command)])
    return problem_page(
        "Part of the run cannot be read", html.Div([html.P(text), again], className="missing", role="note")
    )
