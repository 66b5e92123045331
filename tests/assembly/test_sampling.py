"""Text from a trained run: a function of prompt, settings and seed; what was learnt comes out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import shoal
from shoal.assembly.sampling import Sampling, _chosen, sample  # pyright: ignore[reportPrivateUsage]
from shoal.errors import InputError

TEXT = "the cat sat on the mat. " * 60
KEYS: dict[str, Any] = {
    "model": {"name": "gpt", "width": 16, "depth": 1, "heads": 2},
    "task": "language_modelling",
    "optimizer": {"name": "adamw", "lr": 0.02},
    "batch_size": 8,
    "budget": {"steps": 60},
    "evaluate": {"every": 60},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> shoal.Run:
    folder = tmp_path_factory.mktemp("sampling")
    return shoal.train(KEYS, dataset=shoal.text(TEXT, context=16), runs=folder, quiet=True)


def test_a_text_is_learnt_and_goes_on(run: shoal.Run) -> None:
    assert run.metrics["valid.loss"] < 0.8
    assert run.sample("the cat ", tokens=16, temperature=0) == "sat on the mat. "
    assert run.metrics["valid.bits_per_character"] == pytest.approx(run.metrics["valid.loss"] / 0.6931472, rel=1e-6)


def test_a_prompt_longer_than_the_context_is_read_from_its_end(run: shoal.Run) -> None:
    assert run.sample(TEXT + "the cat ", tokens=4, temperature=0) == "sat "


def test_the_same_seed_gives_the_same_text_and_another_gives_another(run: shoal.Run) -> None:
    torch.manual_seed(1)
    one = run.sample("the", tokens=40, temperature=5.0)
    torch.manual_seed(2)  # the global generator has no part in it
    assert run.sample("the", tokens=40, temperature=5.0) == one
    assert run.sample("the", tokens=40, temperature=5.0, seed=1) != one


def test_of_one_likeliest_token_the_likeliest_is_drawn(run: shoal.Run) -> None:
    assert run.sample("the", tokens=20, temperature=9.0, top=1) == run.sample("the", tokens=20, temperature=0)
    assert run.sample("the", tokens=20, temperature=9.0, top=10_000) == run.sample("the", tokens=20, temperature=9.0)


def test_without_a_prompt_there_is_a_start(run: shoal.Run) -> None:
    assert len(run.sample(tokens=5)) == 5


def test_pieces_are_the_text(run: shoal.Run) -> None:
    pieces = list(sample(run.location, "the ", Sampling(tokens=9)))
    assert len(pieces) == 9
    assert "".join(pieces) == run.sample("the ", tokens=9)


def test_a_character_of_several_tokens_comes_whole(tmp_path: Path) -> None:
    data = shoal.text("äöü€" * 200, tokenizer="bytes", context=18)
    found = shoal.train(KEYS, dataset=data, runs=tmp_path, quiet=True)
    pieces = list(sample(found.location, "äöü€", Sampling(tokens=9, temperature=0)))
    assert "".join(pieces) == "äöü€"
    assert all(piece in {"ä", "ö", "ü", "€"} for piece in pieces)


def test_a_character_that_was_never_seen_is_named(run: shoal.Run) -> None:
    with pytest.raises(InputError, match=r"the character 'Z' at position 0"):
        run.sample("Z")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"tokens": 0}, r"tokens = 0: expected at least 1"),
        ({"temperature": -1}, r"temperature = -1: expected 0"),
        ({"temperature": float("nan")}, r"temperature = nan"),
        ({"top": 0}, r"top = 0: expected at least 1, or nothing for all tokens"),
        ({"tokens": 2.5}, r"tokens = 2.5: expected a whole number"),
        ({"tokens": True}, r"tokens = True: expected a whole number"),
        ({"temperature": "a"}, r"temperature = 'a': expected a number"),
        ({"seed": -1}, r"seed = -1: expected 0 or more"),
    ],
)
def test_settings_out_of_range_are_refused(keys: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Sampling(**keys)  # pyright: ignore[reportArgumentType]


def test_a_very_low_temperature_takes_the_likeliest(run: shoal.Run) -> None:
    assert run.sample("the", tokens=20, temperature=1e-40) == run.sample("the", tokens=20, temperature=0)


def test_draws_have_the_shares_of_the_outputs() -> None:
    outputs, draws = torch.tensor([0.0, 1.0, 2.0, 2.0]), torch.Generator().manual_seed(0)
    for sampling, expected in (
        (Sampling(temperature=2.0), (outputs / 2).softmax(0)),
        (Sampling(temperature=1.0, top=3), torch.tensor([0.0, *outputs[1:].softmax(0)])),
    ):
        found = torch.bincount(torch.tensor([_chosen(outputs, sampling, draws) for _ in range(4000)]), minlength=4)
        torch.testing.assert_close(found / 4000, expected, rtol=0, atol=0.04)
    tied = {_chosen(torch.zeros(4), Sampling(top=1), draws) for _ in range(50)}
    assert len(tied) == 1  # ties do not make it more than one


class Words:
    """A tokenizer whose words have blanks between them: what a token says depends on those before it."""

    vocab_size = 5

    def encode(self, text: str) -> list[int]:
        return [["the", "cat", "sat", "on", "mat"].index(word) for word in text.split()]

    def decode(self, tokens: list[int]) -> str:
        return " ".join(["the", "cat", "sat", "on", "mat"][token] for token in tokens)


def test_a_tokenizer_of_ones_own_is_passed_again(tmp_path: Path) -> None:
    data = shoal.text("the cat sat on the mat " * 60, tokenizer=Words(), context=8)
    found = shoal.train(KEYS, dataset=data, runs=tmp_path, quiet=True)
    assert found.sample("the cat", tokens=4, temperature=0, tokenizer=Words()) == "sat on the mat"
    assert len(found.sample(tokens=4, tokenizer=Words()).split()) == 4
    with pytest.raises(InputError, match=r"which its folder does not hold. Pass it again"):
        found.sample("the cat")

    class More(Words):
        vocab_size = 9

    with pytest.raises(InputError, match=r"has 9 kinds of tokens, and .* was trained on 5"):
        found.sample("the cat", tokenizer=More())


def test_the_context_of_a_text_from_python_is_part_of_identity(tmp_path: Path) -> None:
    quick = {**KEYS, "budget": {"steps": 1}}
    settings: list[dict[str, Any]] = [{"context": 8}, {"context": 16}, {"context": 8, "stride": 4}]
    labels = {
        shoal.train(quick, dataset=shoal.text(TEXT, **keys), runs=tmp_path, quiet=True).label for keys in settings
    }
    assert len(labels) == 3
    (tmp_path / "a.txt").write_text(TEXT)
    by_path = {**quick, "dataset": {"name": "text", "path": str(tmp_path / "a.txt"), "context": 8}}
    assert shoal.train(by_path, runs=tmp_path, quiet=True).label in labels  # both doors lead to one run


def test_other_texts_are_tested_in_the_tokens_that_were_trained_on(run: shoal.Run, tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text(TEXT)
    whole = run.test(split="valid", path=str(file))
    assert whole["valid.loss"] == pytest.approx(run.metrics["valid.loss"])
    file.write_text(TEXT.replace("cat", "hat"))  # without a c: its own alphabet would number the others anew
    assert whole["valid.loss"] < run.test(split="valid", path=str(file))["valid.loss"] < whole["valid.loss"] + 2
    file.write_text(TEXT.replace("cat", "dog"))
    with pytest.raises(InputError, match=r"the character 'd' at position 4"):
        run.test(split="valid", path=str(file))


def test_only_text_is_sampled(tmp_path: Path) -> None:
    found = shoal.train("digits_mlp", budget={"steps": 2}, runs=tmp_path, quiet=True)
    with pytest.raises(InputError, match=r"was trained on digits: only runs trained on text can be sampled"):
        found.sample("the")
