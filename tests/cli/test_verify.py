"""`shoal verify`: what was saved is whole, or it is said what is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.conftest import ShoalCli

RUN = ["train", "digits_mlp", "budget.steps=20", "checkpoint.every=10"]


@pytest.fixture
def runs(tmp_path: Path, shoal_cli: ShoalCli) -> Path:
    for seed in (0, 1):
        assert shoal_cli([*RUN, f"seed={seed}"]).returncode == 0
    return tmp_path / "runs"


def test_verify(runs: Path, shoal_cli: ShoalCli) -> None:
    done = shoal_cli(["verify", "--all"])
    assert done.returncode == 0, done.stderr
    first, second, last = done.stdout.splitlines()
    assert first.startswith("✓ digits_mlp-")
    assert first.split("  ")[1].startswith("2 checkpoints, ")
    assert "/seed-1" in second
    assert last.startswith("2 runs sound: ")
    assert last.endswith("MB/s.")

    damaged = next(runs.glob("*/seed-1/checkpoints/step-00000020/engine.pt"))
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    history = next(runs.glob("*/seed-0/history.jsonl"))
    history.write_text(history.read_text() + '{"step": 3')
    done = shoal_cli(["verify", "--all"])
    assert done.returncode == 1
    assert f"    {damaged.relative_to(runs.parent)}: its content does not have the checksum" in done.stdout
    assert f"history.jsonl: 1 line ({len(history.read_text().splitlines())}) cannot be read" in done.stdout
    assert "2 of 2 runs damaged: " in done.stdout
    assert "sets a damaged checkpoint aside and continues from the one before it" in done.stdout

    done = shoal_cli(["verify", f"{damaged.parents[3].name}/seed-1", "--json"])
    assert done.returncode == 1
    (line,) = done.stdout.splitlines()
    found = json.loads(line)
    assert (found["sound"], found["problems"]) == (False, [])
    assert [one["step"] for one in found["checkpoints"]] == [20, 10]
    assert [one["damage"] is None for one in found["checkpoints"]] == [False, True]

    done = shoal_cli(["verify"])
    assert done.returncode == 2
    assert "which runs?" in done.stderr

    next(runs.glob("*/seed-0/history.jsonl")).write_text("")
    done = shoal_cli(["verify", str(next(runs.glob("*/seed-0")))])
    assert "history.jsonl: 0 bytes, and " in done.stdout
