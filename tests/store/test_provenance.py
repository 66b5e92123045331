from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from shoal.store.provenance import collect, command


def test_what_is_collected_is_plain_and_nameless(tmp_path: Path) -> None:
    found = collect(["shoal", "train"], tmp_path)
    assert set(found) == {"host", "python", "platform", "versions", "command", "git"}
    assert found["git"] is None
    assert found["command"] == "shoal train"
    assert found["versions"]["numpy"]
    assert found["python"] == sys.version.split()[0]


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["shoal", "train", "digits", "optimizer.lr=-1"], "shoal train digits optimizer.lr=-1"),
        (["/opt/bin/shoal", "train", "name=a b"], "shoal train 'name=a b'"),
        (["/x/shoal/__main__.py", "ls"], "python -m shoal ls"),
        (["train.py"], "python train.py"),
        (["exp/gan.py", "lr=0.1"], "python exp/gan.py lr=0.1"),
        ([], ""),
    ],
)
def test_the_command_can_be_pasted(words: list[str], shown: str) -> None:
    assert command(words) == shown


@pytest.mark.parametrize(
    "word",
    [
        "password=hunter2",
        "--api-key=hunter2",
        "log.api_key=hunter2",
        "WANDB_API_KEY=hunter2",
        "hub.token=hunter2",
        "client_secret=hunter2",
        "dataset.path=https://me:hunter2@example.org/data",
        "note=sk-hunter2hunter2",
        "hf_hunter2hunter2",
    ],
)
def test_what_looks_like_a_secret_is_hidden(word: str) -> None:
    shown = command(["shoal", "train", word])
    assert "hunter2" not in shown
    assert "***" in shown


def test_the_value_after_a_secret_option_is_hidden() -> None:
    assert command(["shoal", "--token", "hunter2", "--runs", "x"]) == "shoal --token '***' --runs x"
    assert command(["shoal", "--token", "--runs", "x"]) == "shoal --token --runs x"


@pytest.mark.parametrize("word", ["max_tokens=128", "bypass=1", "author=me", "task.tokens=5", "model.heads=4"])
def test_what_only_sounds_like_a_secret_stays(word: str) -> None:
    assert command(["shoal", word]) == f"shoal {word}"


def test_collecting_imports_none_of_the_packages_whose_versions_it_tells(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from shoal.store.provenance import collect; "
        "collect(sys.argv, Path('.')); print({'torch', 'numpy', 'pydantic'} & set(sys.modules))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert answer.stdout == "set()\n"
