"""Disks that are full or read-only, for real: small file systems mounted in a namespace of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def in_namespace(script: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script as root of a new mount namespace."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHON": sys.executable}
    return subprocess.run(
        ["unshare", "-rm", "bash", "-c", script], capture_output=True, text=True, env=environment, timeout=200
    )


@pytest.fixture(scope="module")
def namespaces() -> None:
    if shutil.which("unshare") is None or in_namespace("mount -t tmpfs none /mnt").returncode:
        pytest.skip("this machine does not let a user mount a file system in a namespace")


@pytest.mark.faults
@pytest.mark.usefixtures("namespaces")
def test_a_read_only_runs_folder_is_found_before_training(tmp_path: Path) -> None:
    script = f"""
        mkdir {tmp_path}/ro && mount -t tmpfs none {tmp_path}/ro && mount -o remount,ro {tmp_path}/ro &&
        "$PYTHON" -m shoal train digits_mlp --json --runs {tmp_path}/ro/runs
    """
    done = in_namespace(script)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "read-only" in done.stderr
    assert "--runs DIR" in done.stderr


@pytest.mark.faults
@pytest.mark.usefixtures("namespaces")
def test_a_full_disk_is_found_before_training(tmp_path: Path) -> None:
    script = f"""
        mkdir {tmp_path}/full && mount -t tmpfs -o size=64k none {tmp_path}/full &&
        dd if=/dev/zero of={tmp_path}/full/fill bs=1k count=64 status=none;
        "$PYTHON" -m shoal train digits_mlp --json --runs {tmp_path}/full/runs
    """
    done = in_namespace(script)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "full" in done.stderr


@pytest.mark.faults
@pytest.mark.usefixtures("namespaces")
def test_a_disk_that_fills_up_fails_the_run_and_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    words = "digits_mlp model.width=2048 budget.epochs=40 checkpoint.every=1 --runs"
    script = f"""
        mkdir {tmp_path}/small && mount -t tmpfs -o size=8000k none {tmp_path}/small
        (until ls {tmp_path}/small/runs/*/seed-0/checkpoints/step-00000039; do sleep 0.01; done
         left=$(df --output=avail -k {tmp_path}/small | tail -1)  # but for what the record needs
         dd if=/dev/zero of={tmp_path}/small/fill bs=1k count=$((left - 300))) > /dev/null 2>&1 &
        "$PYTHON" -m shoal train {words} {tmp_path}/small/runs > {tmp_path}/out 2> {tmp_path}/err; code=$?
        cp -r {tmp_path}/small/runs {tmp_path}/copy; exit $code
    """
    done = in_namespace(script)
    errors = (tmp_path / "err").read_text()
    assert done.returncode == 1, errors
    assert "cannot write a checkpoint" in errors
    assert "MB free" in errors
    (folder,) = (tmp_path / "copy").glob("*/seed-0")
    record = json.loads((folder / "run.json").read_text())
    assert record["status"] == "failed"
    assert not list((folder / "checkpoints").glob("*.tmp-*"))
    assert record["steps"] < 40 * 39, "it is found soon, not at the end"
    resumed = subprocess.run(
        [sys.executable, "-m", "shoal", "train", *words.split(), str(tmp_path / "copy")],
        capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert resumed.returncode == 0, resumed.stderr
