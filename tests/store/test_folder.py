from __future__ import annotations

import fcntl
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.synthetic import holder, make_run, signature

from shoal.errors import InputError, LiveRunError, StoreError
from shoal.store import RunFolder, RunId, RunLock, create, find, record, remove, set_aside
from shoal.store.layout import PREFIX

SIGNATURE = signature("experiment")
RUN = RunId("digits", SIGNATURE, 3)

CREATOR = """
import sys
from pathlib import Path
from shoal.store import RunId, create
print("begins", flush=True)
print(create(Path(sys.argv[1]), RunId(sys.argv[2], sys.argv[3], 0)).path)
"""


def test_a_run_is_created_where_its_label_says(tmp_path: Path) -> None:
    folder = create(tmp_path / "deep" / "runs", RUN)
    assert folder.path == tmp_path / "deep" / "runs" / f"digits-{SIGNATURE[:12]}" / "seed-3"
    assert folder.path.is_dir()
    assert folder.label == RUN.label
    assert record.read(folder) == {}


def test_the_prefix_is_that_of_the_recipe() -> None:
    from shoal.recipe.signature import PREFIX as SHOWN

    assert PREFIX == SHOWN


def test_creating_twice_gives_the_same_folder(tmp_path: Path) -> None:
    assert create(tmp_path, RUN) == create(tmp_path, RUN)


def test_a_run_is_found_under_another_name(tmp_path: Path) -> None:
    folder = create(tmp_path, RUN)
    assert create(tmp_path, RunId("another", SIGNATURE, 3)) == folder
    assert find(tmp_path, SIGNATURE, 3) == folder
    assert find(tmp_path, SIGNATURE, 4) is None
    assert find(tmp_path, signature("other"), 3) is None
    assert find(tmp_path / "missing", SIGNATURE, 3) is None


def test_a_run_is_found_in_a_folder_that_a_person_renamed(tmp_path: Path) -> None:
    folder = make_run(tmp_path, seed=1)
    folder.path.parent.rename(tmp_path / "my best one")
    found = find(tmp_path, signature("digits"), 1)
    assert found is not None
    assert found.path == tmp_path / "my best one" / "seed-1"


def test_two_signatures_that_begin_alike_get_two_folders(tmp_path: Path) -> None:
    alike = SIGNATURE[:12] + signature("other")[12:]
    first = make_run(tmp_path, seed=0)
    record.update(first, signature=alike)
    first.path.parent.rename(tmp_path / f"digits-{SIGNATURE[:12]}")
    assert find(tmp_path, SIGNATURE, 0) is None
    second = create(tmp_path, RunId("digits", SIGNATURE, 0))
    assert second.path.parent.name == f"digits-{SIGNATURE[:13]}"
    assert find(tmp_path, SIGNATURE, 0) == second
    sibling = create(tmp_path, RunId("digits", SIGNATURE, 1))
    assert sibling.path.parent == second.path.parent
    assert create(tmp_path, RunId("digits", alike, 1)).path.parent.name == f"digits-{SIGNATURE[:12]}"


def test_a_damaged_record_of_the_run_is_no_missing_run(tmp_path: Path) -> None:
    create(tmp_path, RUN).record.write_text("{")
    with pytest.raises(StoreError, match=r"run\.json' is damaged"):
        find(tmp_path, SIGNATURE, 3)


@pytest.mark.parametrize("name", ["../x", "/etc", "a/b", "nul\0", "", ".hidden", "-option", "x" * 101, "a b", "é"])
def test_a_name_that_is_no_folder_name_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot name a folder"):
        create(tmp_path / "runs", RunId(name, SIGNATURE, 0))
    assert list(tmp_path.iterdir()) == []


def test_a_link_out_of_the_runs_folder_is_not_followed(tmp_path: Path) -> None:
    runs, outside = tmp_path / "runs", tmp_path / "outside"
    runs.mkdir()
    outside.mkdir()
    (runs / f"digits-{SIGNATURE[:12]}").symlink_to(outside)
    with pytest.raises(StoreError, match="a link that leads out of the runs folder"):
        create(runs, RUN)
    assert list(outside.iterdir()) == []
    (outside / "seed-3").mkdir()
    with pytest.raises(StoreError, match="a link that leads out of the runs folder"):
        find(runs, SIGNATURE, 3)


def test_the_runs_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "runs").symlink_to(tmp_path / "scratch")
    assert create(tmp_path / "runs", RUN) == find(tmp_path / "runs", SIGNATURE, 3)


def test_a_runs_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(StoreError, match="--runs DIR"):
        create(tmp_path / "runs", RUN)


def test_a_new_runs_folder_keeps_itself_out_of_git(tmp_path: Path) -> None:
    create(tmp_path / "runs", RUN)
    assert (tmp_path / "runs" / ".gitignore").read_text() == "*\n"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("")
    create(tmp_path / "mine", RUN)
    assert not (tmp_path / "mine" / ".gitignore").exists()


def test_processes_that_create_one_run_at_once_get_one_folder(tmp_path: Path) -> None:
    """They take turns, so that two never find that there is none."""
    runs = tmp_path / "runs"
    runs.mkdir()
    command = [sys.executable, "-c", CREATOR, str(runs)]
    with (runs / ".lock").open("w") as turn:
        fcntl.lockf(turn, fcntl.LOCK_EX)
        processes = [
            subprocess.Popen([*command, name, SIGNATURE], stdout=subprocess.PIPE, text=True)
            for name in ["alice", "bob", "alice", "carol"]
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "begins\n"
        time.sleep(0.2)
        assert not list(runs.glob("*/seed-*"))
    folders = {process.communicate(timeout=30)[0].strip() for process in processes}
    assert len(folders) == 1
    assert all(process.returncode == 0 for process in processes)


def test_setting_aside_takes_the_next_free_number_and_keeps_everything(tmp_path: Path) -> None:
    for number in (1, 2):
        folder = create(tmp_path, RUN)
        folder.log.write_text(f"attempt {number}")
        aside = set_aside(folder)
        assert aside.name == f"seed-3.aside-{number}"
        assert (aside / "train.log").read_text() == f"attempt {number}"
    assert find(tmp_path, SIGNATURE, 3) is None


def test_a_run_is_set_aside_by_its_holder_but_not_from_under_another(tmp_path: Path) -> None:
    folder = create(tmp_path, RUN)
    with holder(folder), pytest.raises(LiveRunError, match="is being trained by process"):
        set_aside(folder)
    with RunLock(folder):
        aside = set_aside(folder)
        with RunLock(create(tmp_path, RUN)):
            assert aside.is_dir()


def test_removing_takes_the_experiment_with_its_last_seed(tmp_path: Path) -> None:
    folders = [make_run(tmp_path, seed=seed, history=3) for seed in (0, 1)]
    (folders[0].checkpoints / "step-1").mkdir(parents=True)
    remove(folders[0])
    assert not folders[0].path.exists()
    assert folders[1].history.exists()
    remove(folders[1])
    assert not folders[1].path.parent.exists()
    assert tmp_path.exists()


def test_what_is_no_run_is_not_removed(tmp_path: Path) -> None:
    precious = tmp_path / f"thesis-{SIGNATURE[:12]}" / "seed-1"
    precious.mkdir(parents=True)
    (precious / "chapter.tex").write_text("")
    folder = make_run(tmp_path)
    link = tmp_path / "link"
    link.symlink_to(folder.path)
    for path in (precious, tmp_path, link, tmp_path / "missing"):
        with pytest.raises(StoreError, match="is not the folder of a run: nothing was removed"):
            remove(RunFolder(path))
    assert (precious / "chapter.tex").exists()
    assert folder.record.exists()


def test_a_damaged_or_empty_run_can_be_removed(tmp_path: Path) -> None:
    folder = create(tmp_path, RUN)
    (folder.path / ".run.json.tmp-4711").write_text("{")  # it was killed while it wrote its first record
    remove(folder)
    folder = make_run(tmp_path)
    folder.record.write_text("{")
    remove(folder)
    assert not folder.path.exists()


def test_a_live_run_is_not_removed(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    with holder(folder), pytest.raises(LiveRunError, match="is being trained by process"):
        remove(folder)
    assert folder.record.exists()
