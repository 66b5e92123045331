"""Progress in a notebook, in a stand-in for IPython; tests/examples runs a real kernel."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from shoal.assembly import Screen, notebook
from shoal.assembly.notebook import in_notebook


class Handle:
    def __init__(self, shown: list[str]) -> None:
        self.shown = shown

    def update(self, content: str) -> None:
        self.shown.append(content)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Pretend that a kernel runs; return what is displayed."""
    found: list[str] = []

    def display(content: str, *, display_id: bool) -> Handle:
        assert display_id
        found.append(content)
        return Handle(found)

    shell = types.SimpleNamespace(kernel=object())
    fake: Any = types.ModuleType("IPython")
    fake.get_ipython = lambda: shell
    fake_display: Any = types.ModuleType("IPython.display")
    fake_display.display, fake_display.HTML = display, str
    fake.display = fake_display
    monkeypatch.setitem(sys.modules, "IPython", fake)
    monkeypatch.setitem(sys.modules, "IPython.display", fake_display)
    return found


def test_here_is_no_notebook_and_ipython_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "IPython"]:
        monkeypatch.delitem(sys.modules, name)
    assert not Screen().notebook
    assert "IPython" not in sys.modules


def test_a_shell_without_a_kernel_is_no_notebook(shown: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert in_notebook()
    for shell in (None, object()):
        monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda shell=shell: shell)
        assert not in_notebook()


def row(step: int) -> dict[str, float]:
    return {"step": step, "epoch": step / 10, "lr": 0.1, "valid.loss": 1 / step}


def test_rows_go_into_the_display_a_few_times_a_second(
    shown: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(notebook.time, "monotonic", lambda: now[0])
    screen = Screen()
    screen.say("training")
    screen.begin(step=0, total=100)
    for step in range(1, 101):
        now[0] += 0.01
        screen.row(row(step))
        screen.progress(step)
    screen.end()
    assert 4 <= len(shown) <= 1 + 4 + 1  # as it begins, at most 4 a second, as it ends
    assert "step 100 of 100 in 1.0 s" in shown[-1]
    assert "valid.loss <b>0.0100</b>" in shown[-1]
    assert "100 steps/s" in shown[2]
    screen.row(row(100))
    screen.close()
    out, _ = capsys.readouterr()
    assert out.splitlines()[0] == "training"
    assert out.count("\n") == 2


def test_a_quiet_training_and_one_to_a_stream_of_its_own_show_no_display(shown: list[str], tmp_path: Path) -> None:
    with (tmp_path / "out").open("w") as stream:
        for screen in (Screen(quiet=True), Screen(stream)):
            screen.begin(step=0, total=10)
            screen.row(row(5))
            screen.close()
    assert shown == []
    assert "valid.loss" in (tmp_path / "out").read_text()
