from __future__ import annotations

import os
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from shoal.cli import main
from tests.faults.attempts import POINTS, QUICK, Attempt
from tests.faults.chaos import result

Start = Callable[..., Attempt]
"""Start `shoal WORDS` with variables in its environment; its output goes to files unless `out` or `err` is given."""


@pytest.fixture(scope="session", autouse=True)
def outside_of_slurm() -> Generator[None]:
    """Where these tests are a job of Slurm's themselves, that one is not to be put back into its queue."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("SLURM_")]:
            patch.delenv(name)
        yield


@pytest.fixture
def start(tmp_path: Path) -> Generator[Start]:
    started: list[Attempt] = []

    def start(*words: str, out: Path | None = None, err: Path | None = None, **environment: str) -> Attempt:
        number = len(started)
        names = (out or tmp_path / f"out-{number}", err or tmp_path / f"err-{number}")
        started.append(Attempt(words, *names, environment))
        return started[-1]

    yield start
    for attempt in started:
        attempt.kill()


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the quick run ends with when nobody disturbs it."""
    runs = tmp_path_factory.mktemp("alone")
    assert main(["train", *QUICK, "--runs", str(runs)]) == 0
    return result(runs)


@pytest.fixture(scope="session")
def points(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a run on points that are in no trouble ends with."""
    where = tmp_path_factory.mktemp("points")
    attempt = Attempt(["train", *POINTS, "--runs", str(where / "runs")], where / "out", where / "err", {})
    assert attempt.end() == 0
    return result(where / "runs")
