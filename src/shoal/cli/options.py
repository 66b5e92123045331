"""Options and arguments that several commands share, declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


class _Folder(click.Path):
    """A path that names something: an empty one is a variable of the shell that was not set."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path; fails for an empty text."""
        if value == "":
            self.fail("it is empty: expected a folder. Is a variable of the shell not set?", param, ctx)
        return super().convert(value, param, ctx)


runs = click.option(
    "--runs",
    type=_Folder(path_type=Path),
    metavar="DIR",
    default=Path("runs"),
    show_default=True,
    envvar="SHOAL_RUNS",
    help="The folder of runs; the variable SHOAL_RUNS says it too.",
)
json = click.option("--json", is_flag=True, help="One JSON object a result on stdout, and nothing else there.")
verbose = click.option("-v", "--verbose", count=True, help="Say more; -vv still more.")
modules = click.option(
    "--module", "modules", multiple=True, metavar="NAME", help="Import a module of yours with entries; repeatable."
)
run = click.argument("run", metavar="RUN")
words = click.argument("words", nargs=-1, metavar="[KEY=VALUE]...")

RUN_HELP = "RUN is a run's folder, its label or name, or four or more digits of its signature; /seed-N chooses a seed."
SET_HELP = (
    "A is a run, an experiment (all its seeds) or the name of a sweep. A run is named by its folder, its label or "
    "name, or four or more digits of its signature; /seed-N chooses a seed."
)
