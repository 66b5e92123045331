"""The traps of run identity that tools are known for, each sprung: one meaning is one run, another meaning is another.

A default edited, a seed written as 1.0 or true, a default spelled out, two programs in one folder, patterns that match
nothing, epochs extended, misspelt keys, a rate that is no number, a finished run started again, one run started twice.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from tests.own_project import NAME, Project
from tests.synthetic import holder

import shoal
from shoal.cli import main
from shoal.recipe import parse, signature
from shoal.recipe.fields import Float, setting
from shoal.recipe.optimizer_parts import Sgd
from shoal.recipe.tables import TABLES
from shoal.store import find, record, resolve

QUICK = ("digits_mlp", "budget.steps=3", "evaluate.every=3", "execution=eager")


class Answer(NamedTuple):
    """What a command came to: its exit code, its results, what it said beside them."""

    code: int
    results: list[dict[str, Any]]
    err: str

    @property
    def label(self) -> str:
        """The run that was meant."""
        assert self.code == 0, self.err
        return self.results[0]["run"]

    @property
    def trained(self) -> bool:
        """Whether anything was trained, and not just told."""
        return "\ntraining " in self.err or self.err.startswith("training ")


Train = Callable[..., Answer]


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Train:
    """`shoal train ... --json` in the test's folder, quick unless the words name another preset."""
    monkeypatch.chdir(tmp_path)

    def command(*words: str, verb: str = "train", quick: tuple[str, ...] = QUICK) -> Answer:
        code = main([verb, *(quick if verb == "train" else ()), *words, "--json"])
        out, err = capsys.readouterr()
        return Answer(code, [json.loads(line) for line in out.splitlines()], err)

    return command


@pytest.fixture
def project(tmp_path: Path, train: Train) -> Iterator[Project]:
    project = Project(tmp_path)
    yield project
    project.forget()


def later_sgd(**defaults: Any) -> type[Sgd]:
    """SGD as a later version may have it, with other defaults; what identifies is frozen."""

    class LaterSgd(Sgd):
        """Stochastic gradient descent."""

        momentum: Float = setting(defaults["momentum"], "momentum", identity=0.9, ge=0, lt=1)

    return LaterSgd


def test_an_edited_default_of_the_schema_is_another_run_and_moves_no_old_one(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = train("optimizer=sgd")
    spelt = train("optimizer=sgd", "optimizer.momentum=0.5")
    monkeypatch.setitem(TABLES["optimizer"], "sgd", later_sgd(momentum=0.5))
    new = train("optimizer=sgd")
    assert (new.label, new.trained) == (spelt.label, False), "what the words mean now was trained before"
    again = train("optimizer=sgd", "optimizer.momentum=0.9")
    assert (again.label, again.trained) == (old.label, False), "the old run is what it was trained as"
    assert shoal.load(old.label).recipe.optimizer.model_dump()["momentum"] == 0.9
    monkeypatch.setitem(TABLES["optimizer"], "sgd", later_sgd(momentum=0.7))
    another = train("optimizer=sgd")
    assert another.label not in (old.label, spelt.label)
    assert f"optimizer.momentum: the default was 0.9 when {old.label} was trained, and is 0.7 now: this" in another.err


def test_an_edited_default_of_ones_own_entry_is_another_run_and_moves_no_old_one(
    train: Train, project: Project
) -> None:
    words = ("--module", NAME, "model=tiny")
    old = train(*words)
    project.edit("hidden: int = 4", "hidden: int = 5")
    new = train(*words)
    assert new.label != old.label
    assert f"model.hidden: the default was 4 when {old.label} was trained, and is 5 now; the source of the" in new.err
    assert shoal.load(old.label).model()(torch.zeros(1, 64)).shape == (1, 10), "it is rebuilt as it was"
    kept = train("--module", NAME, "--accept", "model", old.label, verb="migrate")
    assert kept.results[0]["migrated"]
    same = train(*words, "model.hidden=4")
    assert (same.label, same.trained) == (kept.label, False)
    assert (train(*words).label, new.trained) == (new.label, True)


def test_an_edited_preset_is_another_run_and_moves_no_old_one(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dora trains lr=0.5 in the folder of lr=0.1, and the old run of lr=0.5 is not found any more."""
    preset, words = tmp_path / "mine.yaml", ("--config-dir", str(tmp_path))
    keys = "model: {width: 8}\nbudget: {steps: 3}\nexecution: eager\n"
    preset.write_text(f"defaults: [digits_mlp]\noptimizer: {{lr: 0.1}}\n{keys}")
    old, spelt = train(*words, quick=("mine",)), train(*words, "optimizer.lr=0.5", quick=("mine",))
    preset.write_text(f"defaults: [digits_mlp]\noptimizer: {{lr: 0.5}}\n{keys}")
    new = train(*words, quick=("mine",))
    assert (new.label, new.trained) == (spelt.label, False)
    assert train(*words, "optimizer.lr=0.1", quick=("mine",)).label == old.label
    monkeypatch.setattr(sys, "argv", ["shoal", "train", "mine"])  # as a process of its own has it
    fresh = train(*words, "seed=1", quick=("mine",))
    preset.write_text(f"defaults: [digits_mlp]\noptimizer: {{lr: 0.2}}\n{keys}")
    said = (
        f"optimizer.lr: the same command meant 0.5 when {fresh.label} was trained, and means 0.2 now: this is another"
    )
    assert said in train(*words, "seed=1", quick=("mine",)).err


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["seed=1"], ["seed=1.0"]),
        (["optimizer.lr=1e-1"], ["optimizer.lr=0.1"]),
        (["optimizer.lr=1"], ["optimizer.lr=1.0"]),
        (["optimizer.lr=0.2", "model.width=16"], ["model.width=16", "optimizer.lr=0.2"]),
        ([], ["optimizer.momentum=0.9"]),
        ([], ["model=mlp", "model.width=64", "model.depth=1"]),
        ([], ["optimizer=sgd", "optimizer.lr=0.1"]),
        ([], ["name=another", "device=cpu", "checkpoint.every=1", "log.every=1"]),
    ],
    ids=lambda words: " ".join(words) or "nothing said",
)
def test_one_meaning_is_one_run_however_it_is_spelt(train: Train, one: list[str], other: list[str]) -> None:
    first, second = train(*one), train(*other)
    assert (first.label, first.trained, second.trained) == (second.label, True, False)


@pytest.mark.parametrize("word", ["seed=true", "seed=1.5", "seed='1'", "seed=-1", "model.width=true"])
def test_what_is_no_number_is_refused_and_not_taken_for_one(train: Train, word: str, tmp_path: Path) -> None:
    answer = train(word)
    assert answer.code == 2
    assert word.partition("=")[0] in answer.err
    assert "expected a" in answer.err
    assert not (tmp_path / "runs").exists()


def test_a_preset_is_what_its_keys_are(train: Train) -> None:
    """A choice of a group and the values that it comes to are one configuration."""
    (preset, *quick), keys = QUICK, {"model": "mlp", "model.width": 64, "schedules.lr": "cosine", "execution": "eager"}
    by_name = train(quick=(preset, *quick))
    run = shoal.train({**keys, "budget.steps": 3, "evaluate.every": 3, "optimizer.lr": 0.1}, name="b", quiet=True)
    assert run.label == by_name.label


def test_two_programs_in_one_folder_share_no_run(train: Train, project: Project) -> None:
    words = ("--module", NAME, "model=tiny")
    one = train(*words)
    project.edit("nn.ReLU()", "nn.Tanh()")
    other = train(*words)
    assert other.trained
    assert one.label.split("/")[0] != other.label.split("/")[0]
    assert f"the source of the model changed since {one.label}: this is another run" in other.err
    project.edit("nn.Tanh()", "nn.ReLU()")
    assert (train(*words).label, train(*words).trained) == (one.label, False)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("init.freeze=[layer.*]", "init.freeze = 'layer.*': no parameter of the model matches"),
        ("optimizer.lr_multipliers=[nothing.*=2]", "the pattern 'nothing.*' fits no parameter"),
        ("optimizer.decay_multipliers=[nothing.*=2]", "the pattern 'nothing.*' fits no parameter"),
    ],
)
def test_a_pattern_that_matches_nothing_is_refused(train: Train, word: str, said: str) -> None:
    answer = train(word, "optimizer.weight_decay=0.1")
    assert answer.code == 2
    assert said in answer.err
    answer = train(f"init.from={train().label}", "init.exclude=[nothing.*]")
    assert (answer.code, "init.exclude = 'nothing.*': no parameter of the model" in answer.err) == (2, True)


def test_what_is_left_out_of_identity_is_marked_in_the_schema_and_not_by_patterns(train: Train) -> None:
    """`--log-interval` written for `log_interval` leaves nothing out elsewhere: here the key itself is known or not."""
    assert train("log-every=7").code == 2
    assert signature(parse({"log": {"every": 7}})) == signature(parse({}))


def test_epochs_are_extended(train: Train) -> None:
    """`epochs=6` after `epochs=4` starts from zero elsewhere."""
    quick = ("digits_mlp", "schedules.lr=constant", "batch_size=200", "execution=eager")
    short = train("budget.epochs=1", quick=quick)
    longer = train(short.label, "budget.epochs=2", verb="extend")
    assert "resuming at step 6" in longer.err
    same = train("budget.epochs=2", quick=quick)
    assert (same.label, same.trained) == (longer.label, False)
    cosine = train("budget.epochs=1", "schedules.lr=cosine", quick=quick)
    refused = train(cosine.label, "budget.epochs=2", verb="extend")
    assert refused.code == 2
    assert "schedules.lr = cosine depends on the budget: at step 2 lr is" in refused.err


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("optimizer.lrr=0.1", "optimizer.lr"),
        ("lr=0.1", "optimizer.lr"),
        ("+lrr=0.1", "KEY=VALUE"),
        ("z=3", "unknown key z"),
    ],
)
def test_a_misspelt_key_is_refused_with_the_nearest_one(train: Train, word: str, meant: str) -> None:
    answer = train(word)
    assert answer.code == 2
    assert meant in answer.err
    assert "+lrr to" not in answer.err


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999", "-.nan"])
def test_a_rate_that_is_no_number_makes_no_run(train: Train, value: str, tmp_path: Path) -> None:
    answer = train(f"optimizer.lr={value}")
    assert answer.code == 2
    assert "optimizer.lr" in answer.err
    assert not (tmp_path / "runs").exists()


def test_a_finished_run_is_told_and_not_trained_again(train: Train, tmp_path: Path) -> None:
    first = train()
    files = {path: path.read_bytes() for path in (tmp_path / "runs").rglob("*") if path.is_file()}
    again = train()
    assert (again.results, again.trained) == (first.results, False)
    assert files == {path: path.read_bytes() for path in (tmp_path / "runs").rglob("*") if path.is_file()}


def test_one_run_is_not_trained_twice_at_once(train: Train) -> None:
    folder = resolve(Path("runs"), train().label)
    record.update(folder, status="stopped")
    with holder(folder) as process:
        answer = train()
    assert answer.code == 2
    assert f"is being trained by process {process.pid}" in answer.err


def test_a_signature_is_wide_and_first_digits_that_agree_are_told_apart(tmp_path: Path) -> None:
    """32 bits make two runs of 77,000 one, by the birthday paradox, and nothing notices."""
    from tests.synthetic import signature as digits

    from shoal.store import RunId, create

    one = digits("a")
    other = one[:12] + digits("b")[12:]
    folders = [create(tmp_path, RunId("digits", each, 0)) for each in (one, one, other)]
    for folder, each in zip(folders[::2], (one, other), strict=True):
        record.update(folder, signature=each)
    assert folders[0] == folders[1]
    assert find(tmp_path, other, 0) != find(tmp_path, one, 0)
