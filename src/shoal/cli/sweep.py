"""`shoal sweep`: a grid from words or a file, planned, trained on this machine, shown as it goes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from shoal.cli import output, slurm
from shoal.cli.detach import Detached
from shoal.cli.interrupts import heard
from shoal.cli.signals import RESUMABLE
from shoal.cli.sweep_screen import SweepScreen
from shoal.errors import InputError
from shoal.files import safe_name
from shoal.pages.naming import short_keys
from shoal.pages.sweep_table import Look, Row
from shoal.recipe.compose import DEFAULT_PRESET
from shoal.recipe.schema import Recipe
from shoal.store.catalog import as_result
from shoal.sweeps.board import Board, place_of
from shoal.sweeps.driver import Driver, Order, places
from shoal.sweeps.grid import Grid, of_words
from shoal.sweeps.grid_file import FUNCTION, GridFile, is_grid_file, load
from shoal.sweeps.planning import Choice, Planned
from shoal.sweeps.points import Request, compose

FAILED = 1
LOG = "driver.log"
"""What a driver says that has no terminal."""
LONGEST_NAME = 80


@dataclass(frozen=True)
class Asked:
    """What the words of the command line say, before anything is composed."""

    words: Sequence[str]
    zipped: Sequence[Sequence[str]] = ()
    conditional: Sequence[Sequence[str]] = ()
    without: Sequence[Sequence[str]] = ()
    seeds: int | None = None
    name: str | None = None
    config_dir: Path | None = None

    @property
    def settings(self) -> list[str]:
        """The KEY=VALUES among the words."""
        return [word for word in self.words if "=" in word]

    @property
    def named(self) -> list[str]:
        """The others: a preset, a grid file."""
        return [word for word in self.words if "=" not in word]

    def grid(self) -> Grid:
        """The axes that were said."""
        return of_words(
            self.settings, zipped=self.zipped, conditional=self.conditional, without=self.without, seeds=self.seeds
        )


@dataclass(frozen=True)
class How:
    """How it is trained and shown."""

    plan: bool = False
    workers: int | None = None
    threads: int = 1
    choice: Choice = field(default_factory=Choice)
    look: Look = field(default_factory=Look)
    modules: Sequence[str] = ()
    detach: bool = False
    json: bool = False


def run(asked: Asked, how: How, *, runs: Path) -> int:
    """Do it; return the exit code: 0 all done, 1 some failed, 75 stopped and resumable."""
    files = [word for word in asked.named if is_grid_file(word)]
    presets = [word for word in asked.named if not is_grid_file(word)]
    if len(files) + len(presets) > 1 and not (len(files) == 1 and len(presets) == 1):
        raise InputError(
            f"expected one grid file or one preset, found {', '.join(asked.named)}. Settings are KEY=V1,V2."
        )
    grid = asked.grid()  # what is misspelt is said before a worker is started
    file = load(files[0]) if files else None
    name = safe_name(asked.name or _name(file, presets, grid), "sweep")
    detached = Detached.begin() if how.detach else None
    command = ["shoal", *sys.argv[1:]]
    order = Order(runs, name, command, how.modules, how.workers, how.threads, how.choice)
    screen = SweepScreen(sys.stderr if how.json else sys.stdout, how.look)
    _crowd(how, screen)
    driver = Driver.start(order, screen.say, at_once=1 if how.plan or file is not None else grid.size)
    try:
        request = _request(asked, grid, file, presets, how.modules)
        wanted = driver.identified(request)
        todo, found = driver.planned(wanted)
        screen.plan(name, todo, workers=min(len(driver.places), max(1, len(todo.todo))))
        if how.plan:
            if how.json:
                output.results({"run": each.point.run, **_named(each), "doing": each.doing} for each in todo.planned)
            return 0

        def begun() -> None:
            if detached is not None:
                detached.let_go(name, runs, place_of(runs, name).path / LOG)
                screen.quiet = True

        with heard(driver):
            board = driver.train(wanted, todo, found, screen.show, begun=begun)
        rows = board.rows(driver.now)
        screen.end(rows)
        if said := slurm.requeue(driver.stopped):
            screen.say(said)
        if how.json:
            _print(board, rows)
        return _code(driver, [row.status for row in rows])
    finally:
        try:
            screen.close()
        finally:
            driver.close()


def _request(
    asked: Asked, grid: Grid, file: GridFile | None, presets: Sequence[str], modules: Sequence[str]
) -> Request:
    from shoal.recipe import compose as recipes  # noqa: PLC0415 Hydra, while the first worker imports torch
    from shoal.recipe.flat import flat  # noqa: PLC0415

    if modules:
        from shoal.assembly.registry import import_modules  # noqa: PLC0415 torch, as the modules do

        import_modules(modules)
    if file is not None and file.base is not None and presets:
        raise InputError(f"{file.path} has a base of its own: leave out {presets[0]}.")
    base = _base(file, presets, asked.config_dir)
    base = recipes.parse(recipes.apply(base.mapping(), list(grid.fixed.items()), config_dir=asked.config_dir))
    free = replace(grid, fixed={})
    ground = flat(base.mapping())
    if file is None:
        return compose(base, free.points(ground))
    inner = file.points(base)
    said = ({**point, **grid.fixed} for point in inner)
    return compose(base, ({**point, **more} for point in said for more in free.points({**ground, **point})))


def _base(file: GridFile | None, presets: Sequence[str], config_dir: Path | None) -> Recipe:
    from shoal.recipe import compose as recipes  # noqa: PLC0415

    base = file.base if file is not None else None
    if isinstance(base, Recipe):
        return base
    if base is not None and not isinstance(base, str):
        from shoal.sweeps.grid_file import dotted  # noqa: PLC0415

        return recipes.parse(recipes.apply({}, list(dotted(base).items()), config_dir=config_dir))
    return recipes.compose(base or (presets[0] if presets else DEFAULT_PRESET), config_dir=config_dir)


def _name(file: GridFile | None, presets: Sequence[str], grid: Grid) -> str:
    """What a sweep is called where nobody says it: its file, or its preset and what varies."""
    if file is not None:
        function = getattr(file.function, "__name__", FUNCTION)
        return file.name if function == FUNCTION else f"{file.name}-{function}"
    axes = [*(axis for group in grid.axes for axis in group), *(axis for _, more in grid.conditional for axis in more)]
    short = short_keys(list(dict.fromkeys(axis.key for axis in axes)))
    varied = [name.replace("/", "-") for name in short.values()] or ["seeds" if grid.seeds else "one"]
    return "-".join([presets[0] if presets else DEFAULT_PRESET, *varied])[:LONGEST_NAME]


def _crowd(how: How, screen: SweepScreen) -> None:
    from shoal.sweeps import machine  # noqa: PLC0415

    cores = len(machine.cores())
    count = len(places(how.workers, how.threads))
    if count * how.threads > cores and not machine.gpus():
        screen.say(
            f"{count} workers of {how.threads} thread{'s' * (how.threads > 1)} share {cores} cores: they wait for one "
            f"another. --workers {max(1, cores // how.threads)} is what fits."
        )


def _named(each: Planned) -> dict[str, object]:
    return {"signature": each.point.signature, "seed": each.point.seed, "values": each.point.values}


def _print(board: Board, rows: Sequence[Row]) -> None:
    """One object a run, as `ls` has them; a run without a folder is told by what the queue knows."""
    results = list[dict[str, object]]()
    for point, row in zip(board.points, rows, strict=True):
        found = board.known.get((point.signature, point.seed))
        if found is not None:
            results.append(as_result(found))
            continue
        told: dict[str, object] = {"run": point.run, "signature": point.signature, "seed": point.seed}
        told |= {"status": row.status, "folder": str(board.runs / point.run), "steps": 0, "metrics": dict[str, float]()}
        results.append(told | ({"reason": row.reason} if row.reason else {}))
    output.results(results)


def _code(driver: Driver, statuses: Sequence[str]) -> int:
    if set(statuses) == {"finished"}:
        return 0
    if driver.queue is not None and driver.queue.stopping:
        return RESUMABLE
    if any(status in ("failed", "unreadable", "killed") for status in statuses):
        return FAILED
    return RESUMABLE if "stopped" in statuses else 0
