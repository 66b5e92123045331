"""A power cut: what is renamed into place was flushed before, and the rename after, as the kernel was told of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.contracts.interrupted import Case, attempt

CASE = Case({"budget.steps": 6, "evaluate.every": 3, "checkpoint.every": 2, "log.every": 1})
CALLS = "fsync,fdatasync,rename,renameat,renameat2"
WHOLE = re.compile(r"\d+ +(?P<call>\w+)\((?P<arguments>.*)\) += 0")
BEGUN = re.compile(r"(?P<thread>\d+) +(?P<call>\w+)\((?P<arguments>.*) <unfinished \.\.\.>")
DONE = re.compile(r"(?P<thread>\d+) +<\.\.\. \w+ resumed>(?P<arguments>.*)\) += 0")


class Event(NamedTuple):
    """A file or folder that was flushed, or a path that got another name."""

    call: str
    path: str
    to: str = ""


def event(call: str, arguments: str) -> Event:
    if call.startswith("rename"):
        return Event("rename", *re.findall(r'"([^"]*)"', arguments))
    return Event("flush", re.findall(r"<(.*)>", arguments)[0])


def events(trace: str) -> Iterator[Event]:
    """The calls in the order in which they ended."""
    begun: dict[str, tuple[str, str]] = {}
    for line in trace.splitlines():
        if whole := WHOLE.match(line):
            yield event(whole["call"], whole["arguments"])
        elif first := BEGUN.match(line):
            begun[first["thread"]] = first["call"], first["arguments"]
        elif (rest := DONE.match(line)) and rest["thread"] in begun:
            call, arguments = begun.pop(rest["thread"])
            yield event(call, arguments + rest["arguments"])


def traced(runs: Path, trace: Path) -> list[Event]:
    """Train in a fork that strace watches; return what was flushed and renamed."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace; the order of the calls of one save is tested without it")
    ready, go = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other threads of this process hold no lock of ours
        pid = os.fork()
    if pid == 0:
        os.close(go)
        os.read(ready, 1)
        attempt(runs, CASE)
        os._exit(0)
    command = ["strace", "-f", "-y", "-s", "4096", "-e", f"trace={CALLS}", "-o", str(trace), "-p", str(pid)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as watching:
        assert watching.stderr is not None
        said = watching.stderr.readline()
        os.close(go)
        os.close(ready)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if "attached" not in said:
        pytest.skip(f"strace may not watch a process here: {said.strip()}")
    assert code == 0
    return list(events(trace.read_text()))


@pytest.mark.faults
def test_nothing_has_its_name_before_it_is_on_the_disk(tmp_path: Path) -> None:
    found = traced(tmp_path / "runs", tmp_path / "trace")
    (folder,) = (tmp_path / "runs").glob("*/seed-0")
    saved, journals = list[str](), {str(folder / "history.jsonl"), str(folder / "timing.jsonl")}
    since = 0
    for place, (call, path, to) in enumerate(found):
        if call != "rename" or to.endswith(".del"):
            continue
        parent = str(Path(to).parent)
        after = next(each for each in found[place + 1 :] if parent in (each.path, str(Path(each.to).parent)))
        assert after == Event("flush", parent), f"the new name of {to} is not flushed at once"
        flushed = [each.path for each in found[since:place] if each.call == "flush"]
        if Path(parent).name == "checkpoints":
            parts = [f"{path}/{name.name}" for name in sorted((folder / "checkpoints").glob("step-00000006/*"))]
            assert len(parts) == 3
            assert {*parts, *journals} <= set(flushed)
            assert flushed.index(path) > max(flushed.index(part) for part in parts), "a folder after what is in it"
            saved.append(Path(to).name)
            since = place
        else:
            assert path in flushed
    assert saved == [f"step-{step:08d}" for step in (0, 2, 4, 6)]
    assert str(folder) in [each.path for each in found[: found.index(Event("flush", str(folder / "checkpoints")))]]
