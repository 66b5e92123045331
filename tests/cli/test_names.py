"""Names made to lead elsewhere: refused by every command, with nothing changed outside of the runs folder."""

from __future__ import annotations

import hashlib
import io
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.synthetic import make_run, signature

import shoal as package
from shoal.assembly.build import Workshop
from shoal.assembly.objects import Objects
from shoal.errors import InputError, StoreError
from shoal.recipe.compose import compose
from shoal.store import RunFolder, find, resolve

NAMES = ["../outside", "/etc/outside", "a/b", "nul\0", "n" * 300, ".", "..", "-rf", ".hidden", "a b", "é", "$HOME", "~"]
QUICK = ["budget.steps=2", "evaluate.every=2", "model.width=4"]


def tree(top: Path) -> str:
    """Return a digest of everything in a folder: names, kinds, contents, where links lead."""
    found = hashlib.sha256()
    for path in sorted(top.rglob("*")):
        link = path.readlink() if path.is_symlink() else ""
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found.update(f"{path.relative_to(top)} {path.is_dir()} {link} {len(content)}\n".encode() + content)
    return found.hexdigest()


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that is nobody's business: files, and a run of its own."""
    folder = tmp_path / "outside"
    make_run(folder, "digits", history=3)
    (folder / "letter.txt").write_text("dear")
    (folder / "mine.yaml").write_text("seed: 1\n")
    return folder


@pytest.fixture(autouse=True)
def nobody_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))


@pytest.mark.parametrize("name", NAMES)
def test_no_run_is_called_so(name: str, shoal: Any, tmp_path: Path, outside: Path) -> None:
    before = tree(tmp_path)
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    for word in (f"name={name}", f'name="{quoted}"'):
        answer = shoal("train", "digits_mlp", *QUICK, word)
        assert (answer.code, answer.out) == (2, ""), answer.err
        assert "cannot name a folder" in answer.err
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    "command", [["rm", "--yes"], ["show"], ["logs"], ["verify"], ["report"], ["test"], ["predict"]]
)
@pytest.mark.parametrize("name", ["nul\0", "n" * 300, "../../etc", "/etc", "..", "/", "~", "*", "digits*", "[a-z]*"])
def test_no_run_answers_to_it(name: str, command: list[str], shoal: Any, runs: Path, tmp_path: Path) -> None:
    make_run(runs, "digits", history=2)
    before = tree(tmp_path)
    answer = shoal(*command, name)
    assert (answer.code, answer.out) == (2, ""), answer.err
    assert "no run " in answer.err
    assert tree(tmp_path) == before


@pytest.mark.parametrize("word", ["--runs", "SHOAL_RUNS"])
@pytest.mark.parametrize("place", ["n" * 300, "outside/letter.txt", "outside/letter.txt/runs"])
def test_no_folder_of_runs_is_there(
    place: str, word: str, shoal: Any, tmp_path: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree(tmp_path)
    given = [word, place] if word == "--runs" else []
    if not given:
        monkeypatch.setenv(word, place)
    for words in (
        ["train", "digits_mlp", *QUICK],
        ["ls"],
        ["rm", "--yes", "digits"],
        ["show", "digits"],
        ["verify", "--all"],
    ):
        answer = shoal(*words, *given)
        assert (answer.code, answer.out) == (2, ""), answer.err
        assert "--runs DIR" in answer.err
    assert tree(tmp_path) == before


def test_from_python_a_folder_of_runs_that_can_be_none_is_refused() -> None:
    for place in ("nul\0", "n" * 300):
        with pytest.raises(StoreError, match="--runs DIR"):
            package.train("digits_mlp", {"budget.steps": 2}, runs=place, quiet=True)
        with pytest.raises(InputError):
            package.runs(place)
        with pytest.raises(InputError):
            package.load("digits", runs=place)


def test_what_is_deleted_lies_in_the_runs_folder(shoal: Any, runs: Path, tmp_path: Path, outside: Path) -> None:
    make_run(runs, "mine")
    theirs = resolve(outside, "digits")
    (runs / "linked").symlink_to(theirs.path.parent)
    (runs / f"digits-{signature('digits')[:12]}").symlink_to(theirs.path.parent)
    (tmp_path / "elsewhere").symlink_to(theirs.path)
    before = tree(tmp_path)
    for name in (
        str(theirs.path),
        str(theirs.path.relative_to(tmp_path)),
        f"runs/../{theirs.path.relative_to(tmp_path)}",
        "runs/linked",
        "runs/linked/seed-0",
        f"runs/{theirs.label}",
        theirs.label,
        "elsewhere",
        f"{theirs.path}/.",
    ):
        answer = shoal("rm", "--yes", name)
        assert (answer.code, answer.out) == (2, ""), name
        assert tree(tmp_path) == before, name
    assert "lies outside of the runs folder 'runs': nothing was removed" in shoal("rm", "--yes", theirs.path).err
    assert shoal("rm", "--yes", "mine").code == 0
    assert shoal("rm", "--yes", theirs.path, "--runs", outside).code == 0
    assert (outside / "letter.txt").exists()


def test_a_link_within_a_run_is_removed_not_what_it_leads_to(shoal: Any, runs: Path, outside: Path) -> None:
    folder = make_run(runs, "mine")
    folder.checkpoints.symlink_to(outside)
    (folder.path / "train.log").symlink_to(outside / "letter.txt")
    before = tree(outside)
    assert shoal("rm", "--yes", "mine").code == 0
    assert not folder.path.exists()
    assert tree(outside) == before


@pytest.mark.parametrize("linked", ["experiment", "seed", "history.jsonl", "train.log", "checkpoints", "recipe.yaml"])
def test_a_training_does_not_follow_links_out_of_the_runs_folder(
    linked: str, shoal: Any, runs: Path, outside: Path
) -> None:
    words = ["train", "digits_mlp", *QUICK]
    workshop = Workshop(compose(words[1], QUICK), Objects(), runs)
    folder = RunFolder(runs / f"digits_mlp-{workshop.signature[:12]}" / "seed-0")
    target = outside / "letter.txt" if "." in linked else outside
    place = {"experiment": folder.path.parent, "seed": folder.path}.get(linked, folder.path / linked)
    place.parent.mkdir(parents=True)
    place.symlink_to(target)
    before = tree(outside)
    answer = shoal(*words)
    assert (answer.code, answer.out) == (2, ""), answer.err
    assert "a link that leads out of the runs folder 'runs': remove the link, or" in answer.err
    assert tree(outside) == before
    place.unlink()
    assert shoal(*words).code == 0
    assert find(runs, workshop.signature, 0) == folder


@pytest.mark.parametrize("name", ["../outside/mine", "outside/mine", "nul\0", "n" * 300, "/etc/hostname"])
def test_a_preset_is_not_found_by_a_path(name: str, shoal: Any, tmp_path: Path, outside: Path) -> None:
    (tmp_path / "presets").mkdir()
    before = tree(tmp_path)
    answer = shoal("train", name, "--config-dir", "presets")
    assert (answer.code, answer.out) == (2, "")
    assert "unknown preset" in answer.err
    if "\0" not in name:  # no word of a command line can hold it
        answer = shoal("train", "--config-dir", name)
        assert (answer.code, answer.out) == (2, "")
    assert tree(tmp_path) == before
