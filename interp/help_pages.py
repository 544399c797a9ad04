"""``docs/cli.md`` from the help of the commands: ``python -m interp.help_pages > docs/cli.md`` (or ``make docs``)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import typer

from interp.cli import app

WIDTH = 100
INTRODUCTION = """# Command line

Written by `make docs` from the help of the commands; `interp COMMAND --help` says the same.
"""


def pages() -> str:
    """The whole page as Markdown."""
    parts = [INTRODUCTION]
    for name, text in helps():
        parts.append(f"## `{name}`\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


def helps() -> Iterator[tuple[str, str]]:
    """(name, help text) of the program and of every command, groups opened."""
    yield from _helps(typer.main.get_command(app), "interp", None)


def _helps(command: Any, name: str, parent: Any) -> Iterator[tuple[str, str]]:
    context = command.context_class(command, info_name=name.split()[-1], parent=parent, terminal_width=WIDTH)
    context.max_content_width = WIDTH
    lines = command.get_help(context).splitlines()
    yield name, "\n".join(line.rstrip() for line in lines)
    for child_name, child in getattr(command, "commands", {}).items():
        yield from _helps(child, f"{name} {child_name}", context)


if __name__ == "__main__":
    sys.stdout.write(pages())
