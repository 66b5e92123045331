"""`shoal train --detach`, as a process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from tests.conftest import ShoalCli
from tests.faults.attempts import wait_until

from shoal.cli import main

WORDS = ["train", "digits_mlp", "execution=eager", "model.width=8", "--detach"]


@pytest.fixture
def endless(shoal_cli: ShoalCli, tmp_path: Path) -> Generator[Path]:
    """The folder of a run of minutes that goes on in the background."""
    done = shoal_cli([*WORDS, "budget.epochs=9000"])
    assert done.returncode == 0, done.stderr
    (record,) = tmp_path.glob("runs/*/seed-*/run.json")
    assert f"In the background, as process {json.loads(record.read_bytes())['pid']}" in done.stdout
    yield record.parent
    main(["cancel", str(record.parent)])


def test_a_run_goes_on_in_the_background_until_it_is_stopped(endless: Path, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    assert main(["cancel", str(endless)]) == 0
    assert capfd.readouterr().out == f"{endless}: stopped\n"
    known = json.loads((endless / "run.json").read_bytes())
    assert (known["status"], known["stopped"]["by"]) == ("stopped", "SIGTERM")
    assert "stopped by SIGTERM" in (endless / "train.log").read_text()


def test_what_is_wrong_is_said_where_it_was_typed(shoal_cli: ShoalCli, tmp_path: Path) -> None:
    done = shoal_cli([*WORDS, "optimizer.lrr=3"])
    assert done.returncode == 2
    assert "did you mean optimizer.lr?" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_finished_run_prints_its_result(shoal_cli: ShoalCli) -> None:
    short = [*WORDS, "budget.steps=2", "--json"]
    assert shoal_cli([word for word in short if word != "--detach"]).returncode == 0
    done = shoal_cli(short)
    assert done.returncode == 0
    assert json.loads(done.stdout)["status"] == "finished"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_ends_the_starter_before_it_begins_ends_it_as_well(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import pathlib, time\npathlib.Path('begun').write_text('.')\ntime.sleep(60)\n")
    starter = subprocess.Popen(
        [sys.executable, "-c", "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
         "from shoal.cli import main; sys.exit(main(sys.argv[1:]))", *WORDS, "--module", "slow"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    wait_until((tmp_path / "begun").exists)
    starter.send_signal(number)
    output, _ = starter.communicate(timeout=20)  # at the end of both: each holds the pipe
    assert starter.returncode in (75, 130)
    assert "In the background" not in output
    assert not (tmp_path / "runs").exists()
