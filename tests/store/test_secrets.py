"""Nothing secret is recorded with a run: neither of its command, its source nor its environment."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from tests.store.test_git import Git
from tests.store.test_git import repository as repository
from tests.store.test_git import run as run

import shoal
from shoal.errors import InputError
from shoal.store import git
from shoal.store.provenance import collect, command
from shoal.store.secrets import HIDDEN, KEY, pattern, refuse_secret

TOKEN = "V3ry-S3cret-T0ken-of-mine"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_API_KEY", "HUB_TOKEN", "PGPASSWORD", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, f"{TOKEN}-{name}")
    monkeypatch.setenv("OTHER", "an ordinary value of the environment")
    monkeypatch.setenv("SHORT_TOKEN", "run")


@pytest.mark.parametrize(
    "words",
    [
        ["note=token=hunter2"],
        ["a text with password=hunter2 in it"],
        ["https://example.org/data?api_key=hunter2&x=1"],
        ["https://example.org/data?x=1&access_token=hunter2"],
        ["log.url=https://example.org/?token=hunter2"],
        ["--db-password", "hunter2"],
        ["dbpassword=hunter2"],
        [f"name=x-{TOKEN}-HUB_TOKEN"],
        [f"{TOKEN}-PGPASSWORD"],
    ],
    ids=lambda words: " ".join(words)[:40],
)
def test_the_command_is_recorded_without_it(words: list[str]) -> None:
    shown = command(["shoal", "train", "digits", *words])
    assert shown.startswith("shoal train digits ")
    assert "hunter2" not in shown
    assert TOKEN not in shown
    assert HIDDEN in shown


def test_nothing_of_the_environment_is_recorded(tmp_path: Path) -> None:
    text = str(collect(["shoal", "train", f"x={TOKEN}-WANDB_API_KEY"], tmp_path))
    assert TOKEN not in text
    assert "an ordinary value" not in text
    assert command(["shoal", "run"]) == "shoal run", "short values are words, too"


def test_the_change_to_the_source_is_recorded_without_it_and_applies(
    repository: Path, run: Git, tmp_path: Path
) -> None:
    (repository / "old.py").write_text("key = 'sk-1234567890abcdefghij1234567890'\nname = 1\n")
    (repository / ".env").write_text("A=1\n")
    run("add", "--force", ".")
    run("commit", "--quiet", "-m", "a mistake")
    lines = [
        f"token = '{TOKEN}-HUB_TOKEN'",
        "other = 'ghp_1234567890abcdefghij1234567890abcd'",
        "login(password=password, token=token)",
        "sk_learn_like_name = hf_model_name(1)",
        "\x0c\x85 odd \u2028 ends",
    ]
    (repository / "code.py").write_bytes("\n".join(lines).encode())
    (repository / "latin.txt").write_bytes(f"\xe9 {TOKEN}-HUB_TOKEN\n".encode("latin-1"))
    (repository / "old.py").write_text("name = 2\n")
    (repository / ".env").write_text(f"HUB_TOKEN={TOKEN}\n")
    for name in ("deep/.env.local/x", "deep/Credentials.json", "deep/host.KEY", "id_rsa"):
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text("hunter2\n")
    patch = git.code_patch(repository)
    assert patch is not None
    added = b"\n".join(line for line in patch.split(b"\n") if line.startswith(b"+"))
    assert TOKEN.encode() not in patch
    assert b"ghp_" not in added
    assert b"hunter2" not in patch
    assert b"+token = '***'" in patch
    assert b"+login(password=password, token=token)" in patch
    assert b"+sk_learn_like_name = hf_model_name(1)" in patch
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(repository), str(clone)], check=True)
    subprocess.run(["git", "apply", "-"], cwd=clone, input=patch, check=True)
    expected = re.sub(rf"{TOKEN}-HUB_TOKEN|ghp_\w+", HIDDEN, "\n".join(lines))
    assert (clone / "code.py").read_bytes() == expected.encode()
    assert (clone / "latin.txt").read_bytes() == b"\xe9 ***\n"
    assert (clone / "old.py").read_text() == "name = 2\n"


@pytest.mark.parametrize(
    "name",
    [
        "hf_abCDefGHijKLmnOPqrSTuvWXyz012345",
        "x-ghp_1234567890abcdefghij1234567890abcd",
        "my_sk-proj-T3BlbkFJ-abcdefghij1234567890",
        "glpat-1x2y3z4a5b6c7d8e9f0g",
        "xoxb-123456789012-1234567890123-AbCdEfGhIjKlMnOpQrStUvWx",
        "AKIAIOSFODNN7EXAMPLE",
        f"run-{TOKEN}-HUB_TOKEN",
    ],
)
def test_a_name_that_looks_like_one_is_refused_and_not_repeated(name: str) -> None:
    with pytest.raises(InputError, match=r"^name: it looks like a token .* Choose another") as raised:
        refuse_secret(name)
    assert name not in str(raised.value)


@pytest.mark.parametrize(
    "name",
    [
        *("digits", "sk-baseline-2024", "hf_finetune_large_batch_128", "hf-internal-testing-tiny-random-gpt2"),
        *("sk_learn_like_name", "run", "task-1234567890abcdefghij", "gho_regularisation_reparametrisation", "sk-1"),
    ],
)
def test_a_name_of_words_is_not(name: str) -> None:
    refuse_secret(name)


def test_nothing_is_made_for_a_run_with_such_a_name(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    with pytest.raises(InputError, match="it looks like a token"):
        shoal.train("digits_mlp", {"budget.steps": 2}, name=f"x-{TOKEN}-HUB_TOKEN", runs=runs, quiet=True)
    assert not runs.exists()


@pytest.mark.parametrize(
    "name", ["HF_TOKEN", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY", "MYSQL_PASSWORD", "github-token"]
)
def test_variables_that_hold_secrets_are_known_by_their_names(name: str) -> None:
    assert KEY.search(name)
    assert pattern(environment={name: "x" * 8}).search("x" * 8)


@pytest.mark.parametrize(
    "name", ["HOME", "PWD", "PATH", "SSH_AUTH_SOCK", "XAUTHORITY", "TOKENIZERS_PARALLELISM", "KEYS"]
)
def test_other_variables_are_not(name: str) -> None:
    assert not KEY.search(name)
