from __future__ import annotations

from pathlib import Path

import pytest
from tests.synthetic import make_run, signature

from shoal.errors import StoreError
from shoal.store import resolve, set_aside


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def test_a_run_answers_to_everything_that_names_it(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_run(runs, "digits", 3)
    make_run(runs, "other", 0)
    sign = signature("digits")
    label = f"digits-{sign[:12]}"
    for text in (
        label,
        f"{label}/seed-3",
        f"{label}/seed-3/",
        "digits",
        "digits/seed-3",
        sign,
        sign[:4],
        sign[:4].upper(),
        f"{sign[:20]}/seed-3",
    ):
        assert resolve(runs, text) == folder, text
    for path in (folder.path, folder.path.parent):
        assert resolve(Path("elsewhere"), str(path)) == folder
        assert resolve(Path("elsewhere"), f"{path}/") == folder
    monkeypatch.chdir(folder.path)
    assert resolve(runs, ".").path.samefile(folder.path)
    assert resolve(runs, "../seed-3").label == folder.label


def test_several_seeds_are_listed(runs: Path) -> None:
    for seed in range(10):
        make_run(runs, "digits", seed)
    for text in ("digits", signature("digits")[:6], str(runs / f"digits-{signature('digits')[:12]}")):
        with pytest.raises(StoreError) as error:
            resolve(runs, text)
        assert f"{text!r} means 10 runs: digits-{signature('digits')[:12]}/seed-0, " in str(error.value)
        assert "and 2 more" in str(error.value)
    assert resolve(runs, "digits/seed-7").path.name == "seed-7"


def test_experiments_of_one_name_are_told_apart_by_signature(runs: Path) -> None:
    make_run(runs, "digits", of="a")
    second = make_run(runs, "digits", of="b")
    with pytest.raises(StoreError, match="means 2 runs"):
        resolve(runs, "digits")
    assert resolve(runs, signature("b")[:8]) == second


def test_a_name_goes_before_digits_of_a_signature(runs: Path) -> None:
    digits = signature("digits")[:4]
    make_run(runs, "digits")
    named = make_run(runs, digits)
    assert resolve(runs, digits) == named


def test_a_set_aside_run_answers_to_its_whole_label_only(runs: Path) -> None:
    aside = set_aside(make_run(runs, "digits", 0))
    anew = make_run(runs, "digits", 0)
    assert resolve(runs, "digits") == anew
    assert resolve(runs, "digits/seed-0") == anew
    assert resolve(runs, "digits/seed-0.aside-1").path == aside


@pytest.mark.parametrize(
    "text", ["digit", "digits/seed-9", "abc", "", "..", "../..", "nul\0", "x" * 5000, "/", "~", "*"]
)
def test_what_names_no_run_is_said_with_the_nearest(runs: Path, text: str) -> None:
    make_run(runs, "digits", 0)
    with pytest.raises(StoreError, match=r"no run .* \(1 run\)"):
        resolve(runs, text)
    with pytest.raises(StoreError, match="did you mean 'digits'"):
        resolve(runs, "digit")


def test_a_label_never_leaves_the_runs_folder(runs: Path) -> None:
    make_run(runs.parent / "secret", "digits", 0)
    make_run(runs, "other", 0)
    label = f"../secret/digits-{signature('digits')[:12]}/seed-0"
    with pytest.raises(StoreError, match="no run"):
        resolve(runs, label)


def test_an_empty_runs_folder_says_where_it_looked(runs: Path) -> None:
    with pytest.raises(StoreError, match=r"there are no runs in .*Name another folder with --runs DIR"):
        resolve(runs, "digits")
