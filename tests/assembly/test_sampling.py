"""Text from a trained run: a function of prompt, settings and seed; what was learnt comes out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import shoal
from shoal.assembly.sampling import Sampling, sample
from shoal.errors import InputError

TEXT = "the cat sat on the mat. " * 60
KEYS = {
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
    ],
)
def test_settings_out_of_range_are_refused(keys: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Sampling(**keys)  # pyright: ignore[reportArgumentType]


def test_only_text_is_sampled(tmp_path: Path) -> None:
    found = shoal.train("digits_mlp", budget={"steps": 2}, runs=tmp_path, quiet=True)
    with pytest.raises(InputError, match=r"was trained on digits: only runs trained on text can be sampled"):
        found.sample("the")
