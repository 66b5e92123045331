"""`shoal test` as a person meets it: which weights were measured is said, and what is not there is refused."""

from __future__ import annotations

import json

from .conftest import Shoal

WORDS = ("train", "digits_mlp", "average=ema", "budget.steps=8", "evaluate.every=4")


def test_raw_and_averaged_weights_are_measured_and_named(shoal: Shoal) -> None:
    assert shoal(*WORDS).code == 0
    answer = shoal("test", "digits_mlp")
    assert answer.code == 0
    head, *rest = answer.lines
    assert head.endswith("measured again: test with the last weights, test_average with averaged weights")
    assert [line.split()[0] for line in rest][:1] == ["test.loss"]
    assert rest[-1].split()[0].startswith("test_average.")
    assert len({len(line) for line in rest}) == 1
    (told,) = (json.loads(line) for line in shoal("test", "digits_mlp", "--json").lines)
    assert told["weights"] == {"test": "raw", "test_average": "average"}
    trained = json.loads(shoal("show", "digits_mlp", "--json").out)["metrics"]
    assert told["metrics"] == {name: value for name, value in trained.items() if name.startswith("test")}


def test_the_best_weights_are_said_to_be_measured(shoal: Shoal) -> None:
    assert shoal(*WORDS, "best.metric=valid_average.loss").code == 0
    answer = shoal("test", "digits_mlp")
    assert answer.lines[0].endswith("measured again: test with the best weights")
    assert "average" not in "".join(answer.lines[1:])


def test_weights_are_chosen_by_a_key(shoal: Shoal) -> None:
    assert shoal(*WORDS).code == 0
    answer = shoal("test", "digits_mlp", "weights=average", "split=valid")
    assert answer.lines[0].endswith("measured again: valid_average with averaged weights")
    for words, message in (
        (("weights=best",), "has raw and average weights. Best weights are kept where best.metric"),
        (("weights=rwa",), "did you mean 'raw'?"),
        (("weight=raw",), "unknown key weight: did you mean weights?"),
        (("precision=fp31",), "unknown precision 'fp31'"),
    ):
        refused = shoal("test", "digits_mlp", "--json", *words)
        assert refused.code == 2
        assert refused.out == ""
        assert message in refused.err


def test_predict_and_export_choose_too(shoal: Shoal) -> None:
    assert shoal(*WORDS).code == 0
    assert shoal("export", "digits_mlp", "--weights", "w.safetensors", "--which", "raw").code == 0
    refused = shoal("export", "digits_mlp", "--weights", "b.safetensors", "--which", "best")
    assert refused.code == 2
    assert "has raw and average weights" in refused.err
    assert shoal("export", "digits_mlp", "--history", "h.csv", "--which", "raw").code == 2
    refused = shoal("predict", "digits_mlp", "gone.npy", "--weights", "best")
    assert refused.code == 2
    assert "has raw and average weights" in refused.err


def test_averaged_weights_stand_in_every_list(shoal: Shoal) -> None:
    trained = shoal(*WORDS)
    assert "valid averaged" in trained.out
    assert " avg " in trained.out
    assert "weights    averaged (ema); weights=raw takes the last ones" in trained.out
    (line,) = shoal("ls").lines
    assert "test_average.accuracy=0." in line
    assert shoal("ls", "--where", "test_average.accuracy>0", "--sort", "test_average.loss").lines
    assert "valid_average.loss:" in shoal("show", "digits_mlp").out
