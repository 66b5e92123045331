"""Options and arguments that several commands share, declared once."""

from __future__ import annotations

from pathlib import Path

import click

runs = click.option(
    "--runs",
    type=click.Path(path_type=Path),
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
