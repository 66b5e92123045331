from __future__ import annotations

import errno
import fcntl
import os
import threading
from pathlib import Path

import pytest
from tests.synthetic import holder

from shoal.errors import LiveRunError, StoreError
from shoal.store import RunFolder, RunLock, is_live, owner
from shoal.store.lock import held_here


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    path = tmp_path / "digits-0123456789ab" / "seed-0"
    path.mkdir(parents=True)
    return RunFolder(path)


def test_nobody_holds_the_lock_of_a_new_run(folder: RunFolder) -> None:
    assert not is_live(folder)
    assert owner(folder) is None
    assert not folder.lock.exists()


def test_the_holder_is_live_and_known(folder: RunFolder) -> None:
    with RunLock(folder):
        assert is_live(folder)
        assert held_here(folder)
        found = owner(folder)
        assert found is not None
        assert found["pid"] == os.getpid()
        assert set(found) == {"host", "pid", "started"}
    assert not is_live(folder)
    assert owner(folder) is None


def test_another_process_is_named_with_what_to_do(folder: RunFolder) -> None:
    with holder(folder) as process:
        assert is_live(folder)
        assert not held_here(folder)
        with pytest.raises(LiveRunError) as error:
            RunLock(folder).acquire()
    message = str(error.value)
    assert (
        f"the run {folder.label} is being trained by process {process.pid} on {os.uname().nodename} since 20" in message
    )
    assert f"'kill {process.pid}'" in message
    assert f"shoal logs -f {folder.path}" in message
    assert error.value.exit_code == 2


def test_asking_does_not_take_the_lock_away_from_this_process(folder: RunFolder) -> None:
    """Closing any descriptor of the file would: so the registry answers."""
    with RunLock(folder):
        assert is_live(folder)
        assert owner(folder) is not None
        with pytest.raises(LiveRunError, match=str(os.getpid())):
            RunLock(folder).acquire()
        child = os.fork()
        if child == 0:
            handle = os.open(folder.lock, os.O_RDWR)
            try:
                fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_after_sigkill_the_run_is_free_even_with_a_forked_child_alive(folder: RunFolder) -> None:
    with holder(folder, "fork") as process:
        assert is_live(folder)
        process.kill()
        process.wait()
        assert not is_live(folder)
        died = owner(folder)
        assert died is not None
        assert died["pid"] == process.pid
        with RunLock(folder):
            assert is_live(folder)


def test_a_forked_child_does_not_release_its_parents_lock(folder: RunFolder) -> None:
    lock = RunLock(folder)
    with lock:
        child = os.fork()
        if child == 0:
            lock.release()
            os._exit(0)
        os.waitpid(child, 0)
        found = owner(folder)
        assert found is not None
        assert found["pid"] == os.getpid()
        assert folder.lock.read_text() != ""
        pid = os.fork()
        if pid == 0:
            os._exit(0 if is_live(folder) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_lock_can_be_taken_again(folder: RunFolder) -> None:
    lock = RunLock(folder)
    for _ in range(2):
        with lock:
            assert is_live(folder)
    lock.release()


def test_the_lock_goes_with_a_renamed_folder(folder: RunFolder) -> None:
    with RunLock(folder):
        moved = RunFolder(folder.path.rename(folder.path.with_name("seed-0.aside-1")))
        assert is_live(moved)
        assert not is_live(folder)
        folder.path.mkdir()
        with RunLock(folder):
            assert is_live(folder)
        assert is_live(moved)
    assert not is_live(moved)


def test_of_threads_only_one_gets_the_lock(folder: RunFolder) -> None:
    won: list[RunLock] = []

    def race() -> None:
        lock = RunLock(folder)
        try:
            lock.acquire()
        except LiveRunError:
            return
        won.append(lock)

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    won[0].release()


def test_a_probe_by_another_process_only_delays(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """`is_live` elsewhere holds a shared lock for an instant."""
    attempts: list[int] = []
    real = fcntl.lockf

    def busy_at_first(handle: int, kind: int) -> None:
        attempts.append(kind)
        if len(attempts) < 4:
            raise OSError(errno.EAGAIN, "busy")
        real(handle, kind)

    monkeypatch.setattr(fcntl, "lockf", busy_at_first)
    with RunLock(folder):
        assert len(attempts) == 4


def test_a_file_system_without_locks_is_said_and_taken_for_live(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.lock.write_text("")

    def unsupported(handle: int, kind: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", unsupported)
    assert is_live(folder)
    with pytest.raises(StoreError, match="cannot lock files"):
        RunLock(folder).acquire()


def test_a_vanished_folder_is_said(folder: RunFolder) -> None:
    folder.path.rmdir()
    with pytest.raises(StoreError, match="cannot open the lock"):
        RunLock(folder).acquire()


def test_a_lock_file_that_is_a_link_is_refused(folder: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("content")
    folder.lock.symlink_to(tmp_path / "precious")
    with pytest.raises(StoreError, match="cannot open the lock"):
        RunLock(folder).acquire()
    assert (tmp_path / "precious").read_text() == "content"


def test_what_a_damaged_lock_file_says_is_nothing(folder: RunFolder) -> None:
    for content in ("", "{", "[1]", "\0\0"):
        folder.lock.write_text(content)
        assert owner(folder) is None
        assert not is_live(folder)
