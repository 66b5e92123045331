"""Fine-tuning: what is loaded, frozen and left fresh, what is said of it, and what identity follows."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import shoal
from shoal.assembly import Screen, conduct, trained_model
from shoal.assembly.start import freeze, start
from shoal.assembly.weights import weights_of
from shoal.errors import RecipeError
from shoal.recipe import parse
from shoal.recipe.compose import compose
from shoal.recipe.schema import Init
from shoal.store import RunFolder, record
from shoal.store.lock import RunLock

SMALL = ["budget.steps=5", "evaluate.every=5", "model.width=8"]


def train(runs: Path, *words: str) -> tuple[RunFolder, str]:
    said = io.StringIO()
    return conduct(compose("digits_mlp", [*SMALL, *words]), runs=runs, screen=Screen(said)), said.getvalue()


def network(outputs: int = 3) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, outputs))


def init(**keys: object) -> Init:
    return parse({"init": keys}).init


def saved(path: Path, model: nn.Module, *, prefix: str = "") -> Path:
    save_file({prefix + name: value.contiguous() for name, value in model.state_dict().items()}, path)
    return path


def other() -> nn.Sequential:
    model = network()
    for value in model.state_dict().values():
        value.add_(1)
    return model


def same(one: nn.Module, two: nn.Module, name: str) -> bool:
    return torch.equal(one.state_dict()[name], two.state_dict()[name])


def test_a_file_is_loaded_whole_with_the_statistics_of_norms(tmp_path: Path) -> None:
    source, model = other(), network()
    found = start(init(**{"from": str(saved(tmp_path / "w.safetensors", source))}), model, runs=tmp_path)
    assert all(same(model, source, name) for name in model.state_dict())
    assert found.digest is not None
    assert found.report == (f"init: 9 of 9 tensors, 64 of 64 numbers, from {tmp_path / 'w.safetensors'}",)


def test_a_new_head_stays_fresh(tmp_path: Path) -> None:
    source, model, fresh = other(), network(outputs=7), network(outputs=7)
    path = saved(tmp_path / "w.safetensors", source)
    found = start(init(**{"from": str(path), "exclude": ["3.*"]}), model, runs=tmp_path)
    assert same(model, source, "0.weight")
    assert same(model, fresh, "3.weight")
    assert "init: fresh: 3.bias, 3.weight" in found.report
    assert "init: left over there: 3.bias, 3.weight" in found.report


def test_only_what_is_included_is_loaded_under_its_new_name(tmp_path: Path) -> None:
    source, model, fresh = other(), network(), network()
    path = saved(tmp_path / "w.safetensors", source, prefix="module.")
    start(init(**{"from": str(path), "include": ["0"], "rename": ["module.="]}), model, runs=tmp_path)
    assert same(model, source, "0.weight")
    assert same(model, fresh, "3.weight")


def test_identity_follows_what_was_loaded_not_where_it_lay(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    one = saved(tmp_path / "a.safetensors", other())
    two = saved(tmp_path / "deep" / "b.safetensors", other(), prefix="x.")
    different = saved(tmp_path / "c.safetensors", network())
    digests = [
        start(init(**keys), network(), runs=tmp_path).digest
        for keys in ({"from": str(one)}, {"from": str(two), "rename": ["x.="]}, {"from": str(different)})
    ]
    assert digests[0] == digests[1] != digests[2]


def test_a_run_starts_from_the_best_weights_of_another(tmp_path: Path) -> None:
    source, _ = train(tmp_path, "best.metric=valid.accuracy", "budget.steps=10")
    folder, said = train(tmp_path, f"init.from={source.label}", "optimizer.lr=1e-12", "optimizer.momentum=0")
    assert f"init: 4 of 4 tensors, 610 of 610 numbers, from {source.label}" in said
    for name, value in weights_of(source).items():
        torch.testing.assert_close(weights_of(folder)[name], value, rtol=0, atol=1e-6)
    fresh, _ = train(tmp_path, "optimizer.lr=1e-12", "optimizer.momentum=0")
    assert record.read(fresh)["signature"] != record.read(folder)["signature"]
    moved, _ = train(tmp_path, f"init.from={source.path}", "optimizer.lr=1e-12", "optimizer.momentum=0")
    assert moved == folder  # another way to say the same weights: the run is there


def test_a_name_means_the_run_that_was_there_not_what_came_of_it(tmp_path: Path) -> None:
    """Otherwise the command that started a run could not be typed again to continue it."""
    source, _ = train(tmp_path)
    words = ["init.from=digits_mlp", "init.exclude=[output]"]
    folder, said = train(tmp_path, *words)
    assert source.label in said
    assert train(tmp_path, *words) == (folder, "")
    other, _ = train(tmp_path, "optimizer.lr=0.05")
    with pytest.raises(RecipeError, match=r"'digits_mlp' means 2 runs") as refused:
        train(tmp_path, *words)
    assert other.label in str(refused.value)
    assert folder.label not in str(refused.value)
    rmtree(source.path)
    rmtree(other.path)
    with pytest.raises(RecipeError, match=r"no run 'digits_mlp'"):
        train(tmp_path, *words)  # what came of it is not taken for what it came from


def test_what_is_frozen_stays_and_the_run_is_another(tmp_path: Path) -> None:
    source, _ = train(tmp_path)
    first = next(name for name in weights_of(source) if name.endswith("weight"))
    folder, said = train(tmp_path, f"init.from={source.label}", f"init.freeze=[{first}]")
    assert "init: 1 parameters frozen, 512 of 610 numbers" in said
    before, after = weights_of(source), weights_of(folder)
    assert torch.equal(before[first], after[first])
    assert any(not torch.equal(before[name], after[name]) for name in before)
    thawed, _ = train(tmp_path, f"init.from={source.label}")
    assert thawed != folder


def test_how_the_frozen_ones_were_named_makes_no_other_run(tmp_path: Path) -> None:
    folder, _ = train(tmp_path, "init.freeze=[linear1,output.bias]")
    for words in ("[output.bias,linear1]", "[linear1.*,output.bias]", "[linear1.weight,linear1.bias,output.b*]"):
        assert train(tmp_path, f"init.freeze={words}") == (folder, "")
    other, said = train(tmp_path, "init.freeze=linear1")  # one pattern needs no brackets
    assert other != folder
    assert "changed since" not in said


TEXT = "the cat sat on the mat. " * 40
GPT: dict[str, Any] = {
    "model": {"name": "gpt", "width": 8, "depth": 1, "heads": 2},
    "task": "language_modelling",
    "batch_size": 4,
    "budget": {"steps": 3},
}


def test_a_text_is_read_with_the_tokens_that_its_weights_know(tmp_path: Path) -> None:
    runs, file = tmp_path / "runs", tmp_path / "other.txt"
    source = shoal.train(GPT, dataset=shoal.text(TEXT, context=8), runs=runs, quiet=True)
    file.write_text(TEXT.replace("cat", "hen"))  # fewer characters: its own tokens would be other ones
    tuned = shoal.train(
        {**GPT, "dataset": {"name": "text", "path": str(file), "context": 8}},
        init={"from": source.label},
        runs=runs,
        quiet=True,
    )
    assert tuned.record["data"]["encoding"]["characters"] == source.record["data"]["encoding"]["characters"]
    assert tuned.test(split="valid") == {name: tuned.metrics[name] for name in tuned.test(split="valid")}


def test_a_text_in_other_tokens_is_refused_unless_the_embedding_stays_fresh(tmp_path: Path) -> None:
    source = shoal.train(GPT, dataset=shoal.text(TEXT, context=8), runs=tmp_path, quiet=True)
    swapped = TEXT.translate(str.maketrans("cat", "CAT"))  # as many characters, but others
    with pytest.raises(RecipeError, match=r"reads other tokens than this text is in.*init.exclude=\[embed,output\]"):
        shoal.train(GPT, dataset=shoal.text(swapped, context=8), init={"from": source.label}, runs=tmp_path, quiet=True)
    source.export(weights=tmp_path / "w.safetensors", quiet=True)  # the file knows it too
    keys = {"init": {"from": str(tmp_path / "w.safetensors")}, "runs": tmp_path, "quiet": True}
    with pytest.raises(RecipeError, match=r"reads other tokens"):
        shoal.train(GPT, dataset=shoal.text(swapped, context=8), **keys)
    fresh = {"from": source.label, "exclude": "[embed,output]"}
    assert shoal.train(GPT, dataset=shoal.text(swapped, context=8), init=fresh, runs=tmp_path, quiet=True).status
    known = shoal.text(TEXT.upper().lower()[:400], tokenizer=source.tokenizer(), context=8)
    assert shoal.train(GPT, dataset=known, init={"from": source.label}, runs=tmp_path, quiet=True).status == "finished"


def test_a_norm_that_is_frozen_whole_keeps_its_statistics() -> None:
    model = network()
    model.train()
    assert freeze(model, ["1"]) == ["1.bias", "1.weight"]
    assert freeze(model, ["3.weight"]) == ["3.weight"]
    before = model.state_dict()["1.running_mean"].clone()
    model(torch.randn(8, 4))
    assert torch.equal(model.state_dict()["1.running_mean"], before)
    assert [name for name, p in model.named_parameters() if p.requires_grad] == ["0.weight", "0.bias", "3.bias"]


def test_a_frozen_norm_keeps_its_statistics_through_a_whole_run(tmp_path: Path) -> None:
    words = ["model.norm=batch", "evaluate.every=2"]
    source, _ = train(tmp_path, *words)
    norm = next(name.rpartition(".")[0] for name in weights_of(source) if name.endswith("running_mean"))
    folder, _ = train(tmp_path, *words, f"init.from={source.label}", f"init.freeze=[{norm}]")
    for name in ("running_mean", "running_var", "weight"):
        assert torch.equal(weights_of(source)[f"{norm}.{name}"], weights_of(folder)[f"{norm}.{name}"]), name


def test_the_source_may_be_gone_once_the_run_is_finished(tmp_path: Path) -> None:
    path = saved_run(tmp_path)
    folder, _ = train(tmp_path, f"init.from={path}")
    path.unlink()
    assert trained_model(folder)(torch.zeros(1, 1, 8, 8)).shape == (1, 10)


def saved_run(runs: Path) -> Path:
    source, _ = train(runs)
    path = runs / "weights.safetensors"
    save_file({name: value.contiguous() for name, value in weights_of(source).items()}, path)
    return path


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (str(self.path),)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"from": "no-such-run"}, r"init.from = no-such-run: expected a run or a .safetensors file"),
        ({"from": "gone.safetensors"}, r"init.from = gone.safetensors: there is no such file"),
        ({"freeze": ["nothing.*"]}, r"init.freeze = 'nothing.\*': no parameter of the model matches.*There are 0.bias"),
        ({"freeze": ["0.weigth"]}, r"did you mean '0.weight'\?"),
        ({"exclude": ["3.*"]}, r"choose among weights that are loaded: expected init.from=RUN"),
        ({"from": "{file}", "include": ["head.*"]}, r"init.include = 'head.\*': no parameter of the model matches"),
        ({"from": "{file}", "exclude": ["heed.*"]}, r"init.exclude = 'heed.\*': no parameter"),
        ({"from": "{file}", "rename": ["module"]}, r"init.rename = 'module': expected OLD=NEW"),
        ({"from": "{file}", "rename": ["module.="]}, r"no name begins with 'module.'; there are 0.bias"),
        ({"from": "{prefixed}"}, r"no name there is that of a parameter to load. There: model.0.bias.*init.rename"),
        (
            {"from": "{other_shape}"},
            r"3.bias has shape \[9\] there and \[3\] in the model, and 1 more differ.*init.exclude=\[3\]",
        ),
        ({"from": "{file}", "exclude": ["*"]}, r"init.exclude leaves nothing to load"),
        (
            {"from": "{twice}", "rename": ["module.="]},
            r"module.1.num_batches_tracked would both be 1.num_batches_tracked",
        ),
        ({"from": "{integers}"}, r"0.bias is int8 there and float32 in the model. Store it as that"),
        ({"from": "{nan}"}, r"0.bias holds NaN or infinity there"),
        ({"from": "{wide}"}, r"nothing there fits this model: 0.bias, for one, has shape \[6\] there and \[5\]"),
        ({"from": "{torn}"}, r"torn.safetensors: this is no complete safetensors file"),
        ({"from": "{text}"}, r"notes.txt: this is no complete safetensors file"),
    ],
)
def test_what_cannot_be_loaded_is_told(keys: dict[str, object], message: str, tmp_path: Path) -> None:
    files = {
        "file": saved(tmp_path / "w.safetensors", network()),
        "prefixed": saved(tmp_path / "p.safetensors", network(), prefix="model."),
        "other_shape": saved(tmp_path / "s.safetensors", network(outputs=9)),
        "twice": tmp_path / "twice.safetensors",
        "integers": tmp_path / "integers.safetensors",
        "nan": tmp_path / "nan.safetensors",
        "wide": saved(tmp_path / "wide.safetensors", nn.Sequential(nn.Linear(4, 6))),
        "torn": tmp_path / "torn.safetensors",
        "text": tmp_path / "notes.txt",
    }
    values = network().state_dict()
    save_file({**values, **{f"module.{name}": value.clone() for name, value in values.items()}}, files["twice"])
    save_file({name: value.to(torch.int8) for name, value in values.items()}, files["integers"])
    save_file(
        {name: value * torch.nan if value.is_floating_point() else value for name, value in values.items()},
        files["nan"],
    )
    files["torn"].write_bytes(files["file"].read_bytes()[:-20])
    files["text"].write_text("not weights at all, but some words of a person about them")
    named = {key: value.format(**files) if isinstance(value, str) else value for key, value in keys.items()}
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(RecipeError, match=message):
        start(init(**named), model, runs=tmp_path)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("name", ["w.pt", "w.pth", "w.bin", "w.ckpt", "w.pkl"])
def test_a_pickle_is_refused_and_nothing_of_it_runs(name: str, tmp_path: Path) -> None:
    trap, path = tmp_path / "trap", tmp_path / name
    path.write_bytes(pickle.dumps({"0.weight": Trap(trap)}))
    with pytest.raises(RecipeError, match=r"may run any code when it is loaded, and is not read. Convert it"):
        start(init(**{"from": str(path)}), network(), runs=tmp_path)
    assert not trap.exists()


def test_a_run_that_is_being_trained_is_no_source(tmp_path: Path) -> None:
    source, _ = train(tmp_path)
    with RunLock(source), pytest.raises(RecipeError, match=r"is being trained, so its weights are not final"):
        start(init(**{"from": source.label}), network(), runs=tmp_path)


def test_fresh_weights_do_not_depend_on_what_is_loaded(tmp_path: Path) -> None:
    """A new head has the weights of its seed, whatever was loaded into the rest."""
    path = saved_run(tmp_path)
    head = [name for name in weights_of_fresh(tmp_path) if name.startswith("output")]
    assert head
    quick = ["optimizer.lr=1e-12", "optimizer.momentum=0"]
    loaded, _ = train(tmp_path, f"init.from={path}", "init.exclude=[output]", *quick)
    for name in head:
        torch.testing.assert_close(weights_of(loaded)[name], weights_of_fresh(tmp_path)[name], rtol=0, atol=1e-6)


def weights_of_fresh(runs: Path) -> dict[str, Tensor]:
    fresh, _ = train(runs, "optimizer.lr=1e-12", "optimizer.momentum=0")
    return weights_of(fresh)
