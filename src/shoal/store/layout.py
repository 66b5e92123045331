"""What a run is called and where its files lie; reads and writes nothing.

RUNS/<name>-<first 12 digits of the signature>/seed-<n>/{recipe.yaml, run.json, history.jsonl, ...}
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

PREFIX = 12
"""Hex digits of a signature that a folder shows; more where two signatures begin with the same ones."""

SIGNATURE = re.compile(r"[0-9a-f]{32}")
EXPERIMENT = re.compile(r"(?P<name>.+)-(?P<prefix>[0-9a-f]{12,32})")
SEED = re.compile(r"seed-(?P<seed>0|[1-9][0-9]*)")
SET_ASIDE = re.compile(rf"{SEED.pattern}\.aside-[1-9][0-9]*")

INDEX = ".index.json"
OURS = frozenset({INDEX, ".lock", ".sweeps"})
"""What may lie in a runs folder beside the runs."""

FILES = frozenset(
    {
        "checkpoints",
        "code.patch",
        "history.jsonl",
        "lock",
        "notes.json",
        "notes.lock",
        "recipe.yaml",
        "reserve",
        "run.json",
        "samples",
        "tensorboard",
        "timing.jsonl",
        "train.log",
        "wandb",
    }
)
"""What may lie in a run's folder."""


@dataclass(frozen=True)
class RunId:
    """One experiment with one seed; the name is for people, the signature and the seed identify."""

    name: str
    signature: str
    seed: int

    @property
    def label(self) -> str:
        """What screens call the run.

        >>> RunId("digits", "0123456789abcdef0123456789abcdef", 3).label
        'digits-0123456789ab/seed-3'
        """
        return f"{self.name}-{self.signature[:PREFIX]}/seed-{self.seed}"


@dataclass(frozen=True)
class RunFolder:
    """The paths of one run's files; the folder need not exist."""

    path: Path

    @property
    def label(self) -> str:
        """What screens call the run: the last two parts of its path."""
        parts = self.path.parts if len(self.path.parts) > 1 else self.path.absolute().parts
        return "/".join(parts[-2:])

    @property
    def recipe(self) -> Path:
        """The full resolved recipe."""
        return self.path / "recipe.yaml"

    @property
    def record(self) -> Path:
        """Status, plan, result and provenance."""
        return self.path / "run.json"

    @property
    def reserve(self) -> Path:
        """Room on the disk for the last word in the record; there while the run is trained."""
        return self.path / "reserve"

    @property
    def history(self) -> Path:
        """Metrics by step; the same bytes whenever the run is repeated."""
        return self.path / "history.jsonl"

    @property
    def timing(self) -> Path:
        """Wall-clock times and rates by step, which no two runs share."""
        return self.path / "timing.jsonl"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoint folders."""
        return self.path / "checkpoints"

    @property
    def samples(self) -> Path:
        """Predictions of the final weights, for pages to show."""
        return self.path / "samples"

    @property
    def tensorboard(self) -> Path:
        """The folder of event files: a copy of the history, and what else TensorBoard shows."""
        return self.path / "tensorboard"

    @property
    def notes(self) -> Path:
        """Tags and a note that people gave the run."""
        return self.path / "notes.json"

    @property
    def wandb(self) -> Path:
        """The folder of a copy for Weights & Biases."""
        return self.path / "wandb"

    @property
    def log(self) -> Path:
        """What the terminal showed."""
        return self.path / "train.log"

    @property
    def patch(self) -> Path:
        """The uncommitted change that the run was started with."""
        return self.path / "code.patch"

    @property
    def lock(self) -> Path:
        """Held while the run is live. Nothing but `store.lock` may open it: closing it anywhere drops the lock."""
        return self.path / "lock"
