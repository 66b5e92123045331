from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from shoal.store import git

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")

Git = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Git:
    """Run git in a repository with one commit, under nobody's configuration."""
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    repository = tmp_path / "repository"
    repository.mkdir()

    def git_command(*words: str) -> str:
        who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
        return subprocess.run(["git", *who, *words], cwd=repository, check=True, capture_output=True, text=True).stdout

    git_command("init", "--quiet", "--initial-branch=main")
    (repository / "code.py").write_text("one = 1\n")
    (repository / "latin.txt").write_bytes(b"caf\xe9\n")
    (repository / "picture.bin").write_bytes(bytes(range(256)))
    git_command("add", ".")
    git_command("commit", "--quiet", "-m", "first")
    return git_command


@pytest.fixture
def repository(tmp_path: Path, run: Git) -> Path:
    return tmp_path / "repository"


def test_outside_a_repository_there_is_nothing(tmp_path: Path) -> None:
    assert git.state(tmp_path) is None
    assert git.code_patch(tmp_path) is None


def test_the_state_is_commit_branch_and_whether_it_is_dirty(repository: Path, run: Git) -> None:
    commit = run("rev-parse", "HEAD").strip()
    assert git.state(repository) == {"commit": commit, "branch": "main", "dirty": False}
    (repository / "new.py").write_text("")
    run("checkout", "--quiet", "--detach")
    assert git.state(repository) == {"commit": commit, "branch": None, "dirty": True}


def test_where_nothing_changed_there_is_no_patch(repository: Path) -> None:
    assert git.code_patch(repository) is None


def test_the_patch_restores_the_source_from_the_commit(repository: Path, run: Git, tmp_path: Path) -> None:
    (repository / "package").mkdir()
    (repository / "code.py").write_text("one = 2\n")
    (repository / "latin.txt").write_bytes(b"th\xe9\n")
    (repository / "picture.bin").write_bytes(bytes(reversed(range(256))))
    (repository / "package" / "with space é.py").write_text("new = True\n")
    (repository / "staged.py").write_text("staged = True\n")
    run("add", "staged.py")
    before = run("status", "--porcelain"), (repository / ".git" / "index").read_bytes()
    patch = git.code_patch(repository / "package")
    assert patch is not None
    assert (run("status", "--porcelain"), (repository / ".git" / "index").read_bytes()) == before
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(repository), str(clone)], check=True)
    subprocess.run(["git", "apply", "-"], cwd=clone, input=patch, check=True)
    for name in ("code.py", "latin.txt", "picture.bin", "package/with space é.py", "staged.py"):
        assert (clone / name).read_bytes() == (repository / name).read_bytes(), name


def test_before_the_first_commit_the_patch_is_the_whole_source(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    (tmp_path / "code.py").write_text("one = 1\n")
    assert git.state(tmp_path) is None
    assert b"+one = 1" in (git.code_patch(tmp_path) or b"")


def test_what_is_no_source_stays_out(repository: Path) -> None:
    (repository / "runs").mkdir()
    for name, content in {
        ".env": b"TOKEN=hunter2\n",
        "server.pem": b"hunter2\n",
        "id_rsa": b"hunter2\n",
        "weights.bin": b"hunter2\0",
        "data.csv": b"hunter2\n" * 200_000,
        "runs/run.json": b"hunter2\n",
        "ignored.txt": b"hunter2\n",
        ".gitignore": b"ignored.txt\n",
    }.items():
        (repository / name).write_bytes(content)
    (repository / "link.txt").symlink_to("/etc/hostname")
    patch = git.code_patch(repository, exclude=[repository / "runs"])
    assert patch is not None
    assert b"+ignored.txt" in patch
    assert b"hunter2" not in patch
    assert b"link.txt" not in patch


def test_a_change_that_is_too_large_is_said(repository: Path) -> None:
    (repository / "code.py").write_text("two = 2\n")
    (repository / "new.py").write_text("x = 1\n" * 1000)
    patch = git.code_patch(repository, 2000)
    assert patch is not None
    assert patch.startswith(b"The change is larger than 2,000 bytes: its 1 untracked files were left out.\n")
    assert b"+two = 2" in patch
    assert git.code_patch(repository, 10) == b"The change is larger than 10 bytes: it was not recorded.\n"


def test_nothing_that_the_repository_configures_is_run(repository: Path, run: Git, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\ncat\n")
    trap.chmod(0o755)
    run("config", "diff.external", str(trap))
    run("config", "diff.evil.textconv", str(trap))
    run("config", "core.fsmonitor", str(trap))
    run("config", "core.pager", str(trap))
    (repository / ".gitattributes").write_text("*.py diff=evil\n")
    (repository / "code.py").write_text("two = 2\n")
    patch = git.code_patch(repository)
    assert patch is not None
    assert b"+two = 2" in patch
    assert git.state(repository) is not None
    assert not (tmp_path / "sprung").exists()


def test_a_git_that_hangs_or_is_missing_fails_nothing(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (repository / "code.py").write_text("two = 2\n")
    monkeypatch.setattr(git, "TIMEOUT_SECONDS", 1e-6)
    assert git.code_patch(repository) is None
    assert git.state(repository) is None
    monkeypatch.undo()
    monkeypatch.setenv("PATH", "/nowhere")
    assert git.code_patch(repository) is None
    assert git.state(repository) is None
