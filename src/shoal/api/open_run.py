"""Any code as an experiment: open a run, and train it in a loop of one's own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from shoal.assembly import Screen
from shoal.assembly.opened import OpenRun
from shoal.assembly.opening import OpenedRun, Opening, identifying
from shoal.assembly.program import calling
from shoal.assembly.source import digest, qualified_name
from shoal.files import expanded, safe_name
from shoal.recipe import parse
from shoal.recipe.config import identity, plain, seed_of


def open_run(
    config: Any,
    *,
    runs: str | Path = "runs",
    exclude: Iterable[str] = (),
    program: str | None = None,
    identity_of: Iterable[Callable[..., Any]] = (),
    again: bool = False,
    quiet: bool = False,
    checkpoint_every: int | None = None,
    tensorboard: bool = False,
    wandb: bool = False,
    wandb_project: str | None = None,
) -> AbstractContextManager[OpenRun]:
    """Open the run that a config describes, for the block in which a program of yours trains it.

    The block has what `shoal.train` gives a recipe: a folder, a lock, resuming with the same bits, signals, history.

    >>> with open_run({"name": "line", "lr": 0.1}, program="line", runs=folder) as run:    # doctest: +SKIP
    ...     model = nn.Linear(1, 1)
    ...     optimizer = torch.optim.SGD(model.parameters(), lr=run.config["lr"])
    ...     run.register(model=model, optimizer=optimizer)
    ...     for epoch in run.epochs(5):
    ...         for x, y in run.batches(inputs, targets, batch_size=32):
    ...             ...
    ...             run.average({"loss": loss})
    ...         run.log({"valid.loss": evaluate(model)})

    - config: a mapping, dataclass, pydantic model or argparse.Namespace; `name` and `seed` in it name the run, and the
      rest identifies the experiment, together with `program`
    - exclude: patterns of keys that do not change the result: ["data_dir", "log.*"]
    - program: the name of the program; by default that of the script or module that calls
    - identity_of: functions and classes whose source is part of identity
    - again: set aside the run that is there, and begin anew
    - checkpoint_every: steps between checkpoints, in place of the clock
    - tensorboard, wandb, wandb_project: copy the history, as the keys of `log` do in a recipe

    The block is left by SystemExit(75) where the run was asked to stop (Ctrl-C, SIGTERM, SIGUSR1); the same program
    then goes on. A run that is finished makes no pass of its loops and writes nothing.

    Raises InputError for what cannot be meant, LiveRunError where another process trains the run.
    """
    frame = inspect.currentframe()
    called = calling(frame.f_back if frame is not None else None, program)
    data = plain(config)
    things = list(identity_of)
    for thing in things:
        qualified_name(thing, "identity_of")
    digests = {"functions": digest(things)} if things else None
    log = {"tensorboard": tensorboard, "wandb": wandb, "wandb_project": wandb_project}
    settings = parse({"checkpoint": {"every": checkpoint_every}, "log": log})
    return OpenedRun(
        Opening(
            config=data,
            identity=identity(identifying(data), program=called.name, exclude=exclude, digests=digests),
            program=called,
            seed=seed_of(data),
            name=safe_name(str(data.get("name", called.name))),
            runs=expanded(runs),
            checkpoint=settings.checkpoint,
            log=settings.log,
            again=again,
            screen=Screen(quiet=quiet),
        )
    )
