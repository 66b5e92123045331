from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from shoal.cli import main


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


Shoal = Callable[..., Answer]


@pytest.fixture
def shoal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shoal:
    """Run a command line in this process, in the test's folder; stdout is no terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SHOAL_RUNS", raising=False)

    def run(*words: str | Path | Sequence[str]) -> Answer:
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return Answer(code, out, err)

    return run


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"
