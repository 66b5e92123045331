"""Language modelling: its numbers against torch, and targets that are no blocks of tokens."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from shoal.errors import RecipeError, TrainingError
from shoal.recipe import parse
from shoal.tasks import Targets, Task, build, usual

CPU = torch.device("cpu")


def modelling(*, classes: int | None = 5, shape: tuple[int, ...] = (8,), characters_per_token: float = 1.0) -> Task:
    part = parse({"task": "language_modelling"}).task
    return build(part, Targets(classes, shape, None, CPU, characters_per_token))


def test_the_loss_of_a_block_is_the_mean_over_its_places() -> None:
    torch.manual_seed(0)
    outputs, targets = torch.randn(6, 8, 5), torch.randint(5, (6, 8))
    losses = modelling().loss(outputs, targets)
    expected = [F.cross_entropy(one, target) for one, target in zip(outputs, targets, strict=True)]
    torch.testing.assert_close(losses, torch.stack(expected))


def test_perplexity_and_bits_are_those_of_the_mean_loss() -> None:
    metrics = modelling(characters_per_token=2.5).metrics
    assert metrics["perplexity"].finish({"loss": 1.7}) == pytest.approx(math.exp(1.7))
    assert metrics["bits_per_character"].finish({"loss": 1.7}) == pytest.approx(1.7 / math.log(2) / 2.5)
    assert math.isfinite(metrics["perplexity"].finish({"loss": 1e6}))
    assert not metrics["perplexity"].higher_is_better


def test_accuracy_is_the_share_of_places_that_are_right() -> None:
    targets = torch.randint(5, (6, 8))
    outputs = F.one_hot(targets, 5).float()
    outputs[:, :2] = -outputs[:, :2]
    statistics = modelling().metrics["accuracy"].statistics(outputs, targets)
    assert statistics["accuracy"].tolist() == [0.75] * 6


def test_outputs_of_another_shape_are_refused() -> None:
    with pytest.raises(TrainingError, match=r"outputs have shape \[6, 5\] and the targets \[6, 8\].*model=gpt"):
        modelling().loss(torch.randn(6, 5), torch.randint(5, (6, 8)))


@pytest.mark.parametrize(
    ("classes", "shape", "message"),
    [(None, (8,), r"are real-valued: expected a block of tokens"), (5, (), r"are one label an example: expected")],
)
def test_targets_that_are_no_blocks_are_refused(classes: int | None, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        modelling(classes=classes, shape=shape)


def test_blocks_of_tokens_are_modelled_where_nothing_is_said() -> None:
    found = usual(Targets(5, (8,), None, CPU))
    assert "perplexity" in found.metrics
