"""Modules of the user's own, by --module: what they register, and what is said of those that do not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import ShoalCli

OWN = """
import torch
from torch import nn
import shoal

@shoal.model("tiny")
class Tiny(nn.Module):
    def __init__(self, input_shape: tuple[int, ...], outputs: int, hidden: int = 4) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)
"""


@pytest.fixture
def module(tmp_path: Path) -> Callable[[str], None]:
    def write(text: str) -> None:
        (tmp_path / "own.py").write_text(text)

    return write


def test_an_entry_of_ones_own_trains_and_is_tested_again(shoal_cli: ShoalCli, module: Callable[[str], None]) -> None:
    module(OWN)
    words = ["train", "digits_mlp", "budget.steps=5", "--module", "own", "model=tiny", "model.hidden=6"]
    done = shoal_cli(words)
    assert done.returncode == 0, done.stderr
    assert "tiny (460 parameters)" in done.stdout
    assert shoal_cli(["test", "digits_mlp", "--module", "own"]).returncode == 0
    without = shoal_cli(["test", "digits_mlp"])
    assert without.returncode == 2
    assert "--module" in without.stderr


def test_edited_source_is_another_run_and_said_to_be(shoal_cli: ShoalCli, module: Callable[[str], None]) -> None:
    words = ["train", "digits_mlp", "budget.steps=5", "--module", "own", "model=tiny"]
    module(OWN)
    assert shoal_cli(words).returncode == 0
    module(OWN.replace("nn.ReLU()", "nn.Tanh()"))
    done = shoal_cli(words)
    assert done.returncode == 0
    assert "the source of the model changed since digits_mlp-" in done.stdout


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("x = 1\n", "own", "--module own registers nothing: decorate a factory in it with @shoal.model('name')"),
        (OWN + OWN, "own", "the model 'tiny' is registered twice"),
        (OWN.replace('"tiny"', '"mlp"'), "own", "the model 'mlp' is registered twice"),
        (OWN.replace('"tiny"', '"../x"'), "own", "cannot name a folder"),
        (OWN, "owm", "--module owm: there is no such module"),
        (OWN, "owm", "Did you mean --module own?"),
    ],
)
def test_a_module_that_cannot_serve_is_refused(
    shoal_cli: ShoalCli, module: Callable[[str], None], tmp_path: Path, text: str, name: str, message: str
) -> None:
    module(text)
    done = shoal_cli(["train", "digits_mlp", "--module", name, "--json"])
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert message in done.stderr
    assert not (tmp_path / "runs").exists()
