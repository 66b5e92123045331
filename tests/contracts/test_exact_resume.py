"""Every entry of every table, and combinations of them, resumed through the door of `shoal train` to the same bits.

Each case is trained once alone and once along a route of stops and kills, every attempt of fresh objects, and what both
leave is compared byte for byte: checkpoint, history, samples, metrics. Adding an entry to a table adds its case. Which
step it is matters to none of them, so all positions are tried with one recipe that has all kinds of state.

SHOAL_ALL_PAIRS=1 tries every pair of entries; without it, a part of the list that is always the same.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from tests.assembly.test_decisions import Hungry
from tests.contracts.interrupted import EPOCH, ROUTE, STEPS, Case, Cut, same_bits
from tests.contracts.pairs import Row, pairwise
from tests.contracts.test_augmentations import AMOUNTS
from tests.datasets.pictures import class_folders
from tests.datasets.test_cifar10 import BINARY, unpacked
from tests.datasets.test_idx import contents, encoded
from tests.training.test_extra_state import Remembering
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset, IterableDataset

import shoal
from shoal.errors import RecipeError
from shoal.recipe import Recipe
from shoal.recipe.schema import Guard, Regularise
from shoal.recipe.tables import TABLES
from shoal.training.compiled import no_compiler
from shoal.training.precision import check_precision

Keys = dict[str, Any]
Made = Callable[[Path], Case]
SHIPPED = {
    kind: sorted(name for name, cls in table.items() if cls.__module__.startswith("shoal.recipe."))
    for kind, table in TABLES.items()
}
SAMPLE = None if os.environ.get("SHOAL_ALL_PAIRS") else 6
EXECUTIONS = ("captured", "compiled")
CUTS = (Cut("stopped", 4), Cut("killed", 11))
"""For what is slow."""


def noisy(index: int) -> tuple[Tensor, int]:
    """A picture with noise from all three generators, and its class."""
    picture = torch.full((1, 8, 8), index % 7 / 7) + torch.rand(1, 8, 8)
    return picture + random.random() + float(np.random.rand()), index % 3


class Pictures(Dataset[Any]):
    def __len__(self) -> int:
        return 60

    def __getitem__(self, index: int) -> Any:
        return noisy(index)


class Passing(IterableDataset[Any]):
    """Fifty pictures a pass; how many a pass has is not told."""

    classes, digest = 3, "fifty noisy pictures"

    def __iter__(self) -> Iterator[Any]:
        yield from (noisy(index) for index in range(50))


class Drawing(nn.Module):
    """A model that draws from Python's and NumPy's generators as well as torch's."""

    def __init__(self, input_shape: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.layer = nn.Linear(int(np.prod(input_shape)), outputs)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            x = x + torch.rand_like(x) * random.random() + float(np.random.rand())
        return self.layer(x.flatten(1))


def smoothed(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets, reduction="none", label_smoothing=0.1)


def poisoned(outputs: Tensor, targets: Tensor) -> Tensor:
    """The loss of an example of class 2 cannot be computed."""
    return torch.where(targets == 2, torch.nan, F.cross_entropy(outputs, targets, reduction="none"))


def vectors(count: int) -> Tensor:
    return torch.randn(count, 5, generator=torch.Generator().manual_seed(count))


def keys(**given: Any) -> Made:
    """A case of keys alone; `schedules__lr` stands for `schedules.lr`."""
    return lambda folder: Case({key.replace("__", "."): value for key, value in given.items()})


def of_arrays(targets: Callable[[Tensor], Tensor], **given: Any) -> Made:
    """A case of 66 examples from Python, of which 60 are trained on."""

    def made(folder: Path) -> Case:
        splits = {"train": vectors(60), "valid": vectors(20), "test": vectors(22)}
        data = {name: (x, targets(x)) for name, x in splits.items()}
        return Case(
            {"batch_size": 10, **{key.replace("__", "."): value for key, value in given.items()}}, {"dataset": data}
        )

    return made


def idx(folder: Path) -> Case:
    for name, array in contents().items():
        (folder / name).write_bytes(encoded(array))
    return Case({"dataset": "idx", "dataset.path": str(folder), "batch_size": 4})


def arrays(folder: Path) -> Case:
    x = np.random.default_rng(0).normal(size=(66, 1, 8, 8)).astype(np.float32)
    np.savez(folder / "data.npz", x=x, y=(x[:, 0, 0, 0] > 0).astype(int))
    return Case({"dataset": "arrays", "dataset.path": str(folder / "data.npz"), "batch_size": 10})


def table(folder: Path) -> Case:
    lines = [
        f"{number * 7 % 11},{'ab'[number % 2]},{'' if number == 3 else number},{number % 3}" for number in range(40)
    ]
    (folder / "table.csv").write_text("\n".join(["size,town,area,kind", *lines]) + "\n")
    place: Keys = {"dataset": "table", "dataset.path": str(folder / "table.csv"), "dataset.target": "kind"}
    return Case({**place, "batch_size": 6})


def text(folder: Path) -> Case:
    (folder / "text.txt").write_text("the cat sat on the mat. " * 40)
    model: Keys = {"model": "gpt", "model.width": 8, "model.depth": 1, "model.heads": 2, "model.dropout": 0.1}
    place: Keys = {"dataset": "text", "dataset.path": str(folder / "text.txt"), "dataset.context": 8}
    return Case({**model, "task": "language_modelling", "model.drop_path": 0.2, **place, "batch_size": 16})


def text_from_python(folder: Path) -> Case:
    known = {key: value for key, value in text(folder).keys.items() if not key.startswith("dataset")}
    return Case(known, {"dataset": shoal.text("to be or not to be " * 60, context=8)})


def with_a_bad_example(folder: Path) -> Case:
    """One example of train has a loss that cannot be computed."""
    case = of_arrays(TARGETS["signs"], guard__action="skip")(folder)
    case.objects["dataset"]["train"][1][7] = 2
    return Case(case.keys, {**case.objects, "loss": poisoned})


def image_folder(folder: Path) -> Case:
    place = class_folders(folder / "pets", count=14)
    return Case({"dataset": "image_folder", "dataset.path": str(place), "batch_size": 4})


def cifar10(folder: Path) -> Case:
    return Case({"dataset": "cifar10", "dataset.path": str(unpacked(folder, BINARY)), "batch_size": 8})


def map_style(folder: Path) -> Case:
    return Case({"batch_size": 8}, {"dataset": Pictures()}, workers=True)


def stream(folder: Path) -> Case:
    splits = {"train": Passing(), "valid": Pictures(), "test": Pictures()}
    return Case({"batch_size": 8}, {"dataset": splits})


def stream_of_workers(folder: Path) -> Case:
    """How many processes read a stream is a part of what is trained on, so they are as many in every attempt."""
    return Case({**stream(folder).keys, "dataset.workers": 2}, stream(folder).objects)


TARGETS: dict[str, Callable[[Tensor], Tensor]] = {
    "signs": lambda x: (x[:, 0] > 0).long(),
    "numbers": lambda x: x[:, 0] * x[:, 1],
    "labels": lambda x: (x[:, :3] > 0).float(),
}
DATASETS: dict[str, Made] = {
    "digits": keys(),
    "idx": idx,
    "arrays": arrays,
    "table": table,
    "map_style": map_style,
    "text": text,
    "image_folder": image_folder,
    "cifar10": cifar10,
    "stream": stream,
}
OF_PICTURES = sorted(set(DATASETS) - {"table", "text"})
MODELS: dict[str, Made] = {
    "mlp": keys(),
    "convnet": keys(model="convnet", model__width=2, model__depth=1, model__dropout=0.2),
    "resnet": keys(model="resnet", model__width=2, model__depth=8, model__drop_path=0.3),
    "gpt": text,
    "external": lambda folder: Case({}, {"model": Drawing}),
}
TASKS: dict[str, Made] = {
    "classification": keys(task__class_weights="balanced"),
    "regression": of_arrays(TARGETS["numbers"], task="regression", task__loss="huber"),
    "multilabel": of_arrays(TARGETS["labels"], task="multilabel", task__positive_weights="balanced"),
    "language_modelling": text,
    "external": lambda folder: Case({}, {"loss": smoothed}),
}
OPTIMIZERS: dict[str, Keys] = {"lbfgs": {"batch_size": "all", "optimizer.iterations": 3, "optimizer.history": 4}}
"""What one is tried with, where it is not a weight decay."""
PLATEAU: Keys = {"patience": 0, "threshold": 0.5}
AVERAGES: dict[str, Keys] = {
    "none": {},
    "ema": {"average.decay": 0.9},
    "swa": {"average.start": 0.2, "average.every": 2, "average.lr": 0.01},
    "lookahead": {"average.every": 2},
}
REGULARISED: Keys = {
    **AMOUNTS,
    "label_smoothing": 0.1,
    "mixup": 0.4,
    "cutmix": 1.0,
    "clip_norm": 0.5,
    "clip_value": 0.05,
    "clip_percentile": 50.0,
    "weight_norm": True,
    "spectral_norm": True,
    "sam": 0.05,
}


def optimizer(name: str) -> Keys:
    return {"optimizer": name, **OPTIMIZERS.get(name, {"optimizer.weight_decay": 0.01})}


def schedules(name: str) -> Keys:
    """One schedule on everything that can be scheduled."""
    found: Keys = {"optimizer": "adamw", "optimizer.weight_decay": 0.1, "evaluate.every": 3}
    for hyper in ("lr", "momentum", "weight_decay"):
        found |= {f"schedules.{hyper}": name, f"schedules.{hyper}.warmup_steps": 2}
        if name == "plateau":
            found |= {f"schedules.{hyper}.{key}": value for key, value in PLATEAU.items()}
    return found


def average(name: str) -> Keys:
    found = {"average": name, **AVERAGES[name]}
    return found if name == "none" else {**found, "best.metric": "valid_average.loss"}


def precisions() -> Iterator[str]:
    """Those that the CPU of this machine has."""
    for name in get_args(Recipe.model_fields["precision"].annotation):
        try:
            check_precision(name, torch.device("cpu"))
        except RecipeError:
            continue
        yield name


def cases() -> Iterator[tuple[str, Made]]:
    """Every entry of every table, and what else a recipe may say."""
    for kind, known in (("dataset", DATASETS), ("model", MODELS), ("task", TASKS)):
        yield from ((f"{kind} {name}", made) for name, made in known.items())
    for kind, of in (("optimizer", optimizer), ("schedule", schedules), ("average", average)):
        yield from ((f"{kind} {name}", keys(**of(name))) for name in SHIPPED[kind])
    yield from ((f"regularise {key}", keys(**{f"regularise.{key}": value})) for key, value in REGULARISED.items())
    yield from ((f"precision {name}", keys(precision=name)) for name in precisions())
    yield "execution auto", keys(execution="auto")
    yield "arrays from Python", of_arrays(TARGETS["signs"])
    yield "a text from Python", text_from_python
    yield "a stream read by workers", stream_of_workers
    yield "a smaller last batch", keys(dataset__drop_last=False)
    yield "accumulation", keys(accumulate=4)
    yield "frozen parameters", keys(init__freeze=["output.*"])

    yield "extra state", lambda folder: REMEMBERING
    yield "deterministic", keys(deterministic=True)
    yield "channels last", keys(model="convnet", model__width=2, model__depth=1, channels_last="yes")


REMEMBERING = Case({"best.metric": "valid.loss", "evaluate.every": 3}, {"model": Remembering})
"""What it keeps changes in evaluations too."""
CASES = dict(cases())


def test_every_entry_has_a_case() -> None:
    for kind, known in (("dataset", DATASETS), ("model", MODELS), ("task", TASKS), ("average", AVERAGES)):
        assert sorted(known) == SHIPPED[kind], f"a new {kind} is resumed like all others: add its case"
    assert set(REGULARISED) == set(Regularise.model_fields)
    assert set(get_args(Recipe.model_fields["execution"].annotation)) == {"auto", "eager", *EXECUTIONS}


@pytest.mark.parametrize("name", CASES)
def test_every_entry_is_resumed_to_the_same_bits(name: str, tmp_path: Path) -> None:
    same_bits(tmp_path, CASES[name](tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("execution", EXECUTIONS)
def test_a_recorded_step_is_resumed_to_the_same_bits(execution: str, tmp_path: Path) -> None:
    if execution == "compiled" and no_compiler():
        pytest.skip("needs a C++ compiler")
    alone = same_bits(tmp_path, Case({"execution": execution, "average": "ema", "optimizer": "adamw"}), CUTS[1:])
    assert alone.record["plan"]["execution"] == execution


GUARDED: dict[str, Made] = {
    "stop": keys(guard__spike=100.0),
    "skip": with_a_bad_example,
    "rewind": keys(
        **{"guard.action": "rewind", "guard.rewind_every": 2, "guard.rewind_lr": 1e-12},
        **{"optimizer.lr": 1e12, "model.norm": "none"},
    ),
    "halve": lambda folder: Case({"guard.memory": "halve", "batch_size": 16}, {"model": Hungry}),
}


@pytest.mark.parametrize("action", GUARDED)
def test_what_the_guard_did_is_part_of_what_is_resumed(action: str, tmp_path: Path) -> None:
    alone = same_bits(tmp_path, GUARDED[action](tmp_path))
    if action == "skip":
        assert any(row.get("train.skipped", 0) > 0 for row in alone.history)
    else:
        assert bool(alone.record.get("guard")) == (action != "stop")


def test_an_early_stop_comes_at_the_same_step(tmp_path: Path) -> None:
    still: Keys = {"model.norm": "none", "model.dropout": 0.0, "optimizer.lr": 1e-30}
    case = Case({**still, "early_stop.patience": 2, "best.metric": "valid.loss", "evaluate.every": 2})
    alone = same_bits(tmp_path, case, (Cut("stopped", 4), Cut("killed", 5)))
    assert alone.record["steps"] == 6
    assert "early stop" in alone.record["reason"]


def test_every_action_of_the_guard_has_a_case() -> None:
    said = {name for key in ("action", "memory") for name in get_args(Guard.model_fields[key].annotation)}
    assert set(GUARDED) == said


RICH = Case(
    {
        "optimizer": "adamw",
        "schedules.lr": "cosine",
        "schedules.lr.warmup_steps": 3,
        "average": "ema",
        "average.decay": 0.9,
        "regularise.clip_percentile": 50.0,
        "regularise.mixup": 0.4,
        "regularise.translate": 1,
        "best.metric": "valid_average.loss",
        "early_stop.patience": 9,
        "evaluate.every": 3,
    }
)
POSITIONS: dict[str, tuple[Cut, ...]] = {
    "before the first step": (Cut("killed", 0),),
    "after the first step": (Cut("stopped", 1),),
    "within the first epoch": (Cut("killed", 4),),
    "in the last batch of an epoch": (Cut("killed", EPOCH - 1),),
    "before the last batch of an epoch": (Cut("stopped", EPOCH - 1),),
    "at the end of an epoch, to be evaluated": (Cut("stopped", EPOCH),),
    "in its evaluation": (Cut("killed evaluating", EPOCH),),
    "in its evaluation, twice": (Cut("stopped", EPOCH), Cut("killed evaluating", EPOCH)),
    "in the first batch of an epoch": (Cut("killed", EPOCH),),
    "after the first batch of an epoch": (Cut("stopped", EPOCH + 1),),
    "twice within one epoch": (Cut("stopped", EPOCH + 2), Cut("killed", EPOCH + 4)),
    "twice in one step": (Cut("killed", EPOCH + 2), Cut("killed", EPOCH + 2)),
    "after every step of an epoch": tuple(Cut("stopped", EPOCH + step) for step in range(1, EPOCH + 1)),
    "in the last step": (Cut("stopped", STEPS),),
    "in the last evaluation": (Cut("killed evaluating", STEPS),),
    "along the route of the entries": ROUTE,
}


@pytest.mark.parametrize("where", POSITIONS)
def test_wherever_it_ends_it_is_resumed_to_the_same_bits(where: str, tmp_path: Path) -> None:
    same_bits(tmp_path, RICH, POSITIONS[where])


@pytest.mark.parametrize(
    "route", [(Cut("killed evaluating", 9),), (Cut("stopped evaluating", 9),)], ids=["kill", "stop"]
)
def test_what_modules_keep_is_as_it_was_before_an_evaluation_that_is_done_again(
    route: tuple[Cut, ...], tmp_path: Path
) -> None:
    same_bits(tmp_path, REMEMBERING, route)


KINDS: dict[str, dict[str, Keys]] = {
    "optimizer": {
        name: {"optimizer": name, "optimizer.lr": 0.01} for name in SHIPPED["optimizer"] if name not in OPTIMIZERS
    },
    "schedule": {
        name: {f"schedules.lr.{key}": value for key, value in {"name": name, "warmup_steps": 2, **more}.items()}
        for name, more in {**dict.fromkeys(SHIPPED["schedule"], Keys()), "plateau": PLATEAU}.items()
    },
    "average": {name: {"average": name, **more} for name, more in AVERAGES.items()},
    "model": {name: dict(MODELS[name](Path()).keys) for name in ("mlp", "convnet")},
    "regularise": {"none": {}, **{key: {f"regularise.{key}": value} for key, value in REGULARISED.items()}},
    "precision": {name: {"precision": name} for name in precisions()},
    "execution": {name: {"execution": name} for name in ("eager", "captured")},
    "guard": {name: {"guard.action": name} for name in get_args(Guard.model_fields["action"].annotation)},
    "accumulate": {"whole": {}, "in parts": {"accumulate": 2}},
    "dataset": {name: {} for name in OF_PICTURES},
}


def possible(row: Mapping[str, str]) -> bool:
    """Schedule-free averages by itself; a plateau and an SWA with a rate of its own both say what the rate is."""
    average = row.get("average", "none")
    if row.get("optimizer") == "schedule_free":
        return average == "none"
    return (row.get("schedule"), average) != ("plateau", "swa")


ROWS = pairwise({kind: list(choices) for kind, choices in KINDS.items()}, possible)


def test_every_pair_that_is_possible_is_in_some_combination() -> None:
    found = {pair for row in ROWS for pair in combinations(row.items(), 2)}
    wanted = {
        ((first, a), (second, b))
        for first, second in combinations(KINDS, 2)
        for a in KINDS[first]
        for b in KINDS[second]
        if possible({first: a, second: b})
    }
    assert found == wanted
    assert len(ROWS) < 1.5 * len(KINDS["optimizer"]) * len(KINDS["schedule"]), (
        "few more than the two longest kinds need"
    )


@pytest.mark.parametrize("row", ROWS[:SAMPLE], ids=lambda row: " ".join(row.values()))
def test_combinations_are_resumed_to_the_same_bits(row: Row, tmp_path: Path) -> None:
    case = DATASETS[row["dataset"]](tmp_path)
    chosen = {key: value for kind, choice in row.items() for key, value in KINDS[kind][choice].items()}
    chosen |= {"evaluate.every": 3, "batch_size": 200 if row["dataset"] == "digits" else 8}
    if row["dataset"] == "idx":
        chosen["batch_size"] = 4
    same_bits(tmp_path, Case({**case.keys, **chosen}, case.objects, case.workers), CUTS)
