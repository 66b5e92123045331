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


class Gathering(click.Command):
    """A command some of whose options take all the KEY=VALUE words behind them: `--zip a=1,2 b=3,4`."""

    GATHERED = ("--zip", "--if", "--without")
    SIGNS = ("=", "<", ">")
    BETWEEN = "\x1f"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Make one value of the words behind such an option."""
        words, left = list[str](), list(args)
        while left:
            word = left.pop(0)
            option, equals, first = word.partition("=")
            words.append(option if option in self.GATHERED else word)
            if option in self.GATHERED:
                taken = [first] if equals else []
                while left and self._belongs(left[0], option):
                    taken.append(left.pop(0))
                words += [self.BETWEEN.join(taken)] if taken else []
        return super().parse_args(ctx, words)

    def _belongs(self, word: str, option: str) -> bool:
        """Whether a word is one of those behind an option; a condition has no list of values."""
        setting = not word.startswith("-") and any(sign in word for sign in self.SIGNS)
        return setting and not (option == "--without" and "," in word)

    @classmethod
    def split(cls, values: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
        """Return the words of each use of such an option."""
        return tuple(tuple(value.split(cls.BETWEEN)) for value in values)


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
