"""A run of Weights & Biases: a copy of a run's config, history and result, in its service or offline in its folder.

Its id is the run's identity. It is never appended to by a later attempt: whatever is resumed begins it anew under the
same id with the history as it was cut, so that each step is there once. W&B's mode, entity and key are those of its
own variables (WANDB_MODE, WANDB_ENTITY, WANDB_API_KEY). Whatever it raises, the training goes on. Nothing of the
machine or the environment is sent.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from math import nan
from typing import Any, cast

from shoal.errors import InputError, said
from shoal.recipe import yaml_text
from shoal.store import RunFolder, read_journal, record

EXIT_CODES = {"finished": 0, "stopped": 75}
"""What W&B is told of how a run ended; 1 for any other status."""
WAIT_SECONDS = 30
"""For how long the end of a training waits for what is still to be sent, and its beginning for an answer."""


def check_wandb() -> None:
    """Raise InputError where W&B is not installed."""
    if find_spec("wandb") is None:
        raise InputError(
            "log.wandb = true: Weights & Biases is not installed: pip install 'shoal[wandb]'; or leave log.wandb out: "
            "history.jsonl and 'shoal report' have all of it."
        )


class WandbRun:
    """The copy of one run; `say` tells what could not be done."""

    def __init__(self, folder: RunFolder, project: str | None, say: Callable[[str], None]) -> None:
        self.folder, self.project, self.say = folder, project, say
        self.facts = record.read(folder)
        self.id = f"{self.facts['signature']}-{self.facts['seed']}"
        self._run: Any = None

    def begin(self) -> None:
        """Begin the copy with all of the history as it stands; without an answer from the service, offline."""
        self._end(1)
        old = [*self.folder.wandb.glob(f"*run-*-{self.id}")]
        self._run = self._started(None) or self._started("offline")
        for row in read_journal(self.folder.history)[0]:
            self.row(row)
        if self._run is not None:
            for path in old:
                shutil.rmtree(path, ignore_errors=True)

    def row(self, row: Mapping[str, Any]) -> None:
        """Copy a row; null is NaN."""
        values = {name: nan if value is None else value for name, value in row.items() if name != "step"}
        self._guarded(lambda: self._run.log(values, step=int(row["step"])))

    def close(self) -> None:
        """Write the result, and how the run ended."""
        facts = record.read(self.folder)
        final: Mapping[str, Any] = facts.get("metrics") or {}
        self._guarded(lambda: self._run.summary.update({f"final/{name}": value for name, value in final.items()}))
        self._end(EXIT_CODES.get(str(facts.get("status")), 1))

    def _end(self, code: int) -> None:
        self._guarded(lambda: self._run.finish(exit_code=code))
        self._run = None

    def _started(self, mode: str | None) -> Any:
        try:
            return self._init(mode)
        except Exception as error:  # noqa: BLE001 it raises its own and those of what it is made of
            how = "its copy is kept offline; 'wandb sync' uploads it" if mode is None else "no copy is kept for it"
            self.say(f"Weights & Biases could not be begun ({said(error)}): {how}. The run itself goes on.")
            return None

    def _init(self, mode: str | None) -> Any:
        wandb: Any = import_module("wandb")
        settings = wandb.Settings(
            silent=True,
            console="off",
            init_timeout=WAIT_SECONDS,
            finish_timeout=WAIT_SECONDS,
            disable_git=True,
            disable_code=True,
            x_disable_stats=True,
            x_disable_meta=True,
            x_disable_machine_info=True,
            x_save_requirements=False,
        )
        config = cast(dict[str, Any], yaml_text.load(self.folder.recipe.read_bytes(), str(self.folder.recipe)))
        return wandb.init(
            id=self.id,
            name=self.folder.label,
            group=self.folder.path.absolute().parent.name,
            project=self.project,
            config=config,
            dir=str(self.folder.path),  # within which it makes the folder wandb
            mode=mode,
            reinit="create_new",
            settings=settings,
        )

    def _guarded(self, action: Callable[[], object]) -> None:
        """Do what may fail for reasons of W&B's, or of the network; say so and train on without it."""
        if self._run is None:
            return
        try:
            action()
        except Exception as error:  # noqa: BLE001 it raises its own and those of what it is made of
            self._run = None
            self.say(f"no more is sent to Weights & Biases ({said(error)}). The run itself goes on.")
